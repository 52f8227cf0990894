"""Transforms that mix pairs of examples and their labels, and a choice of transforms.

Example i is mixed with its neighbour, i + 1 or i - 1. Such pairs are in the same
microbatch and data shard if these have an even size, so that the result does not depend
on how the batch is divided. The last of an odd number is not mixed. Batches are
shuffled, so a neighbour is a random example.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.data.transforms import boxes
from bigmodels.data.transforms.images import (
  Batch,
  check_range,
  images_of,
  inputs_of,
  inside,
  like,
)


def mixup(batch: Batch, key: jax.Array, *, num_outputs: int, alpha: float = 0.2,
          probability: float = 1.0) -> Batch:
  """Mixes the inputs and the labels of two examples.

  From Zhang et al. (*mixup: Beyond empirical risk minimization*, 2018). Masked examples
  are not mixed.

  Args:
    batch: inputs of any shape `[batch, ...]`. Labels that are class indices become
      float `[batch, num_outputs]`, the fraction of each class; other labels are mixed
      directly. Labels are optional.
    key: PRNG key.
    num_outputs: number of classes; an experiment omits it, as the run supplies it.
    alpha: the fraction of an example is sampled from Beta(alpha, alpha).
    probability: probability that an example is mixed.

  Raises:
    ValueError: for an alpha of 0 or below, or another probability.
  """
  inputs = inputs_of(batch, 'mixup')
  boxes.refuse(batch, 'mixup', 'mosaic')
  fraction, mixed = _fractions(batch, key, alpha, probability)
  other = neighbours(inputs).astype(jnp.float32)
  values = _mean(inputs.astype(jnp.float32), other, fraction, mixed)
  return {**batch, 'inputs': like(values, inputs.dtype),
          **_labels(batch, num_outputs, fraction, mixed)}


def cutmix(batch: Batch, key: jax.Array, *, num_outputs: int, alpha: float = 1.0,
           probability: float = 1.0) -> Batch:
  """Pastes a rectangle of another image, and mixes the labels by its area.

  From Yun et al. (*CutMix: Regularization strategy to train strong classifiers with
  localizable features*, 2019). Masked examples are not mixed.

  Args:
    batch: images `[batch, height, width, channels]`, and labels as in `mixup`.
    key: PRNG key.
    num_outputs: see `mixup`.
    alpha: the fraction of an image that is kept is sampled from Beta(alpha, alpha); it
      is larger if the rectangle extends beyond the image.
    probability: probability that an example is mixed.

  Raises:
    ValueError: for an alpha of 0 or below, or another probability.
  """
  images = images_of(batch, 'cutmix')
  boxes.refuse(batch, 'cutmix', 'mosaic')
  shape = images.shape[1:3]
  fraction, mixed = _fractions(batch, jax.random.fold_in(key, 0), alpha, probability)
  sizes = jnp.sqrt(1 - fraction)[:, None] * jnp.array(shape)
  centres = jax.random.uniform(jax.random.fold_in(key, 1), sizes.shape) * (
    jnp.array(shape))
  cut = inside(centres - sizes / 2, sizes, shape) & mixed[:, None, None, None]
  fraction = 1 - cut.mean((1, 2, 3), dtype=jnp.float32)
  return {**batch, 'inputs': jnp.where(cut, neighbours(images), images),
          **_labels(batch, num_outputs, fraction, mixed)}


def one_of(batch: Batch, key: jax.Array, *,
           transforms: tuple[Callable[..., Batch], ...]) -> Batch:
  """Applies one of several transforms to every example, each with the same probability.

  All of them are computed for all examples. A typical use is a choice between `mixup`
  and `cutmix`.

  Args:
    batch: column -> `[batch, ...]`, with `mask`.
    key: PRNG key.
    transforms: transforms to choose from; they must return the same shapes and dtypes.

  Raises:
    ValueError: if they do not.
  """
  chosen = jax.random.randint(
    jax.random.fold_in(key, 0), (len(batch['mask']),), 0, len(transforms))
  found, *others = [transform(batch, jax.random.fold_in(key, index))
                    for index, transform in enumerate(transforms, 1)]

  def kind(batch):
    return {name: (x.dtype.name, x.shape) for name, x in batch.items()}

  for index, other in enumerate(others, 1):
    if kind(other) != kind(found):
      raise ValueError(f'one_of: one transform returns {kind(found)}, another '
                       f'{kind(other)}')
    found = {name: jnp.where(_beside(chosen == index, x), other[name], x)
             for name, x in found.items()}
  return found


def neighbours(x: jax.Array) -> jax.Array:
  """Returns `[n, ...]` with the two of every pair exchanged, except an odd last one."""
  even = len(x) // 2 * 2
  pairs = x[:even].reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(even, *x.shape[1:])
  return jnp.concatenate([pairs, x[even:]]) if even < len(x) else pairs


def _fractions(batch: Batch, key: jax.Array, alpha: float, probability: float
               ) -> tuple[jax.Array, jax.Array]:
  """The fraction of each example to keep, float32 `[n]`, and whether it is mixed."""
  if not 0 < alpha < float('inf'):
    raise ValueError(f'alpha: must be > 0, got {alpha}')
  check_range('mixup, cutmix', 0, 1, probability=probability)
  from scipy.special import betaincinv

  # jax.random.beta gives other numbers for a part of a batch than for the whole.
  n = len(batch['mask'])
  draws = jax.random.uniform(key, (n, 2))
  levels = np.linspace(0, 1, 4097)
  fraction = jnp.interp(draws[:, 0], levels, betaincinv(alpha, alpha, levels))
  both = (batch['mask'] > 0) & (neighbours(batch['mask']) > 0)
  both &= jnp.arange(n) < n // 2 * 2
  return fraction, both & (draws[:, 1] < probability)


def _labels(batch: Batch, num_outputs: int, fraction: jax.Array, mixed: jax.Array
            ) -> Batch:
  """The mixed labels as a column; no column without labels."""
  if 'labels' not in batch:
    return {}
  labels = batch['labels']
  if jnp.issubdtype(labels.dtype, jnp.integer):
    labels = jax.nn.one_hot(labels, num_outputs)
  return {'labels': _mean(labels, neighbours(labels), fraction, mixed)}


def _mean(x: jax.Array, other: jax.Array, fraction: jax.Array, mixed: jax.Array
          ) -> jax.Array:
  fraction = _beside(fraction, x)
  # Do not multiply by 0 where examples are not mixed: the other may be NaN.
  return jnp.where(_beside(mixed, x), fraction * x + (1 - fraction) * other, x)


def _beside(x: jax.Array, like: jax.Array) -> jax.Array:
  """`[n]` with trailing axes of size 1, to broadcast against another array."""
  return x.reshape(-1, *[1] * (like.ndim - 1))
