"""A finished run as an object: its parameters, and what can be done with them.

    run = bigmodels.load('runs/digits')
    run.predict(images)['probabilities']
    run.evaluate('test')

Evaluation, sampling and other runs that are measured by this one open it here.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses
from bigmodels.config import Experiment
from bigmodels.config.resolving import Resolved
from bigmodels.core.errors import UserError, nearest
from bigmodels.learners import State
from bigmodels.tasks.decoding import Settings, TooLong
from bigmodels.training import evaluation, query
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
    reopen: () -> the same run with its data, which `evaluate` needs.
  """

  resolved: Resolved
  path: pathlib.Path
  built: Built
  traced: Traced
  state: State
  step: int
  reopen: Callable[[], 'Run'] | None = None

  @property
  def name(self) -> str:
    """The experiment and where its run is, for people."""
    return f'{self.resolved.name} in {self.path}'

  @property
  def experiment(self) -> Experiment:
    """The record that the run was made from."""
    return self.resolved.experiment

  @property
  def model(self) -> nn.Module:
    """The Linen module: `model.apply({'params': params, **model_state}, ...)`."""
    return self.built.model

  @property
  def params(self) -> Any:
    """The tree of parameters."""
    return self.state.params

  @property
  def model_state(self) -> Any:
    """What is not trained by gradients, such as batch statistics."""
    return self.state.model_state

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
    """Mean and standard deviation `[channels]` that were fitted to its inputs, or None.
    """
    fitted = self.built.data['kept'].get('inputs')
    return None if fitted is None else tuple(np.asarray(x) for x in fitted)

  def predict(self, inputs: np.ndarray | None = None, **columns: np.ndarray
              ) -> dict[str, np.ndarray]:
    """The model's outputs for inputs, as in an evaluation of the run.

    Args:
      inputs: raw, as its data has them, `[n, ...]`: images `[n, height, width,
        channels]`, tokens `[n, length]`; None if the task reads no such column.
      **columns: the other columns that the task reads, `[n, ...]`. If `segments` are
        left out, they are 0 for the 'pad' tokens at the end of a row, 1 for the others.

    Returns:
      name -> `[n, ...]`: of a classifier `predictions` `[n]` and `probabilities` `[n,
      classes]`, of a regression `predictions` `[n, targets]`.

    Raises:
      UserError: for columns that do not fit the run, or a task without predictions.
    """
    if not self.built.task.predictions:
      raise UserError(f'{self._task}, which has no predictions for single inputs')
    columns = query.checked(self.built, self.name, inputs, columns)
    found = [jax.device_get(self._predict(self.state, batch))
             for batch, _ in query.batches(columns)]
    return {name: np.concatenate([each[name] for each in found])[
      : query.length(columns)] for name in found[0]}

  def evaluate(self, *splits: str) -> dict[str, Any]:
    """Metrics of whole splits, with their data.

    Args:
      *splits: names in the experiment's `evals`; none for all.

    Returns:
      flat name -> value, such as `test/accuracy`.

    Raises:
      UserError: if there is no such split, or its data cannot be opened.
    """
    for name in splits:
      if name not in [*self.experiment.evals]:
        raise UserError(f'{self.name} evaluates no split {name!r}'
                        f'{nearest(str(name), self.experiment.evals)}')
    run = self._with_data
    found: dict[str, Any] = {}
    for name in splits or run.built.evals:
      found |= evaluation.evaluate(run.built, run._evaluations, name, self.state)[0]
    return found

  def generate(self, prompts: Sequence[str] = ('',), *, seed: int = 0,
               **settings: Any) -> list[str]:
    """The texts that follow prompts, or translate them.

    Args:
      prompts: texts.
      seed: of the draws.
      **settings: of `decoding.Settings`, such as `count=100` or `temperature=0`.

    Raises:
      UserError: for a task that writes no text, or settings that do not fit it.
    """
    texts = [] if isinstance(prompts, str | None) else [*prompts]
    if not texts or not all(isinstance(text, str) for text in texts):
      raise UserError(f'prompts: must be a list of texts, got {prompts!r}')
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
      raise UserError(f'seed: must be in [0, {2**32 - 1}], got {seed!r}')
    try:
      chosen = Settings(**settings)
    except (TypeError, ValueError) as error:
      raise UserError(f'generate: {error}') from None
    try:
      found = self.writer(texts, jax.random.PRNGKey(seed), chosen)
    except TooLong as error:
      raise UserError(f'count={chosen.count}: {error}') from None
    return [text for text, _ in found]

  @property
  def writer(self) -> Callable[..., list[tuple[str, int]]]:
    """(prompts, key, `decoding.Settings`) -> texts, and of how many tokens each is.

    Raises:
      UserError: for a task that writes no text.
    """
    self.check_writes()
    return functools.partial(self.built.task.generate, self.params, self.model_state)

  def check_writes(self) -> None:
    """Refuses a run whose task writes no text.

    Raises:
      UserError: naming the task.
    """
    if self.built.task.generate is None:
      raise UserError(f'{self._task}, which writes no text')

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
    columns = query.checked(self.built, self.name, inputs, columns)
    found = []
    for batch, _ in query.batches(columns):
      try:
        answer = self._features(self.state, batch)
      except jax.errors.UnexpectedTracerError:  # the layer is within another program
        raise UserError(self._no_dense) from None
      reads, logits, expected = jax.device_get(answer)
      if not np.allclose(losses.probabilities(logits), expected, rtol=0, atol=1e-3):
        raise UserError(f'{self._task}, whose probabilities are not those of the mean '
                        "of its model's logits")
      found.append((reads, logits))
    found, logits = (np.concatenate(parts)[: query.length(columns)]
                     for parts in zip(*found, strict=True))
    if logits.shape[-1] == 1:
      logits = np.concatenate([np.zeros_like(logits), logits], -1)
    return found, logits

  def generate_images(self, labels: np.ndarray, first: int = 0) -> np.ndarray:
    """Images of a generator.

    Args:
      labels: their classes, int `[n]`.
      first: number of the first; each is a function of its number and label.

    Returns:
      raw, as the data has them, `[n, height, width, channels]`.

    Raises:
      UserError: if the task generates no images, or the generator is unconditional.
    """
    if 'generated' not in self.built.task.predictions:
      raise UserError(f'{self._task}, which generates no images')
    if getattr(self.built.model, 'classes', None) == 0:
      raise UserError(f'{self.name} is unconditional: its images are of no class')
    columns = {'labels': np.asarray(labels, np.int32)}
    found = [self._generate_images(self.state, batch['labels'], first + start)
             for batch, start in query.batches(columns)]
    return np.concatenate(jax.device_get(found))[: len(labels)]

  # --- programs -----------------------------------------------------------------

  @functools.cached_property
  def _with_data(self) -> 'Run':
    return self.reopen() if self.reopen else self

  @functools.cached_property
  def _evaluations(self) -> Any:
    return compile_traced(self.traced, only=tuple(self.built.evals))

  @functools.cached_property
  def _predict(self) -> Callable:
    built = self.built

    def predict(state, columns):
      outputs = built.learner.evaluate(state, query.batch(built, columns))[1]
      return {name: outputs[name] for name in built.task.predictions}

    return jax.jit(predict)

  @functools.cached_property
  def _features(self) -> Callable:
    from bigmodels.training import features  # most runs are asked for none

    return features.program(self.built, query.batch, self._no_dense)

  @functools.cached_property
  def _generate_images(self) -> Callable:
    built, like = self.built, query.example(self.built)['inputs']

    def generate(state, labels, first):
      images = jnp.zeros((len(labels), *like.shape[1:]), like.dtype)
      batch = query.batch(built, {'inputs': images, 'labels': labels}, first)
      return built.learner.evaluate(state, batch)[1]['generated']

    return jax.jit(generate)

  # --- errors -------------------------------------------------------------------

  @property
  def _task(self) -> str:
    task = self.experiment.task
    while isinstance(task, functools.partial):
      task = task.keywords.get('task', task.func)
    name = getattr(task, '__name__', type(task).__name__)
    return f'{self.name} is a run of the task {name}'

  @property
  def _no_dense(self) -> str:
    return (f'{self.name}: its model, {type(self.model).__name__}, does not end in a '
            'dense layer that makes its logits')
