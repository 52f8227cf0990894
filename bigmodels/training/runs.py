"""A finished run as functions: what its model answers, and the images that it makes.

Other runs are measured by it, or learn from what it makes.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses
from bigmodels.config import Duration, Experiment
from bigmodels.core import paths
from bigmodels.core.errors import UserError, listed
from bigmodels.data import dataset_spec, table
from bigmodels.data.sources import DataContext, in_lines
from bigmodels.parallel import layout
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.workdir import Workdir
from bigmodels.training import build, initialize
from bigmodels.training.compile import trace

_BATCH = 500  # examples at a time


@dataclasses.dataclass(frozen=True)
class Trained:
  """The best checkpoint of a run, on one device of each process.

  Attributes:
    workdir: of the run.
    built: its experiment, without its data.
    state: of the learner.
    experiment: its name.
  """

  workdir: Workdir
  built: build.Built
  state: Any
  experiment: str

  @property
  def name(self) -> str:
    """The experiment and where its run is, for people."""
    return f'{self.experiment} in {self.workdir.path}'

  @property
  def classes(self) -> tuple[str, ...] | None:
    """Names of the classes that the run knows."""
    return self.built.train.dataset.classes

  @property
  def named(self) -> bool:
    """Whether `classes` are their names, not only how many there are."""
    return self.built.train.dataset.named

  def answer(self, inputs: np.ndarray, **columns: np.ndarray
             ) -> tuple[np.ndarray, np.ndarray]:
    """What a classifier finds in images or tokens.

    It is what an evaluation of the run finds, in float32: with views, the mean of
    their answers.

    Args:
      inputs: raw, as its data has them, `[n, ...]`: images `[n, height, width,
        channels]`, tokens `[n, length]`.
      **columns: what else the run reads, `[n, ...]`, such as `segments`; these, left
        out, are 0 for the 'pad' tokens at the end of a row and 1 for all others.

    Returns:
      features, what the last dense layer reads, `[n, width]`; logits `[n, classes]`.
      The layer makes the logits of the features; of a model that gives one logit, that
      of class 1, the logits of class 0 are zeros.

    Raises:
      UserError: for inputs that are not such as the run reads, a run of another task,
        or a model that does not end in a dense layer.
    """
    if self._table is not None:
      raise UserError(
        f'{self.name} reads a table with the columns {listed(self._table)}, '
        'cleaned by steps that were fitted to it: an array has not gone through them')
    if 'probabilities' not in self._outputs:
      raise UserError(f'{self._task}, which finds no classes; must be one of the task '
                      'classification')
    columns = self._columns(inputs, columns)
    found = []
    for batch, _ in _batches(columns):
      try:
        answer = self._answer(self.state, batch)
      except jax.errors.UnexpectedTracerError:  # the layer is within another program
        raise UserError(self._no_dense) from None
      features, logits, ours = jax.device_get(answer)
      if not np.allclose(losses.probabilities(logits), ours, rtol=0, atol=1e-3):
        raise UserError(f'{self._task}, which does not answer by the mean of the '
                        'logits of its model')
      found.append((features, logits))
    features, logits = (np.concatenate(parts)[: len(columns['inputs'])]
                        for parts in zip(*found, strict=True))
    if logits.shape[-1] == 1:
      logits = np.concatenate([np.zeros_like(logits), logits], -1)
    return features, logits

  def generate(self, labels: np.ndarray, first: int = 0) -> np.ndarray:
    """Images of a learner that makes some.

    Args:
      labels: their classes, int `[n]`.
      first: number of the first; each is a function of its number and label.

    Returns:
      raw, as the data has them, `[n, height, width, channels]`.

    Raises:
      UserError: if the run makes no images, or none of a class.
    """
    if 'generated' not in self._outputs:
      raise UserError(f'{self._task}, which makes no images; must be one of the task '
                      'generation, such as mnist_dcgan is')
    if getattr(self.built.model, 'classes', None) == 0:
      raise UserError(f'{self.name} was told of no classes: its images are of none')
    found = [self._generate(self.state, batch['labels'], first + start)
             for batch, start in _batches({'labels': np.asarray(labels, np.int32)})]
    return np.concatenate(jax.device_get(found))[: len(labels)]

  @functools.cached_property
  def _example(self) -> dict[str, np.ndarray]:
    """Every column of one example, zeros."""
    return self.built.train.dataset.read(np.zeros(1, int))

  @functools.cached_property
  def _outputs(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what an evaluation gives for one example."""
    built = self.built

    def evaluate(state, columns):
      return built.learner.evaluate(state, _batch(built, columns, 0))[1]

    return jax.eval_shape(evaluate, self.state, self._example)

  @property
  def _task(self) -> str:
    task = self.built.experiment.task
    while isinstance(task, functools.partial):
      task = task.keywords.get('task', task.func)
    name = getattr(task, '__name__', type(task).__name__)
    return f'{self.name} is a run of the task {name}'

  @property
  def _no_dense(self) -> str:
    return (f'{self.name}: its model, {type(self.built.model).__name__}, does not end '
            'in a dense layer that makes its logits')

  @property
  def _table(self) -> list[str] | None:
    """The columns of the table that the run reads; None if it reads none."""
    kept = self.built.data['kept']
    return next(([*fitted['columns']] for name, fitted in kept.items()
                 if name.startswith(table.FITTED)), None)

  def _columns(self, inputs: Any, others: dict[str, np.ndarray]
               ) -> dict[str, np.ndarray]:
    """What is to be read, checked against what the run reads."""
    example, tokenizer = self._example, self.built.train.dataset.tokenizer
    reads = [name for name in example if name not in ('labels', 'corrupt')]
    unknown = [name for name in others if name not in reads]
    if unknown:
      raise UserError(f'{self.name} reads {", ".join(reads)}, not '
                      f'{", ".join(unknown)}')
    if isinstance(inputs, Mapping) or hasattr(inputs, 'columns'):
      raise UserError(f'{self.name} reads an array, not columns')
    columns = {'inputs': np.asarray(inputs),
               **{name: np.asarray(x) for name, x in others.items()}}
    if tokenizer is not None:
      columns['inputs'] = self._tokens(columns['inputs'], tokenizer.size)
    pad = None if tokenizer is None else tokenizer.special.get('pad')
    if 'segments' in reads and 'segments' not in columns and pad is not None:
      later = np.cumsum((columns['inputs'] != pad)[:, ::-1], 1)[:, ::-1]
      columns['segments'] = (later > 0).astype(example['segments'].dtype)
    lacking = [name for name in reads if name not in columns]
    if lacking:
      raise UserError(f'{self.name} reads {", ".join(lacking)} too: give '
                      f'{lacking[0]}=...')
    for name, array in columns.items():
      like = example[name]
      if array.shape[1:] != like.shape[1:] or array.dtype != like.dtype or (
        not array.ndim):
        raise UserError(f'{self.name} knows {name} of {like.shape[1:]} {like.dtype}, '
                        f'not of {array.shape[1:]} {array.dtype}')
      if len(array) != len(columns['inputs']) or not len(array):
        raise UserError(f'{name}: {len(array)} rows, must be as many as inputs '
                        f'({len(columns["inputs"])}), at least 1')
      if array.dtype.kind == 'f':
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(1)
        if wrong.any():
          raise UserError(f'{name}: {wrong.sum():,} of {len(array):,} rows have values '
                          f'that are not finite, the first is row {wrong.argmax()}')
    return columns

  def _tokens(self, inputs: np.ndarray, size: int) -> np.ndarray:
    """Tokens in the type of the data, all of them of the vocabulary."""
    like = self._example['inputs']
    if inputs.dtype.kind not in 'iu' or inputs.shape[1:] != like.shape[1:]:
      raise UserError(f'{self.name} knows tokens of {like.shape[1:]} {like.dtype}, not '
                      f'of {inputs.shape[1:]} {inputs.dtype}')
    wrong = (inputs < 0) | (inputs >= size)
    if wrong.any():
      row, place = np.argwhere(wrong)[0]
      raise UserError(f'inputs: the token {inputs[row, place]} of row {row} is not in '
                      f'the vocabulary, 0 to {size - 1}')
    return inputs.astype(like.dtype)

  @functools.cached_property
  def _answer(self) -> Callable:
    built = _in_float32(self.built)
    weights = _weights(built.experiment.task)

    def answer(state, columns):
      batch, calls = _batch(built, columns, 0), []
      with nn.intercept_methods(functools.partial(_record, calls)):
        _, outputs = built.learner.evaluate(state, batch)
      if not calls or not all(features is not None for features, _ in calls):
        raise UserError(self._no_dense)
      parts = weights if len(weights) == len(calls) else (1,) * len(calls)
      features, logits = (sum(part / sum(parts) * x for part, x in zip(
        parts, each, strict=True)) for each in zip(*calls, strict=True))
      return features, logits, outputs['probabilities']

    return jax.jit(answer)

  @functools.cached_property
  def _generate(self) -> Callable:
    built, like = self.built, self._example['inputs']

    def generate(state, labels, first):
      images = jnp.zeros((len(labels), *like.shape[1:]), like.dtype)
      batch = _batch(built, {'inputs': images, 'labels': labels}, first)
      return built.learner.evaluate(state, batch)[1]['generated']

    return jax.jit(generate)


