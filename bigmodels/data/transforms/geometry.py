"""Transforms of where pixels are: mirrored, moved, cut out, turned, resized."""

from typing import Literal

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import (
  Batch,
  check_pixels,
  check_range,
  draw_rectangles,
  images_of,
  like,
)


def flip(batch: Batch, key: jax.Array, *, probability: float = 0.5) -> Batch:
  """Mirrors images left to right with a probability."""
  images = images_of(batch, 'flip')
  check_range('flip', 0, 1, probability=probability)
  mirrored = jax.random.bernoulli(key, float(probability), (len(images), 1, 1, 1))
  return {**batch, 'inputs': jnp.where(mirrored, images[:, :, ::-1], images)}


def alternating_flip(batch: Batch, key: jax.Array, *, seed: int = 0) -> Batch:
  """Mirrors images left to right in every other epoch (Jordan, 2024).

  In its first epoch an image is mirrored or not, by a draw that depends on its row and
  the seed alone; from then on it is shown from one side and the other by turns. So two
  epochs show both sides of all images, where `flip` shows half of them one side twice.
  From *94 % on CIFAR-10 in 3.29 seconds on a single GPU*.

  Args:
    batch: images.
    key: not used.
    seed: of the first draws.
  """
  del key
  images = images_of(batch, 'alternating_flip')
  root = jax.random.key(seed, impl='threefry2x32')
  first = jax.vmap(lambda row: jax.random.bernoulli(jax.random.fold_in(root, row)))
  mirrored = (first(batch['row']) + batch['epoch']) % 2 == 1
  return {**batch, 'inputs': jnp.where(
    mirrored[:, None, None, None], images[:, :, ::-1], images)}


def shift(batch: Batch, key: jax.Array, *, pixels: int,
          padding: Literal['zeros', 'reflect'] = 'zeros') -> Batch:
  """Moves images by up to `pixels` each way, whole pixels.

  This is the usual "pad and crop": pad by `pixels`, cut out the old size anywhere.
  What comes in is zeros, or the image mirrored at its outermost pixels.
  """
  if padding not in ('zeros', 'reflect'):
    raise ValueError(f"shift: padding wants 'zeros' or 'reflect', got {padding!r}")
  images = images_of(batch, 'shift')
  check_pixels('shift', 0, pixels=pixels)
  n, height, width, _ = images.shape
  if padding == 'reflect' and pixels >= min(height, width):
    raise ValueError(f'shift: images of {height} x {width} cannot be reflected by '
                     f'{pixels} pixels')
  margin = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
  padded = jnp.pad(images, margin, 'constant' if padding == 'zeros' else padding)
  corners = jax.random.randint(key, (n, 2), 0, 2 * pixels + 1)
  return {**batch, 'inputs': _cut(padded, corners, (height, width))}


def crop(batch: Batch, key: jax.Array, *, size: int) -> Batch:
  """Cuts a random `size` x `size` window out of every image."""
  images = images_of(batch, 'crop')
  n, height, width, _ = images.shape
  _check_crop('crop', size, images)
  limits = jnp.array([height - size + 1, width - size + 1])
  corners = jax.random.randint(key, (n, 2), 0, limits)
  return {**batch, 'inputs': _cut(images, corners, (size, size))}


