"""Feature pyramids: maps of several strides, each combined with all coarser ones."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from bigmodels.layers.convolution import ConvNorm


def body_maps(body: nn.Module, images: jax.Array, strides: Sequence[int], *,
              train: bool) -> list[jax.Array]:
  """Returns the maps of a body that have some strides, the finest first.

  Args:
    body: module, images -> maps, such as `models.ResNet(num_outputs=None)`.
    images: `[batch, height, width, channels]`.
    strides: pixels of the images for each of a map, ascending.
    train: whether this is a training step.

  Raises:
    ValueError: if the body has no map of a stride, or has coarser ones, whose layers
      would not be used; or if the largest stride does not divide the images.
  """
  height, width = images.shape[1:3]
  if height % strides[-1] or width % strides[-1]:
    raise ValueError(f'images must have sides that {strides[-1]} divides, the largest '
                     f'stride, got {width} x {height}')
  maps = body(images, train=train)
  if not isinstance(maps, tuple):
    raise ValueError(f'body: {type(body).__name__} must be without a head: '
                     'num_outputs=None')
  found = {height // x.shape[1]: x for x in maps}
  for stride in strides:
    if stride not in found:
      raise ValueError(f'strides: {type(body).__name__} has maps of the strides '
                       f'{", ".join(map(str, found))}, got {stride}')
  if strides[-1] != max(found):
    raise ValueError(f'strides: must end with {max(found)}, that of the coarsest map '
                     f'of {type(body).__name__}, got {strides[-1]}')
  return [found[stride] for stride in strides]


def enlarged(x: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Returns maps of another size, each pixel repeated.

  Args:
    x: `[batch, height, width, channels]`.
    shape: the new height and width, multiples of the old ones.

  Returns:
    `[batch, *shape, channels]`.
  """
  rows, columns = shape[0] // x.shape[1], shape[1] // x.shape[2]
  return x.repeat(rows, 1).repeat(columns, 2)


class FeaturePyramid(nn.Module):
  """A feature pyramid (Lin et al., *Feature pyramid networks*, 2017).

  Every map gets the coarser ones added, enlarged; batch normalization and ReLU follow
  each convolution.

  Attributes:
    width: channels of all maps.
    levels: number of maps that are returned, the finest; None for all.
    momentum: decay rate of the running statistics, per batch.
  """

  width: int
  levels: int | None = None
  momentum: float = 0.9

  @nn.compact
  def __call__(self, maps: Sequence[jax.Array], *, train: bool) -> list[jax.Array]:
    """Maps `[batch, h, w, ...]`, the finest first -> the same of `width` channels."""
    found: list[jax.Array] = []
    for level in reversed(range(len(maps))):
      x = ConvNorm(self.width, 1, momentum=self.momentum, name=f'lateral{level + 1}')(
        maps[level], train=train)
      if found:
        x = x + enlarged(found[-1], x.shape[1:3])
      found.append(x)
    return [ConvNorm(self.width, momentum=self.momentum, name=f'level{level + 1}')(
      x, train=train) for level, x in enumerate(found[::-1][: self.levels])]
