"""RandAugment: a few random operations on every image (Cubuk et al., 2020)."""

import jax
import jax.numpy as jnp

from bigmodels.core.errors import nearest
from bigmodels.data.transforms import boxes
from bigmodels.data.transforms.colour import grey, mean_grey, mix
from bigmodels.data.transforms.geometry import resample
from bigmodels.data.transforms.images import (
  Batch,
  check_pixels,
  check_range,
  from_unit,
  images_of,
  to_unit,
)

OPERATIONS = (
  'identity', 'autocontrast', 'equalize', 'rotate', 'solarize', 'colour', 'posterize',
  'contrast', 'brightness', 'sharpness', 'shear_x', 'shear_y', 'translate_x',
  'translate_y')
_MIXES = ('colour', 'contrast', 'brightness', 'sharpness')
_MOVES = ('rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y')


def randaugment(batch: Batch, key: jax.Array, *, layers: int = 2,
                magnitude: float = 9.0, operations: tuple[str, ...] = OPERATIONS,
                fill: float = 0.5) -> Batch:
  """Applies `layers` random operations to each image, one after the other.

  From Cubuk et al. (*RandAugment: Practical automated data augmentation with a reduced
  search space*, 2020). At magnitude 10, in either direction: rotations by 30 degrees,
  shears by 0.3, translations by 0.45 of the image, and factors of 1 - 0.9 or 1 + 0.9
  for colour, contrast, brightness and sharpness; solarize inverts all that is brighter
  than 0, and posterize keeps 4 bits. All are linear in the magnitude (torchvision
  counts the same to 30).

  Args:
    batch: images `[batch, height, width, channels]` of bytes, or of floats from 0 to 1.
    key: PRNG key.
    layers: number of operations.
    magnitude: magnitude of all operations, 0 to 10.
    operations: operations to choose from.
    fill: the value around an image, 0 to 1.

  Raises:
    ValueError: for another magnitude, or an unknown operation.
  """
  check_pixels('randaugment', 0, layers=layers)
  check_range('randaugment', 0, 10, magnitude=magnitude)
  check_range('randaugment', 0, 1, fill=fill)
  for name in operations:
    if name not in OPERATIONS:
      raise ValueError(f'randaugment: no operation {name!r}{nearest(name, OPERATIONS)}')
  images = images_of(batch, 'randaugment')
  boxes.refuse(batch, 'randaugment')
  values, strength = to_unit(images), magnitude / 10
  for layer in range(layers):
    own = jax.random.fold_in(key, layer)
    drawn = jax.random.randint(
      jax.random.fold_in(own, 0), (len(images),), 0, len(operations))
    sign = jnp.where(
      jax.random.bernoulli(jax.random.fold_in(own, 1), shape=drawn.shape), 1.0, -1.0)
    chosen = {name: drawn == index for index, name in enumerate(operations)}
    values = _operate(values, chosen, strength, sign, fill)
  return {**batch, 'inputs': from_unit(values, images.dtype)}


def _operate(images: jax.Array, chosen: dict[str, jax.Array], strength: float,
             sign: jax.Array, fill: float) -> jax.Array:
  """Applies one operation to every image.

  Args:
    images: float32 `[n, height, width, channels]`, 0 to 1.
    chosen: operation -> the images that get it, bool `[n]`.
    strength: 0 to 1.
    sign: -1 or 1, `[n]`.
    fill: see `randaugment`.
  """
  result = images
  for name, operation in (
      ('autocontrast', autocontrast), ('equalize', equalize),
      ('solarize', lambda x: solarize(x, 1 - strength)),
      ('posterize', lambda x: posterize(x, 8 - round(4 * strength)))):
    if name in chosen:
      result = jnp.where(_wide(chosen[name]), operation(images), result)
  others = {'colour': grey, 'contrast': mean_grey, 'brightness': jnp.zeros_like,
            'sharpness': smooth}
  factors = _wide(1 + 0.9 * strength * sign)
  for name in _MIXES:
    if name in chosen:
      mixed = mix(images, others[name](images), factors)
      result = jnp.where(_wide(chosen[name]), mixed, result)
  if any(name in chosen for name in _MOVES):
    moved = _moved(images, chosen, strength * sign, fill)
    result = jnp.where(_wide(sum(chosen[n] for n in _MOVES if n in chosen) > 0), moved,
                       result)
  return result


def _moved(images, chosen, amount, fill):
  """All five moves in one resampling, with 0 for images with other operations."""
  none = jnp.zeros_like(amount)
  turn, shear_x, shear_y, right, down = (
    jnp.where(chosen[name], amount * most, 0) if name in chosen else none
    for name, most in zip(_MOVES, (jnp.deg2rad(30), 0.3, 0.3, 0.45, 0.45), strict=True))
  cos, sin = jnp.cos(turn), jnp.sin(turn)
  matrices = jnp.stack([cos, shear_y - sin, shear_x + sin, cos], -1).reshape(-1, 2, 2)
  offsets = jnp.stack([down, right], -1) * jnp.array(images.shape[1:3])
  return resample(images, matrices, offsets, fill)


def autocontrast(images: jax.Array) -> jax.Array:
  """Returns images with every channel stretched to the range from 0 to 1.

  Args:
    images: float32 `[batch, height, width, channels]`, 0 to 1.
  """
  low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
  return jnp.where(high > low, (images - low) / jnp.maximum(high - low, 1e-6), images)


def solarize(images: jax.Array, threshold: float) -> jax.Array:
  """Returns images, of any shape and 0 to 1, inverted where `>= threshold`."""
  return jnp.where(images >= threshold, 1 - images, images)


def posterize(images: jax.Array, bits: int) -> jax.Array:
  """Returns images, of any shape and 0 to 1, reduced to the upper `bits` of 8."""
  return (_bytes(images) & (256 - 2 ** (8 - bits))) / 255


def equalize(images: jax.Array) -> jax.Array:
  """Returns images with the histogram of every channel equalized, as by Pillow.

  Args:
    images: float32 `[batch, height, width, channels]`, 0 to 1.
  """
  n, height, width, channels = images.shape
  values = jnp.moveaxis(_bytes(images), -1, 1).reshape(n, channels, height * width)
  counts = jax.vmap(jax.vmap(lambda x: jnp.bincount(x, length=256)))(values)
  last = jnp.take_along_axis(counts, values.max(-1, keepdims=True), axis=-1)
  step = (height * width - last) // 255
  before = jnp.cumsum(counts, -1) - counts
  table = (step // 2 + before) // jnp.maximum(step, 1)
  table = jnp.where(step > 0, jnp.minimum(table, 255), jnp.arange(256))
  found = jnp.take_along_axis(table, values, axis=-1) / 255
  return jnp.moveaxis(found.reshape(n, channels, height, width), 1, -1)


def smooth(images: jax.Array) -> jax.Array:
  """Returns the mean of 3 x 3 pixels with a central weight of 5; borders are kept.

  Args:
    images: float32 `[batch, height, width, channels]`.
  """
  height, width = images.shape[1:3]
  total = sum(images[:, i : height - 2 + i, j : width - 2 + j]
              for i in range(3) for j in range(3)) + 4 * images[:, 1:-1, 1:-1]
  return images.at[:, 1:-1, 1:-1].set(total / 13)


def _bytes(images: jax.Array) -> jax.Array:
  return jnp.round(images * 255).astype(jnp.int32)


def _wide(x: jax.Array) -> jax.Array:
  return x[:, None, None, None]
