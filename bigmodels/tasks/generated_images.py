"""What tasks that generate images share: their data, and how they are measured."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import metrics
from bigmodels.core.errors import UserError
from bigmodels.tasks.task import Split

SNAPSHOT = 10  # images of the same noise at every evaluation


class Measured(NamedTuple):
  """How generated images are measured; see `measured`.

  Attributes:
    check: (a `Split`) -> None; refuses classes that differ.
    summarize: (outputs of a split) -> name -> number.
    note: by what they are measured, or None.
  """

  check: Callable[[Split], None]
  summarize: Callable[..., dict[str, float]]
  note: str | None


def measured(classes: int, classifier: str | None, open_run: Callable,
             examples: Callable) -> Measured:
  """Measures generated images in the feature space of a classifier.

  The features are the inputs of its last dense layer; see `metrics.generation`.

  Args:
    classes: number of classes of the images, 0 if they have none.
    classifier: workdir of a run of `tasks.classification` on the same images; None
      measures nothing.
    open_run: path -> the `Run` at that path.
    examples: n -> n raw inputs of the training split.

  Raises:
    UserError: for a classifier that does not exist, or has other classes.
  """
  run = open_run(classifier) if classifier else None
  if run is not None:  # before anything is trained
    known = run.features(np.asarray(examples(1)))[1].shape[-1]
    if classes > known:
      raise UserError(f'--config.task.classifier={classifier}: has {known} classes, '
                      f'the model makes images of {classes}')

  def summarize(outputs):
    if run is None:
      return {}
    images = {'generated': outputs['generated'], 'real': outputs['real'],
              'train': np.asarray(examples(len(outputs['real'])))}
    answers = {name: run.features(each) for name, each in images.items()}
    accuracy = {f'accuracy{end}': float(np.mean(
      answers[name][1].argmax(-1) == outputs['labels']))
      for name, end in (('generated', ''), ('real', '_real'))}
    features = {name: found for name, (found, _) in answers.items()}
    return (accuracy if classes else {}) | metrics.generation(features)

  def check(split):
    if split.classes and classes not in (0, len(split.classes)):
      raise UserError(
        f'{split.name}: the model makes images of {classes} classes, the data '
        f'has {len(split.classes)}: set --config.model.classes={len(split.classes)}')
    if run is not None and classes:
      _check_classes(split, run)

  return Measured(check, summarize, None if run is None else f'measured by {run.name}')


def _check_classes(split: Split, run: Any) -> None:
  """Refuses a classifier whose class 3, say, is another class than in the data."""
  ours, theirs = split.classes, run.classes
  pairs = enumerate(zip(ours or (), theirs or (), strict=False))
  index = next((i for i, (a, b) in pairs if a != b), None)
  if index is None:
    return
  differ = (f'class {index} is {theirs[index]!r} in {run.name}, and {ours[index]!r} in '
            'the data of this run')
  if split.named and run.named:
    same = sorted(ours) == sorted(theirs)
    raise UserError(differ + ': the same classes in another order' * same)
  if split.name == 'train':  # once
    split.say(f'{differ}; one of them has numbers for names, so they are compared by '
              'number')


def check_batch(batch) -> None:
  """Refuses a batch that is not of images from -1 to 1, with a class each.

  Raises:
    ValueError: for one.
  """
  missing = [name for name in ('inputs', 'labels') if name not in batch]
  if missing:
    raise ValueError(f'generation needs the column {missing[0]!r}, the data has '
                     f'{", ".join(batch)}')
  labels, images = batch['labels'], batch['inputs']
  if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
    raise ValueError('generation needs labels [batch] of classes, got '
                     f'{labels.dtype} {labels.shape}')
  if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(
      'generation needs images [batch, height, width, channels] from -1 to 1, got '
      f'{images.dtype} {images.shape}: end the transforms with standardize, with '
      'mean and std half the brightest value')


def check_white(white: int) -> None:
  """Refuses a raw value of white that is no byte.

  Raises:
    ValueError: for one.
  """
  if not 1 <= white <= 255:
    raise ValueError(f'white: must be >= 1 and <= 255, got {white}')


def keys_of(kind: int, numbers: jax.Array) -> jax.Array:
  """Returns a PRNG key for each number, a function of it and the kind alone.

  Args:
    kind: what the keys are for.
    numbers: int `[n]`, such as rows of a split.
  """
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.PRNGKey(kind), numbers)


def noise_of(kind: int, numbers: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns normal noise for each number, `[n, *shape]`; see `keys_of`.

  Args:
    kind: what it is for.
    numbers: int `[n]`.
    shape: of the noise of each.
  """
  return jax.vmap(lambda key: jax.random.normal(key, shape))(keys_of(kind, numbers))


def to_bytes(images: jax.Array, white: int) -> jax.Array:
  """Returns images as in the data, uint8, of images from -1 to 1.

  Args:
    images: `[...]`.
    white: the raw value of the data that is 1 for the model.
  """
  return jnp.clip(jnp.round((images + 1) * (white / 2)), 0, white).astype(jnp.uint8)


def snapshot(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """A few generated images, one of each class first, always of the same noise.

  Args:
    outputs: `generated` `[n, height, width, channels]` and `labels` `[n]`.
  """
  _, firsts = np.unique(outputs['labels'], return_index=True)
  others = np.setdiff1d(np.arange(len(outputs['labels'])), firsts)
  return {'generated': outputs['generated'][np.append(firsts, others)[:SNAPSHOT]]}
