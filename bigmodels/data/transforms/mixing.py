"""Transforms that mix two examples, labels too, and choices between transforms.

Example i is mixed with its neighbour, i + 1 or i - 1: pairs that stay together in every
part of a batch of even size, over devices or over time, so that the result does not
depend on how the batch is cut. (The last of an odd number is mixed with none.) Batches
are shuffled, so a neighbour is any other example.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.data.transforms.images import Batch, check_range, images_of, inside, like


def mixup(batch: Batch, key: jax.Array, *, outputs: int, alpha: float = 0.2,
          probability: float = 1.0) -> Batch:
  """Means of two examples and of their labels (Zhang et al., *mixup*, 2018).

  What is masked is not mixed with anything.

  Args:
    batch: inputs of any shape `[batch, ...]`. Labels that are class indices become
      float `[batch, outputs]`, the share of each class; others are mixed as they are.
    key: of the draws.
    outputs: number of classes; an experiment leaves it out, the run knows.
    alpha: the share of an example is drawn from Beta(alpha, alpha).
    probability: that an example is mixed at all.
  """
  inputs = batch['inputs']
  share, mixed = _shares(batch, key, alpha, probability)
  other = neighbours(inputs).astype(jnp.float32)
  values = _mean(inputs.astype(jnp.float32), other, share, mixed)
  return {**batch, 'inputs': like(values, inputs.dtype),
          'labels': _labels(batch, outputs, share, mixed)}


def cutmix(batch: Batch, key: jax.Array, *, outputs: int, alpha: float = 1.0,
           probability: float = 1.0) -> Batch:
  """A rectangle of another image and as much of its label (Yun et al., 2019).

  What is masked is not mixed with anything.

  Args:
    batch: images, and labels as in `mixup`.
    key: of the draws.
    outputs: see `mixup`.
    alpha: the share of an image that stays is drawn from Beta(alpha, alpha); more stays
      where the rectangle, about any point, reaches out of the image.
    probability: that an example is mixed at all.
  """
  images = images_of(batch, 'cutmix')
  shape = images.shape[1:3]
  share, mixed = _shares(batch, jax.random.fold_in(key, 0), alpha, probability)
  sizes = jnp.sqrt(1 - share)[:, None] * jnp.array(shape)
  centres = jax.random.uniform(jax.random.fold_in(key, 1), sizes.shape) * (
    jnp.array(shape))
  cut = inside(centres - sizes / 2, sizes, shape) & mixed[:, None, None, None]
  share = 1 - cut.mean((1, 2, 3), dtype=jnp.float32)
  return {**batch, 'inputs': jnp.where(cut, neighbours(images), images),
          'labels': _labels(batch, outputs, share, mixed)}


def one_of(batch: Batch, key: jax.Array, *,
           transforms: tuple[Callable[..., Batch], ...]) -> Batch:
  """Does one of several transforms to every example, each as likely as any.

  All of them are worked out for all examples. For `mixup` and `cutmix` by turns, say.

  Raises:
    ValueError: if they do not leave the same shapes and dtypes.
  """
  chosen = jax.random.randint(
    jax.random.fold_in(key, 0), (len(batch['inputs']),), 0, len(transforms))
  found, *others = [transform(batch, jax.random.fold_in(key, index))
                    for index, transform in enumerate(transforms, 1)]

  def kind(batch):
    return {name: (x.dtype.name, x.shape) for name, x in batch.items()}

  for index, other in enumerate(others, 1):
    if kind(other) != kind(found):
      raise ValueError(f'one_of: one transform leaves {kind(found)}, another '
                       f'{kind(other)}')
    found = {name: jnp.where(_beside(chosen == index, x), other[name], x)
             for name, x in found.items()}
  return found


def neighbours(x: jax.Array) -> jax.Array:
  """`[n, ...]` with each two examples exchanged; the last of an odd number stays."""
  even = len(x) // 2 * 2
  pairs = x[:even].reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(even, *x.shape[1:])
  return jnp.concatenate([pairs, x[even:]]) if even < len(x) else pairs


def _shares(batch: Batch, key: jax.Array, alpha: float, probability: float
            ) -> tuple[jax.Array, jax.Array]:
  """How much of every example stays, float32 `[n]`, and whether any goes."""
  if not 0 < alpha < float('inf'):
    raise ValueError(f'alpha: wants a number above 0, got {alpha}')
  check_range('mixup, cutmix', 0, 1, probability=probability)
  from scipy.special import betaincinv

  # jax.random.beta does not draw for a part of a batch what the whole would get.
  n = len(batch['inputs'])
  draws = jax.random.uniform(key, (n, 2))
  levels = np.linspace(0, 1, 4097)
  share = jnp.interp(draws[:, 0], levels, betaincinv(alpha, alpha, levels))
  both = (batch['mask'] > 0) & (neighbours(batch['mask']) > 0)
  both &= jnp.arange(n) < n // 2 * 2
  return share, both & (draws[:, 1] < probability)


def _labels(batch: Batch, outputs: int, share: jax.Array, mixed: jax.Array
            ) -> jax.Array:
  labels = batch['labels']
  if jnp.issubdtype(labels.dtype, jnp.integer):
    labels = jax.nn.one_hot(labels, outputs)
  return _mean(labels, neighbours(labels), share, mixed)


def _mean(x: jax.Array, other: jax.Array, share: jax.Array, mixed: jax.Array
          ) -> jax.Array:
  share = _beside(share, x)
  # What is not mixed is not multiplied by 0 either: the other may hold NaN.
  return jnp.where(_beside(mixed, x), share * x + (1 - share) * other, x)


def _beside(x: jax.Array, like: jax.Array) -> jax.Array:
  """`[n]` with axes of 1 for those that another array has."""
  return x.reshape(-1, *[1] * (like.ndim - 1))
