"""A finished run as functions: what its model answers to images, and what it makes.

Other runs are measured by it, or learn from what it makes.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError

from bigmodels import build, initialize
from bigmodels.errors import UserError
from bigmodels.parallel import layout
from bigmodels.parallel.compile import trace
from bigmodels.sharding import MeshShape
from bigmodels.workdir import Workdir

_BATCH = 500  # images at a time


@dataclasses.dataclass(frozen=True)
class Trained:
  """The best checkpoint of a run, on one device of each process.

  Attributes:
    workdir: of the run.
    built: its experiment, without its data.
    state: of the learner.
  """

  workdir: Workdir
  built: build.Built
  state: Any

  @property
  def name(self) -> str:
    """The experiment and where its run is, for people."""
    return f'{self.workdir.recorded({}).name} in {self.workdir.path}'

  @property
  def classes(self) -> tuple[str, ...] | None:
    """Names of the classes that the run knows."""
    return self.built.train.dataset.classes

  def answer(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a classifier finds in images.

    Args:
      images: raw, as its data has them, `[n, height, width, channels]`.

    Returns:
      features, what the last dense layer reads, `[n, width]`; logits `[n, classes]`.

    Raises:
      UserError: for images of another shape, or a model without a dense layer.
    """
    like = self.built.train.dataset.read(np.zeros(1, int))['inputs']
    if images.shape[1:] != like.shape[1:] or images.dtype != like.dtype:
      raise UserError(f'{self.name} knows images of {like.shape[1:]} {like.dtype}, not '
                      f'of {images.shape[1:]} {images.dtype}')
    found = [self._answer(self.state, batch) for batch, _ in _batches(images)]
    return tuple(np.concatenate(parts)[: len(images)] for parts in zip(
      *jax.device_get(found), strict=True))

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
    if getattr(self.built.model, 'classes', None) == 0:
      raise UserError(f'{self.name} was told of no classes: its images are of none')
    found = [self._generate(self.state, batch, first + start)
             for batch, start in _batches(np.asarray(labels, np.int32))]
    return np.concatenate(jax.device_get(found))[: len(labels)]

  @functools.cached_property
  def _answer(self) -> Callable:
    built = self.built
    no_classifier = (f'{self.name}: its model, {type(built.model).__name__}, is no '
                     'classifier that ends in a dense layer')

    def answer(state, images):
      batch = _batch(built, images, jnp.zeros(len(images), jnp.int32), 0)
      read = []

      def intercept(call, args, kwargs, context):
        if isinstance(context.module, nn.Dense) and args:
          read[:] = args[:1]
        return call(*args, **kwargs)

      try:
        with nn.intercept_methods(intercept):
          logits = built.model.apply(
            {'params': state.params, **state.extra}, batch['inputs'], train=False)
      except (FlaxError, TypeError, ValueError) as error:
        raise UserError(f'{no_classifier} ({type(error).__name__})') from error
      if not read or logits.ndim != 2:
        raise UserError(no_classifier)
      return read[0].reshape(len(images), -1), logits

    return jax.jit(answer)

  @functools.cached_property
  def _generate(self) -> Callable:
    built = self.built
    (shape, dtype), = ((x.shape[1:], x.dtype) for x in [
      built.train.dataset.read(np.zeros(1, int))['inputs']])

    def generate(state, labels, first):
      batch = _batch(built, jnp.zeros((len(labels), *shape), dtype), labels, first)
      _, outputs = built.learner.evaluate(state, batch)
      if 'generated' not in outputs:
        raise UserError(f'{self.name} makes no images: wants a run of an experiment '
                        'such as mnist_dcgan')
      return outputs['generated']

    return jax.jit(generate)


def read(path: str, cache_dir: pathlib.Path, say: Callable[[str], None]) -> Trained:
  """The run in a folder.

  Raises:
    UserError: if there is no run with a sound checkpoint.
  """
  workdir = Workdir(pathlib.Path(path).expanduser().resolve())
  if not workdir.config.is_file() or not any(workdir.checkpoints.glob('*')):
    raise UserError(f'{workdir.path}: there is no run with a checkpoint; wants the '
                    '--workdir of one')
  experiment = workdir.recorded({}).experiment
  evals = [*experiment.evals.values()]
  if evals:  # what is augmented in training is not here
    experiment = dataclasses.replace(experiment, train=dataclasses.replace(
      experiment.train, transforms=evals[0].transforms))
  here = layout.over(MeshShape(), 'jit', (), jax.local_devices()[:1])._replace(
    described=False)
  built = build.open_run(
    experiment, here, workdir, None, cache_dir, reading=False, say=say)
  if 'episode' in built.train.dataset.read(np.zeros(1, int)):
    raise UserError(f'{workdir.path}: this is the run of an agent; wants one of images')
  like = trace(built.learner, built.train, {}, here).carry
  step, carry = initialize.of_run(workdir, like)
  say(f'step {step:,} of {workdir.path}, the best checkpoint')
  return Trained(workdir, built, carry.state)


def _batches(array: np.ndarray):
  """Stretches of an array, filled up to the same length, and where each begins."""
  if not len(array):
    raise ValueError('wants at least one image')
  size = min(_BATCH, len(array))
  for start in range(0, len(array), size):
    part = array[start : start + size]
    yield np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]),
                                         part.dtype)]), start


def _batch(built, images, labels, first):
  """A batch as the run's transforms make it."""
  rows = first + jnp.arange(len(images), dtype=jnp.int32)
  columns = {'inputs': images, 'labels': labels, 'rows': rows,
             'epochs': jnp.zeros_like(rows)}
  return built.train.batch({}, {k: v[None] for k, v in columns.items()}, 0,
                           [jax.random.PRNGKey(0)])
