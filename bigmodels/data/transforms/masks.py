"""Transforms of images together with their masks, a class for each pixel."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.colour import colour
from bigmodels.data.transforms.images import Batch, images_of, like
from bigmodels.data.transforms.mixing import cutmix, mixup
from bigmodels.data.transforms.randaugment import randaugment
from bigmodels.data.transforms.values import cutout, erase, noise, standardize

_OF_VALUES = (colour, cutmix, cutout, erase, mixup, noise, randaugment, standardize)


def with_masks(batch: Batch, key: jax.Array, *,
               transforms: tuple[Callable[..., Batch], ...], ignore: int = 255
               ) -> Batch:
  """Applies transforms that move pixels, such as `flip` or `rotate`, to masks too.

  The positions of pixels are moved as three further channels of an image: a pixel of
  the new mask has the class of the nearest pixel that its image is made of.

  Args:
    batch: images `[batch, height, width, channels]`; `labels` int `[batch, height,
      width]`; and perhaps `inside` bool `[batch, height, width]`, False for padding.
    key: PRNG key.
    transforms: applied in this order. Those that change values, such as `colour`, come
      before or after instead.
    ignore: the label of pixels from outside of the image, which do not count.

  Raises:
    ValueError: for a transform of values, labels that are no masks of the images, or
      `ignore` that they cannot have.
  """
  images, masks = images_of(batch, 'with_masks'), batch.get('labels')
  for transform in transforms:
    function = transform
    while isinstance(function, functools.partial):
      function = function.func
    if function in _OF_VALUES:
      raise ValueError(f'with_masks: {function.__name__} changes values; transforms '
                       'must move pixels only. Put it before or after with_masks')
  if masks is None or masks.shape != images.shape[:3] or (
    not jnp.issubdtype(masks.dtype, jnp.integer)):
    found = 'none' if masks is None else f'{masks.dtype} {masks.shape}'
    raise ValueError('with_masks: labels must be integers [batch, height, width] as '
                     f'the images {images.shape}, got {found}')
  most = jnp.iinfo(masks.dtype).max
  if not 0 <= ignore <= most:
    raise ValueError(f'with_masks: ignore must be 0 to {most}, as the labels are '
                     f'{masks.dtype}, got {ignore}')
  height, width, channels = images.shape[1:]
  positions = jnp.stack([*jnp.mgrid[:height, :width], jnp.ones((height, width))], -1)
  positions = jnp.broadcast_to(positions, (len(images), *positions.shape))
  moved = {**batch, 'inputs': jnp.concatenate(
    [images.astype(jnp.float32), positions], -1)}
  for index, transform in enumerate(transforms):
    moved = transform(moved, jax.random.fold_in(key, index))
  values, (*at, share) = moved['inputs'][..., :channels], jnp.moveaxis(
    moved['inputs'][..., channels:], -1, 0)
  # At an edge, positions are mixed with the zeros outside.
  rows, columns = (jnp.clip(jnp.round(x / jnp.maximum(share, 1e-6)), 0, most - 1
                            ).astype(jnp.int32)
                   for x, most in zip(at, (height, width), strict=True))
  covered, example = share >= 0.5, jnp.arange(len(images))[:, None, None]

  def taken(column, outside):
    return jnp.where(covered, column[example, rows, columns], jnp.asarray(
      outside, column.dtype))

  found = {'inputs': like(values, images.dtype), 'labels': taken(masks, ignore)}
  if 'inside' in batch:
    found['inside'] = taken(batch['inside'], False)
  return {**moved, **found}