def centre_crop(batch: Batch, key: jax.Array, *, size: int) -> Batch:
  """Cuts the middle `size` x `size` window out of every image."""
  del key
  images = images_of(batch, 'centre_crop')
  _check_crop('centre_crop', size, images)
  top, left = ((length - size) // 2 for length in images.shape[1:3])
  return {**batch, 'inputs': images[:, top : top + size, left : left + size]}


def resize(batch: Batch, key: jax.Array, *, size: int) -> Batch:
  """Resizes images so that their shorter side has `size` pixels; bilinear, smoothed."""
  del key
  images = images_of(batch, 'resize')
  check_pixels('resize', 1, size=size)
  n, height, width, channels = images.shape
  short = min(height, width)
  shape = (n, round(height * size / short), round(width * size / short), channels)
  result = jax.image.resize(images.astype(jnp.float32), shape, 'bilinear')
  return {**batch, 'inputs': like(result, images.dtype)}


def resized_crop(batch: Batch, key: jax.Array, *, size: int,
                 area: tuple[float, float] = (0.08, 1.0),
                 aspect: tuple[float, float] = (3 / 4, 4 / 3)) -> Batch:
  """Resizes a rectangle anywhere in every image to `size` x `size`.

  As Inception was trained (Szegedy et al., 2015), and most of ImageNet since. Bilinear,
  smoothed where it shrinks; a rectangle need not lie on whole pixels.

  Args:
    batch: images.
    key: of the draws.
    size: height and width of what comes out, in pixels.
    area: of the rectangle, least and largest share of the image.
    aspect: least and largest ratio of its width to its height.
  """
  images = images_of(batch, 'resized_crop')
  check_pixels('resized_crop', 1, size=size)
  corners, sizes = draw_rectangles(key, images.shape[:3], area=area, aspect=aspect)
  shape = (size, size, images.shape[-1])
  result = jax.vmap(lambda image, corner, factor: jax.image.scale_and_translate(
    image, shape, (0, 1), factor, -corner * factor, 'bilinear'))(
      images.astype(jnp.float32), corners, size / sizes)
  return {**batch, 'inputs': like(result, images.dtype)}


def translate(batch: Batch, key: jax.Array, *, share: float) -> Batch:
  """Moves images by up to a share of their height and width; zeros come in."""
  images = images_of(batch, 'translate')
  check_range('translate', 0, 1, share=share)
  n, height, width, _ = images.shape
  amounts = jax.random.uniform(key, (n, 2), minval=-share, maxval=share)
  images = resample(images, jnp.broadcast_to(jnp.eye(2), (n, 2, 2)),
                    amounts * jnp.array([height, width]))
  return {**batch, 'inputs': images}


def rotate(batch: Batch, key: jax.Array, *, degrees: float) -> Batch:
  """Turns images about their centre by an angle within `degrees` either way."""
  images = images_of(batch, 'rotate')
  check_range('rotate', 0, 180, degrees=degrees)
  n = len(images)
  angle = jax.random.uniform(key, (n,), minval=-1.0, maxval=1.0)
  angle = jnp.deg2rad(degrees) * angle
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  matrices = jnp.stack([cos, -sin, sin, cos], -1).reshape(n, 2, 2)
  return {**batch, 'inputs': resample(images, matrices)}


def scale(batch: Batch, key: jax.Array, *, low: float, high: float) -> Batch:
  """Enlarges images about their centre by a factor from `low` to `high`.

  The factor's logarithm is uniform; below 1 an image shrinks and zeros come in.
  """
  if not 0 < low <= high < float('inf'):
    raise ValueError(f'scale: wants 0 < low <= high, got {low} and {high}')
  images = images_of(batch, 'scale')
  n = len(images)
  factor = jnp.exp(jax.random.uniform(
    key, (n, 1, 1), minval=jnp.log(low), maxval=jnp.log(high)))
  return {**batch, 'inputs': resample(images, jnp.eye(2) / factor)}


def resample(images: jax.Array, matrices: jax.Array, offsets: jax.Array | None = None,
             fill: float = 0.0) -> jax.Array:
  """Bilinear look-up of every output pixel at matrix times its place, from the centre.

  Args:
    images: `[n, height, width, channels]`.
    matrices: `[n, 2, 2]`, output (row, column) to input (row, column).
    offsets: `[n, 2]`, added to that, in pixels.
    fill: what is around an image.
  """
  _, height, width, _ = images.shape
  centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
  places = jnp.stack(jnp.mgrid[:height, :width], -1) - centre
  places = jnp.einsum('nij,hwj->nihw', matrices, places, precision='highest')
  places = places + centre[None, :, None, None]
  if offsets is not None:
    places = places + offsets[:, :, None, None]
  look_up = jax.vmap(jax.vmap(
    lambda plane, at: jax.scipy.ndimage.map_coordinates(
      plane, [at[0], at[1]], order=1, cval=fill),
    in_axes=(-1, None), out_axes=-1))
  return like(look_up(images.astype(jnp.float32), places), images.dtype)


def _cut(images: jax.Array, corners: jax.Array, sizes: tuple[int, int]) -> jax.Array:
  """A window of (height, width) out of every image, from its own (top, left)."""
  return jax.vmap(lambda image, corner: jax.lax.dynamic_slice(
    image, (*corner, 0), (*sizes, image.shape[-1])))(images, corners)


def _check_crop(name: str, size: int, images: jax.Array) -> None:
  check_pixels(name, 1, size=size)
  height, width = images.shape[1:3]
  if size > min(height, width):
    raise ValueError(f'{name}: size {size} is larger than images of {height} x {width}')
