"""Mosaics of four images."""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.boxes import visible
from bigmodels.data.transforms.images import Batch, check_range, images_of

_OF_BOXES = ('labels', 'present', 'crowd', 'areas')


def mosaic(batch: Batch, key: jax.Array, *, probability: float = 1.0) -> Batch:
  """Puts parts of four images around a random point, with their boxes.

  From Bochkovskiy et al. (*YOLOv4*, 2020), without a change of scale: `scale` before
  it changes that. The upper left of the mosaic is the lower right of an image, and so
  on; the point is in the middle half of both axes. An image is combined with the others
  of its group of four in the batch, so that a batch may be divided between groups.

  Args:
    batch: images `[batch, height, width, channels]` with the columns of
      `data.Detection`, in which `most` becomes `4 * most`; a number of images that four
      divides.
    key: PRNG key.
    probability: probability that an image becomes a mosaic.

  Raises:
    ValueError: for another probability, or batch size; or images without boxes.
  """
  check_range('mosaic', 0, 1, probability=probability)
  images = images_of(batch, 'mosaic')
  if 'boxes' not in batch:
    raise ValueError("mosaic: needs the column 'boxes', the batch has "
                     f'{", ".join(batch)}')
  n, height, width, _ = images.shape
  if n % 4:
    raise ValueError(f'mosaic: four must divide the batch on each device, got {n}')
  draws = jax.random.uniform(key, (n, 3))
  shape = jnp.array([height, width])
  centre = jnp.floor((0.25 + 0.5 * draws[:, :2]) * shape).astype(jnp.int32)
  chosen = (draws[:, 2] < probability) & _whole(batch['mask'] > 0)
  centre = jnp.where(chosen[:, None], centre, 0)  # all of it is then the lower right

  def others(x):
    """`[n, ...]` -> the four of each group, beginning with the own, `[4, n, ...]`."""
    groups = x.reshape(-1, 4, *x.shape[1:])
    return jnp.stack([jnp.roll(groups, -i, 1).reshape(x.shape) for i in range(4)])

  rolled = jax.vmap(lambda image, by: jnp.roll(image, by, (0, 1)), (0, 0))
  sources = jax.vmap(rolled, (0, None))(others(images), centre)
  below = (jnp.arange(height) >= centre[:, :1])[:, :, None, None]
  right = (jnp.arange(width) >= centre[:, 1:])[:, None, :, None]
  made = jnp.where(below, jnp.where(right, sources[0], sources[1]),
                   jnp.where(right, sources[2], sources[3]))

  boxes, present = others(batch['boxes']), others(batch['present'])
  at = jnp.concatenate([centre, centre], -1)[:, None].astype(jnp.float32)
  parts = []
  end = jnp.broadcast_to(shape, centre.shape)
  for index, (lower, righter) in enumerate(((1, 1), (1, 0), (0, 1), (0, 0))):
    later = jnp.array([lower, righter])  # after the point, along each axis
    placed = boxes[index] + at - jnp.tile((1 - later) * shape, 2)
    inside = jnp.clip(placed, jnp.tile(jnp.where(later, centre, 0), 2)[:, None],
                      jnp.tile(jnp.where(later, end, centre), 2)[:, None])
    parts.append(visible(placed, inside, present[index]))
  found = {name: jnp.concatenate([*others(batch[name])], 1)
           for name in _OF_BOXES if name in batch}
  return {**batch, **found, 'inputs': made,
          **{name: jnp.concatenate([part[name] for part in parts], 1)
             for name in ('boxes', 'present')}}


def _whole(mask: jax.Array) -> jax.Array:
  """Whether all images of a group are there, bool `[n]`."""
  return jnp.repeat(mask.reshape(-1, 4).all(1), 4)
