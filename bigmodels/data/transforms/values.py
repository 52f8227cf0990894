"""Transforms of values: normalisation, noise, and holes."""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import (
  Batch,
  check_pixels,
  check_range,
  draw_rectangles,
  images_of,
  inside,
)


def standardize(batch: Batch, key: jax.Array, *, mean, std) -> Batch:
  """Takes off the mean and divides by the deviation, per channel, in float32.

  Leave `mean` and `std` out in an experiment: they are then fitted on the training
  split and kept with the run.
  """
  del key
  inputs = batch['inputs'].astype(jnp.float32)
  mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
  for array in (mean, std):
    if array.size not in (1, inputs.shape[-1]):  # one channel would become as many
      raise ValueError(f'standardize: mean and std are of {array.size} channels, the '
                       f'inputs {inputs.shape[1:]} have {inputs.shape[-1]}')
  return {**batch, 'inputs': (inputs - mean) / std}


def noise(batch: Batch, key: jax.Array, *, std: float) -> Batch:
  """Adds Gaussian noise; goes after `standardize`, in whose units `std` is."""
  check_range('noise', 0, std=std)
  inputs = batch['inputs'].astype(jnp.float32)
  return {**batch, 'inputs': inputs + std * jax.random.normal(key, inputs.shape)}


def cutout(batch: Batch, key: jax.Array, *, size: int, fill: float = 0.0) -> Batch:
  """Fills a square about any pixel (DeVries and Taylor, *Cutout*, 2017).

  Args:
    batch: images.
    key: of the draws.
    size: of the square, in pixels; at an edge, part of it is outside.
    fill: after `standardize`, 0 is the mean.
  """
  n, height, width, _ = images_of(batch, 'cutout').shape
  check_pixels('cutout', 0, size=size)
  centres = jax.random.randint(key, (n, 2), 0, jnp.array([height, width]))
  corners = centres + 0.5 - size / 2 - 1e-3  # an even size has no middle pixel
  return _filled(batch, inside(corners, jnp.full((n, 2), size), (height, width)), fill)


def erase(batch: Batch, key: jax.Array, *, probability: float = 0.5,
          area: tuple[float, float] = (0.02, 0.4),
          aspect: tuple[float, float] = (0.3, 1 / 0.3), fill: float = 0.0) -> Batch:
  """Fills a rectangle with a probability (Zhong et al., *Random erasing*, 2017).

  Args:
    batch: images.
    key: of the draws.
    probability: for each image.
    area: of the rectangle, least and largest share of the image.
    aspect: least and largest ratio of its width to its height.
    fill: after `standardize`, 0 is the mean.
  """
  images = images_of(batch, 'erase')
  check_range('erase', 0, 1, probability=probability)
  place_key, chance_key = (jax.random.fold_in(key, i) for i in range(2))
  hole = inside(*draw_rectangles(place_key, images.shape[:3], area=area,
                                 aspect=aspect), images.shape[1:3])
  chosen = jax.random.bernoulli(chance_key, float(probability), (len(images), 1, 1, 1))
  return _filled(batch, hole & chosen, fill)


def _filled(batch: Batch, hole: jax.Array, fill: float) -> Batch:
  images = batch['inputs']
  return {**batch, 'inputs': jnp.where(hole, jnp.asarray(fill, images.dtype), images)}
