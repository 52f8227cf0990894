"""A finished run as an object: its parameters, and what can be done with them.

    run = bigmodels.load('runs/digits')
    run.predict(images)['probabilities']
    run.evaluate('test')
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from bigmodels.config import Experiment
from bigmodels.config.resolving import Resolved
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.readers.reader import Examples, Reader
from bigmodels.learners import State
from bigmodels.plots import Sound
from bigmodels.techniques import averages
from bigmodels.training import evaluation, folded, generation, inference
from bigmodels.training.build import Built
from bigmodels.training.compile import Traced, compile_traced


@dataclasses.dataclass(frozen=True)
class Run:
  """A run at its best checkpoint.

  Attributes:
    resolved: its experiment, and the code that made it.
    path: of its workdir, or of what its parameters are from.
    built: its experiment, ready to be compiled.
    traced: the same, traced.
    state: of the learner.
    step: of the checkpoint.
    reopen: (with_data=..., or evals=...) -> the same run with its data, or with
      evaluations of other data; see `opening.open_run`.
    threshold: the probability of class 1 from which on `predict` answers with it; None
      if the answer is the more likely class, as without `threshold` of the task.
    say: prints a line about what is read for a prediction.
    temperature: by which the logits of probabilities are divided, or None.
  """

  resolved: Resolved
  path: pathlib.Path
  built: Built
  traced: Traced
  state: State
  step: int
  reopen: Callable[[], 'Run'] | None = None
  threshold: float | None = None
  say: Callable[[str], None] = print
  temperature: float | None = None

  @property
  def name(self) -> str:
    """The experiment and where its run is, for people."""
    return f'{self.resolved.name} in {self.path}'

  @property
  def experiment(self) -> Experiment:
    """The record that the run was made from."""
    return folded.folded(self.resolved.experiment)

  @property
  def model(self) -> nn.Module:
    """The Linen module: `model.apply({'params': params, **model_state}, ...)`."""
    return self.built.model

  @property
  def params(self) -> Any:
    """The tree of parameters; with `Experiment.average`, of their average."""
    return self._answering.params

  @property
  def model_state(self) -> Any:
    """What is not trained by gradients, such as batch statistics."""
    return self._answering.model_state

  @property
  def tokenizer(self) -> Any:
    """What made the tokens of its texts, or None."""
    return self.built.train.dataset.tokenizer

  @property
  def classes(self) -> tuple[str, ...] | None:
    """The classes of its labels, or None."""
    return self.built.train.dataset.classes

  @property
  def named(self) -> bool:
    """Whether `classes` are their names, not only how many there are."""
    return self.built.train.dataset.named

  @property
  def normalization(self) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and standard deviation `[channels]`, as fitted to its inputs, or None."""
    fitted = self.built.data['kept'].get('inputs')
    return None if fitted is None else tuple(np.asarray(x) for x in fitted)

  def predict(self, inputs: np.ndarray | None = None, **columns: np.ndarray
              ) -> dict[str, np.ndarray]:
    """The model's outputs for inputs, as in an evaluation of the run.

    Args:
      inputs: `n` examples, raw, as its data has them: an array `[n, ...]`, such as
        images `[n, height, width, channels]` or tokens `[n, length]`; of a table a
        DataFrame, name -> column, or a list of mappings; a list of texts; a
        `pathlib.Path` of a file or folder, or a list of them. None if the task reads
        no column `inputs`.
      **columns: the other columns that the task reads, `[n, ...]`. If `segments` are
        left out, they are 0 for the 'pad' tokens at the end of a row, 1 for the others.
        With files the settings of `examples`.

    Returns:
      name -> `[n, ...]`: of a classifier `predictions` `[n]`, by the run's `threshold`
      if it has one, and `probabilities` `[n, classes]`; of a regression `predictions`
      `[n, targets]`.

    Raises:
      UserError: for examples that do not fit the run, or a task without predictions.
    """
    self.check_predicts()
    if inference.are_paths(inputs):
      paths = [inputs] if isinstance(inputs, os.PathLike) else inputs
      return inference.whole(self.predictions(self.examples(paths, **columns)))
    columns = self._columns(inputs, columns)
    return self.decided(inference.outputs(self._predict, columns, self._batch_size(
      inference.length(columns))))

  def examples(self, paths: Sequence[os.PathLike], *, labels: bool = False,
               **settings: Any) -> Examples:
    """The examples of files and folders, which are read when they are needed.

    Args:
      paths: files and folders, of the kind that the run reads.
      labels: whether to read labels as well.
      **settings: of tables: `delimiter`, `decimal`, `thousands`, `missing` and
        `encoding`, as in `data.Table`; those of the run if they are left out.

    Raises:
      UserError: for files that do not fit the run, or settings that do not fit them.
    """
    reader = inference.with_settings(self.reader, settings)
    return reader.examples([*map(pathlib.Path, paths)], labels=labels)

  def predictions(self, examples: Examples, first: int = 0
                  ) -> Iterator[inference.Predicted]:
    """The model's outputs for examples, in order, as they are read.

    Args:
      examples: see `Run.examples`.
      first: example to begin at, a multiple of the batch size of an evaluation.

    Raises:
      UserError: for files that do not fit the run, or a task without predictions.
    """
    self.check_predicts()
    for part in inference.stream(self._predict, examples, first, self._batch_size):
      yield part._replace(outputs=self.decided(part.outputs))

  def check_predicts(self) -> None:
    """Raises a `UserError` if the task predicts nothing for single inputs."""
    if not self.built.task.predictions:
      raise UserError(f'{self._task}, which has no predictions for single inputs')
    if 'generated' in self.built.task.predictions:
      raise UserError(f'{self._task}, which predicts nothing of an input; '
                      'Run.generate_images gives its images')

  def decided(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs `[n, ...]` at the run's `temperature` and by its `threshold`, if any."""
    task = self.built.task
    if self.temperature is not None:
      outputs = task.calibration.apply(outputs, self.temperature)
    if self.threshold is None:
      return outputs
    return {**outputs, 'predictions': task.threshold.decide(outputs, self.threshold)}

  def evaluate(self, *splits: str, data: os.PathLike | Sequence[os.PathLike] = (),
               **settings: Any) -> dict[str, Any]:
    """Metrics of whole splits, with their data or with other data.

    Args:
      *splits: names in the experiment's `evals`; none for all.
      data: files of labelled examples to evaluate in place of the data of one split,
        as in an evaluation of it.
      **settings: see `examples`.

    Returns:
      flat name -> value, such as `test/accuracy`.

    Raises:
      UserError: if there is no such split, or its data cannot be opened.
    """
    return self.evaluated(*splits, data=data, **settings)[0]

  def evaluated(self, *splits: str, data: os.PathLike | Sequence[os.PathLike] = (),
                **settings: Any
                ) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]], 'Run']:
    """What `evaluate` gives, and what it is computed from.

    Args:
      *splits, data, **settings: see `evaluate`.

    Returns:
      the metrics; split -> name -> outputs `[n, ...]`; the run with that data.

    Raises:
      UserError: see `evaluate`.
    """
    for name in splits:
      if name not in [*self.experiment.evals]:
        raise UserError(f'{self.name} evaluates no split {name!r}'
                        f'{nearest(str(name), self.experiment.evals)}')
    paths = inference.paths_of(data)
    if settings and not paths:
      raise UserError(f'{listed(settings)}: how new files are read; set data')
    if paths and not self.built.task.predictions:
      raise UserError(f'{self._task}, which has no predictions for the labelled '
                      'examples of files')
    run = inference.on_files(self, splits, paths, settings) if paths else (
      self._with_data)
    found, outputs = {}, {}
    for name in splits or run.built.evals:
      metrics, outputs[name] = evaluation.evaluate(
        run.built, run._evaluations, name, self.state, threshold=self.threshold,
        temperature=self.temperature)
      found |= metrics
    return found, outputs, run

  def generate(self, prompts: Sequence[str] = ('',), *, seed: int = 0,
               **settings: Any) -> list[str]:
    """The texts that follow prompts, or translate them: those of `--mode=sample`.

    Args:
      prompts: texts.
      seed: of the draws, `--sample_seed`.
      **settings: of `decoding.Settings`, such as `tokens=100` or `temperature=0`. With
        `samples` the texts of a prompt follow each other.

    Raises:
      UserError: for a task that writes no text, or settings that do not fit it.
    """
    return generation.texts(self.writer, prompts, seed, settings)

  @property
  def writer(self) -> Callable[..., list[tuple[str, int]]]:
    """(prompts, key, `decoding.Settings`) -> texts, and of how many tokens each is.

    Raises a `UserError` for a task that writes no text.
    """
    if self.built.task.generate is None:
      raise UserError(f'{self._task}, which writes no text')
    return functools.partial(self.built.task.generate, self.params, self.model_state)

  def generate_sounds(self, prompts: Sequence[str] = ('',), *,
                      seconds: float | None = None, seed: int = 0, **settings: Any
                      ) -> list[Sound]:
    """Sounds of prompts, such as texts to be spoken: those of `--mode=sample`.

    Args:
      prompts: texts, or names of classes.
      seconds: maximum length of a sound; None for the task's own.
      seed, **settings: see `generate`.

    Raises:
      UserError: for a task that makes no sounds, or settings that do not fit it.
    """
    if (make := self.built.task.sounds) is None:
      raise UserError(f'{self._task}, which makes no sounds')
    make = functools.partial(make, self.params, self.model_state)
    return generation.sounds(make, prompts, seconds, seed, settings)

  def image_to_image(self, image: np.ndarray) -> np.ndarray:
    """The image or mask that the model makes of one, as `--mode=predict` writes it.

    Args:
      image: uint8 `[height, width, 1 or 3]`, grey or RGB, of any size.

    Raises:
      UserError: for another image, or a task that makes no images of images.
    """
    if (make := self.built.task.image_to_image) is None:
      raise UserError(f'{self._task}, which makes no images of images')
    generation.check_image(image, self.built.task.channels)
    return make(self.params, self.model_state, image)

  def features(self, inputs: np.ndarray | None = None, **columns: np.ndarray
               ) -> tuple[np.ndarray, np.ndarray]:
    """What the last dense layer of a classifier reads, and its logits, in float32.

    With test-time augmentation they are the mean over the augmentations.

    Args:
      inputs, **columns: see `predict`.

    Returns:
      features `[n, width]`; logits `[n, classes]`. The layer makes the logits of the
      features; of a model that gives one logit, that of class 1, the logits of class 0
      are zeros.

    Raises:
      UserError: for columns that do not fit the run, a task that gives no
        probabilities, or a model that does not end in a dense layer.
    """
    if 'probabilities' not in self.built.task.predictions:
      raise UserError(f'{self._task}, which gives no probabilities')
    columns = self._columns(inputs, columns)
    size = self._batch_size(inference.length(columns))
    found = inference.outputs(self._features, columns, size)
    return found['features'], inference.logits(found, self._task)

  def generate_images(self, labels: np.ndarray, first: int = 0) -> np.ndarray:
    """Images of a generator.

    Args:
      labels: their classes, int `[n]`.
      first: number of the first; each is a function of its number and label.

    Returns:
      raw, as the data has them, `[n, height, width, channels]`.

    Raises:
      UserError: if the task generates no images, the generator is unconditional, or
        labels are no classes.
    """
    if 'generated' not in self.built.task.predictions:
      raise UserError(f'{self._task}, which generates no images')
    classes = getattr(self.built.model, 'classes', None)
    if classes == 0:
      raise UserError(f'{self.name} is unconditional: its images are of no class')
    return generation.images(
      functools.partial(self._generate_images, self._answering), labels, first,
      classes or len(self.classes))

  @functools.cached_property
  def reader(self) -> Reader:
    """Reads new examples, from files or memory, as the source of the run does."""
    return inference.reader_of(self.built, self.experiment, self.name, self.say)

  @functools.cached_property
  def _answering(self) -> State:
    """The state with the average, if the run has one."""
    return averages.evaluated(self.state)

  def _columns(self, inputs: Any, others: dict[str, Any]) -> dict[str, np.ndarray]:
    raw = others or inputs is None or not self.reader.takes(inputs)
    reader = inference.array_reader(self.built, self.name, self.say) if raw else (
      self.reader)
    return reader.columns(inputs, others)

  def _batch_size(self, rows: int | None) -> int:
    return inference.batch_size(
      self.experiment, rows, self.built.layout.shape.data_shards)

  # --- programs -----------------------------------------------------------------

  @functools.cached_property
  def _with_data(self) -> 'Run':
    return self.reopen(with_data=True) if self.reopen else self

  @functools.cached_property
  def _evaluations(self) -> Any:
    return compile_traced(self.traced, only=tuple(self.built.evals))

  @functools.cached_property
  def _predict(self) -> Callable:
    built = self.built

    @jax.jit
    def predict(state, columns):
      outputs = built.learner.evaluate(state, inference.batch(built, columns))[1]
      return {name: outputs[name] for name in built.task.predictions}

    return functools.partial(predict, self._answering)

  @functools.cached_property
  def _features(self) -> Callable:
    from bigmodels.training import features  # most runs are asked for none

    return functools.partial(
      features.program(self.built, self.name), self._answering)

  @functools.cached_property
  def _generate_images(self) -> Callable:
    return generation.image_program(self.built)

  @property
  def _task(self) -> str:
    task = self.experiment.task
    while isinstance(task, functools.partial):
      task = task.keywords.get('task', task.func)
    name = getattr(task, '__name__', type(task).__name__)
    return f'{self.name} is a run of the task {name}'