def open_run(experiment: Experiment, layout: Layout, workdir: Workdir,
             data_dir: str | None, cache_dir: pathlib.Path, *, reading: bool = True,
             trust: bool = False, say: Callable[[str], None] = print) -> build.Built:
  """Builds with what `data.json` of a workdir keeps; see `Built.data` for what is new.

  Args:
    experiment: what to build.
    layout: where its arrays lie.
    workdir: of the run.
    data_dir: None for the folder that the run began with, if it told one.
    cache_dir: for decoded data.
    reading: whether data is needed; without, none is opened, what is kept will do, and
      there are no evals.
    trust: whether another run that is opened may execute whatever it names.
    say: prints a line.

  Raises:
    UserError: also if what is kept is not as the run left it, or is gone; see
      `Workdir.fitted`.
  """
  stored = workdir.fitted()
  data_dir = str(paths.resolved(data_dir)) if data_dir else stored.data_dir
  context = DataContext(data_dir, cache_dir, dict(stored.kept), in_lines(say),
                        trust=trust)
  context.trained = lambda path: read(path, cache_dir, context.say, trust=trust)
  if not reading:  # any batch will do, but the run stays as long as it was
    length = context.kept.get('train', {}).get('length', 1)
    steps = experiment.duration.step(
      1, length / (build.batch_size(experiment, layout, length) or length))
    source = dataset_spec.Recorded(getattr(experiment.train.source, 'environment',
                                           None))
    train = dataclasses.replace(
      experiment.train, source=source, batch_size=layout.shape.parts, resident=False)
    experiment = dataclasses.replace(
      experiment, train=train, evals={}, monitor=None, accumulate=1,
      duration=Duration(steps=steps))
    context.trained = lambda path: None  # by which a run is measured
  return build.build(experiment, layout, context)


