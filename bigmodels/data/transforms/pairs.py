"""Transforms of images and of labels that lie over them.

Larger versions of the images, as of `data.Downscaled`; or masks, as of
`data.MaskFolder`.
"""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms import boxes
from bigmodels.data.transforms.geometry import cut
from bigmodels.data.transforms.images import Batch, check_pixels, images_of


def paired_crop(batch: Batch, key: jax.Array, *, size: int) -> Batch:
  """Crops a random window of each image, and the same of its larger version or mask.

  A window of an image that is smaller than it has all of the image, and padding.

  Args:
    batch: `inputs` `[batch, height, width, channels]`; `inside` bool `[batch, height,
      width]`, False for padding at the bottom and right, or absent without padding;
      `labels` `[batch, height * scale, width * scale, channels]`, or without channels.
    key: PRNG key.
    size: height and width of the window of inputs, in pixels.

  Raises:
    ValueError: for a size below 1, or above that of all images.
  """
  inputs, labels, inside, scale = _columns(batch, 'paired_crop')
  labels = labels.reshape(*labels.shape[:3], -1)
  check_pixels('paired_crop', 1, size=size)
  if size > min(inputs.shape[1:3]):
    raise ValueError(
      f'paired_crop: size {size} is above that of all images, which have at most '
      f'{inputs.shape[2]} x {inputs.shape[1]} pixels, enlarged {scale} times '
      f'{labels.shape[2]} x {labels.shape[1]}')
  sizes = jnp.stack([inside.any(2).sum(1), inside.any(1).sum(1)], -1)
  corners = jax.random.randint(key, sizes.shape, 0, jnp.maximum(sizes - size, 0) + 1)
  cropped = cut(labels, corners * scale, (size * scale, size * scale))
  found = {'inputs': cut(inputs, corners, (size, size)),
           'inside': cut(inside[..., None], corners, (size, size))[..., 0],
           'labels': cropped.reshape(*cropped.shape[:3], *batch['labels'].shape[3:])}
  return {**batch, **{name: x for name, x in found.items() if name in batch}}


def dihedral(batch: Batch, key: jax.Array) -> Batch:
  """Mirrors and rotates each image in one of the eight ways that keep a square.

  Args:
    batch: images `[batch, side, side, channels]` and their larger versions or masks;
      see `paired_crop`.
    key: PRNG key.

  Raises:
    ValueError: if the images are not square.
  """
  inputs, _, _, _ = _columns(batch, 'dihedral')
  if inputs.shape[1] != inputs.shape[2]:
    raise ValueError('dihedral: images must be square, got '
                     f'{inputs.shape[2]} x {inputs.shape[1]}; crop them before')
  chosen = jax.random.bernoulli(key, 0.5, (len(inputs), 3))

  def turned(x):
    for index, turn in enumerate((lambda x: x[:, ::-1], lambda x: x[:, :, ::-1],
                                  lambda x: x.swapaxes(1, 2))):
      x = jnp.where(chosen[:, index].reshape(-1, *[1] * (x.ndim - 1)), turn(x), x)
    return x

  return {**batch, **{name: turned(batch[name])
                      for name in ('inputs', 'labels', 'inside') if name in batch}}


def _columns(batch: Batch, transform: str
             ) -> tuple[jax.Array, jax.Array, jax.Array, int]:
  """Inputs, labels, `inside` and the scale of a batch."""
  boxes.refuse(batch, transform)
  inputs = images_of(batch, transform)
  if 'labels' not in batch:
    raise ValueError(f"{transform}: needs the column 'labels', the batch has "
                     f'{", ".join(batch)}')
  scale = batch['labels'].shape[1] // inputs.shape[1]
  inside = batch.get('inside', jnp.ones(inputs.shape[:3], bool))
  return inputs, batch['labels'], inside, scale
