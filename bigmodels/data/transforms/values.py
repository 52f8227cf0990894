"""Transforms of values: normalization, noise, and erased regions."""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import (
  Batch,
  check_pixels,
  check_range,
  draw_rectangles,
  images_of,
  inputs_of,
  inside,
)


def standardize(batch: Batch, key: jax.Array, *, mean, std) -> Batch:
  """Subtracts a mean and divides by a standard deviation, per channel, in float32.

  An experiment omits `mean` and `std`: they are then computed from the training split
  and stored with the run.

  Args:
    batch: inputs `[batch, ..., channels]`.
    key: not used.
    mean, std: `[channels]`, or one number for all.

  Raises:
    ValueError: for a mean or std with another number of channels.
  """
  del key
  inputs = inputs_of(batch, 'standardize').astype(jnp.float32)
  mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
  for array in (mean, std):
    if array.size not in (1, inputs.shape[-1]):  # one channel would be broadcast
      raise ValueError(f'standardize: mean and std are of {array.size} channels, the '
                       f'inputs {inputs.shape[1:]} have {inputs.shape[-1]}')
  return {**batch, 'inputs': (inputs - mean) / std}


def noise(batch: Batch, key: jax.Array, *, std: float) -> Batch:
  """Adds Gaussian noise.

  Args:
    batch: inputs `[batch, ...]`.
    key: PRNG key.
    std: standard deviation, in the units of `standardize` if that comes before.

  Raises:
    ValueError: for a negative deviation.
  """
  check_range('noise', 0, std=std)
  inputs = inputs_of(batch, 'noise').astype(jnp.float32)
  return {**batch, 'inputs': inputs + std * jax.random.normal(key, inputs.shape)}


def cutout(batch: Batch, key: jax.Array, *, size: int, fill: float = 0.0) -> Batch:
  """Fills a square around a random pixel.

  From DeVries and Taylor (*Improved regularization of convolutional neural networks
  with cutout*, 2017).

  Args:
    batch: images `[batch, height, width, channels]`.
    key: PRNG key.
    size: size of the square, in pixels; at an edge, part of it is outside.
    fill: the value; after `standardize`, 0 is the mean.

  Raises:
    ValueError: for a negative size.
  """
  n, height, width, _ = images_of(batch, 'cutout').shape
  check_pixels('cutout', 0, size=size)
  centres = jax.random.randint(key, (n, 2), 0, jnp.array([height, width]))
  corners = centres + 0.5 - size / 2 - 1e-3  # an even size has no central pixel
  return _filled(batch, inside(corners, jnp.full((n, 2), size), (height, width)), fill)


def erase(batch: Batch, key: jax.Array, *, probability: float = 0.5,
          area: tuple[float, float] = (0.02, 0.4),
          aspect: tuple[float, float] = (0.3, 1 / 0.3), fill: float = 0.0) -> Batch:
  """Fills a random rectangle, with a probability.

  From Zhong et al. (*Random erasing data augmentation*, 2017).

  Args:
    batch: images `[batch, height, width, channels]`.
    key: PRNG key.
    probability: probability for each image.
    area: smallest and largest fraction of the image.
    aspect: smallest and largest ratio of width to height.
    fill: the value; after `standardize`, 0 is the mean.

  Raises:
    ValueError: for another probability, area or aspect.
  """
  images = images_of(batch, 'erase')
  check_range('erase', 0, 1, probability=probability)
  hole_key, choice_key = (jax.random.fold_in(key, i) for i in range(2))
  hole = inside(*draw_rectangles(hole_key, images.shape[:3], area=area,
                                 aspect=aspect), images.shape[1:3])
  chosen = jax.random.bernoulli(choice_key, float(probability), (len(images), 1, 1, 1))
  return _filled(batch, hole & chosen, fill)


def _filled(batch: Batch, hole: jax.Array, fill: float) -> Batch:
  images = batch['inputs']
  return {**batch, 'inputs': jnp.where(hole, jnp.asarray(fill, images.dtype), images)}