def read(path: str, cache_dir: pathlib.Path, say: Callable[[str], None], *,
         trust: bool = False) -> Trained:
  """The run in a folder.

  Args:
    path: of the folder.
    cache_dir: for decoded data.
    say: prints a line.
    trust: whether to import and execute whatever it names.

  Raises:
    UserError: if there is no run with a sound checkpoint, or it asks for what is not
      trusted.
  """
  workdir = Workdir(paths.resolved(path))
  if not workdir.config.is_file() or not any(workdir.checkpoints.glob('*')):
    raise UserError(f'{workdir.path}: there is no run with a checkpoint; wants the '
                    '--workdir of one')
  resolved = workdir.recorded({}, trusted=trust)
  for note in resolved.notes:
    say(note)
  experiment = resolved.experiment
  evals = [*experiment.evals.values()]
  if evals:  # what is augmented in training is not here
    experiment = dataclasses.replace(experiment, train=dataclasses.replace(
      experiment.train, transforms=evals[0].transforms))
  here = layout.over(MeshShape(), 'jit', (), jax.local_devices()[:1])._replace(
    described=False)
  built = open_run(
    experiment, here, workdir, None, cache_dir, reading=False, trust=trust, say=say)
  if 'episode' in built.train.dataset.read(np.zeros(1, int)):
    raise UserError(f'{workdir.path}: this is the run of an agent; wants one of images')
  like = trace(built.learner, built.train, {}, here).carry
  step, carry = initialize.of_run(workdir, like)
  say(f'step {step:,} of {workdir.path}, the best checkpoint')
  return Trained(workdir, built, carry.state, resolved.name)


def _batches(columns: dict[str, np.ndarray]
             ) -> Iterator[tuple[dict[str, np.ndarray], int]]:
  """Stretches of columns, filled up to the same length, and where each begins."""
  length = len(next(iter(columns.values())))
  if not length:
    raise UserError('there is nothing to answer: 0 rows, must be at least 1')
  size = min(_BATCH, length)
  for start in range(0, length, size):
    parts = {name: x[start : start + size] for name, x in columns.items()}
    yield {name: np.concatenate([
      x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
      for name, x in parts.items()}, start


def _batch(built: build.Built, columns: dict[str, Any], first: int
           ) -> dict[str, jax.Array]:
  """A batch as the run's transforms make it; columns that are left out are zeros."""
  count = len(columns['inputs'])
  rows = first + jnp.arange(count, dtype=jnp.int32)
  example = built.train.dataset.read(np.zeros(1, int))
  columns = {
    **{name: jnp.zeros((count, *x.shape[1:]), x.dtype)
       for name, x in example.items() if name != 'corrupt'},
    **columns, 'rows': rows, 'epochs': jnp.zeros_like(rows)}
  return built.train.batch({}, {k: v[None] for k, v in columns.items()}, 0,
                           [jax.random.PRNGKey(0)])


def _in_float32(built: build.Built) -> build.Built:
  """The same run, whose model works in float32."""
  if built.precision == 'float32':
    return built
  kept = DataContext(None, pathlib.Path(), dict(built.data['kept']), lambda line: None,
                 lambda path: None)
  return build.build(dataclasses.replace(built.experiment, precision='float32'),
                     built.layout, kept)


def _weights(task: Any) -> tuple[float, ...]:
  """Those of the views of a task, where its recipe has some."""
  while isinstance(task, functools.partial):
    if task.keywords.get('weights'):
      return task.keywords['weights']
    task = task.keywords.get('task', task.func)
  return ()


def _record(calls: list, call: Callable, args: tuple, kwargs: dict, context) -> Any:
  """Adds what the last dense layer reads, and what it makes of it, to a list.

  Whenever the whole model has answered, what is of its parts becomes one entry:
  features `[n, width]`, or None if no dense layer made the answer; the answer.
  """
  answer = call(*args, **kwargs)
  module = context.module
  if context.method_name != '__call__':
    return answer
  if module.path:
    reads = next(iter((*args, *kwargs.values())), None)
    if _is_dense(module, reads, answer):
      calls.append(_Dense((reads, answer)))
    return answer
  made = [x for x in calls if isinstance(x, _Dense)]
  del calls[len(calls) - len(made):]
  features = None
  if made and made[-1][1].size == answer.size and (
    made[-1][1].shape[-1] == answer.shape[-1]):
    features = made[-1][0].reshape(len(answer), -1).astype(jnp.float32)
  calls.append((features, answer.astype(jnp.float32)))
  return answer


class _Dense(tuple):
  """What a dense layer reads, and its answer."""


def _is_dense(module: nn.Module, reads: Any, answer: Any) -> bool:
  """Whether a module multiplies what it reads by a matrix `kernel`."""
  if not module.has_variable('params', 'kernel') or not hasattr(reads, 'shape') or (
    not hasattr(answer, 'shape')):
    return False
  return (*reads.shape[-1:], *answer.shape[-1:]) == (
    module.get_variable('params', 'kernel').shape)
