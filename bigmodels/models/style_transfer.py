"""Images in the style of another: what makes them, and the features that judge them."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv
from bigmodels.models.hugging_face import Published
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_choices, check_sizes


class StyleTransfer(nn.Module):
  """A network that makes images, and fixed features that compare them.

  Attributes:
    network: Linen module called as `network(photographs, row, train=...)`, images
      `[batch, height, width, 3]` from 0 to 1 -> images of the same shape; such as
      `Pictures` or `StyleNet`.
    features: Linen module called as `features(images, train=False)` -> layer ->
      features `[batch, ...]`; such as `Vgg19Features`.
  """

  network: nn.Module
  features: nn.Module

  def __call__(self, inputs: jax.Array, row: jax.Array, *, train: bool) -> jax.Array:
    """The images that the network makes, `[batch, height, width, 3]`.

    Args:
      inputs: photographs, from 0 to 1, `[batch, height, width, 3]`.
      row: which photograph of the split each of them is, int `[batch]`.
      train: whether this is a training step.
    """
    images = self.network(inputs, row, train=train)
    if self.is_initializing():
      self.describe(images)
    return images

  def describe(self, images: jax.Array) -> dict[str, jax.Array]:
    """Layer -> the features of images from 0 to 1, `[batch, height, width, 3]`."""
    return self.features(images, train=False)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where the parameters of the features are in a file of torchvision's VGG.

    Raises:
      ValueError: for other features.
    """
    if not hasattr(self.features, 'published'):
      raise ValueError('features: must be VggFeatures, got '
                       f'{type(self.features).__name__}')
    return self.features.published(
      network='what makes the images, which only a run of this project has')


class Pictures(nn.Module):
  """Images that are parameters: one for each photograph of the training split.

  Attributes:
    training: the opened training split; supplied by the run.
    start: the initial values: 'photograph', or 'noise', uniform from 0 to 1.
  """

  training: Any
  start: Literal['photograph', 'noise'] = 'photograph'

  def __post_init__(self):
    check_choices(self, start=('photograph', 'noise'))
    super().__post_init__()

  @nn.compact
  def __call__(self, photographs: jax.Array, row: jax.Array, *, train: bool
               ) -> jax.Array:
    """The images of some rows, `[batch, height, width, 3]`, not limited to 0 to 1.

    Args:
      photographs: `[batch, height, width, 3]`, whose shape the images have.
      row: the rows of the training split, int `[batch]`.
      train: not used.
    """
    del train
    shape = (self.training.length, *photographs.shape[1:])
    return self.param('pictures', self._initial, shape)[row]

  @nn.nowrap
  def _initial(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if self.start == 'noise':
      return jax.random.uniform(key, shape)
    return jnp.asarray(self.training.load()['inputs'], jnp.float32) / 255


class StyleNet(nn.Module):
  """A feed-forward network from a photograph to an image in one style.

  Johnson, Alahi and Fei-Fei, *Perceptual losses for real-time style transfer and
  super-resolution*, 2016; with instance normalization (Ulyanov, Vedaldi and Lempitsky,
  *Instance normalization*, 2017), images mirrored at their edges, and enlarged by
  repeated pixels before convolutions, which leave no checkerboard (Odena et al., 2016).

  Attributes:
    width: channels at full resolution; doubled at a half and at a quarter of it.
    depth: number of residual blocks, at a quarter.
    kernel_init: makes the initializer of the filters.
  """

  width: int = 32
  depth: int = 5
  kernel_init: Callable = nn.initializers.he_normal

  multiple = 4  # sides of images, in pixels, must be multiples of it
  least = 8  # and no smaller

  def __post_init__(self):
    check_sizes(self, 'width', 'depth')
    super().__post_init__()

  @nn.compact
  def __call__(self, photographs: jax.Array, row: jax.Array, *, train: bool
               ) -> jax.Array:
    """Makes images of photographs, of the same shape and from 0 to 1.

    Args:
      photographs: from 0 to 1, `[batch, height, width, 3]`.
      row: not used.
      train: not used.

    Raises:
      ValueError: unless they are images of floats, with sides that are multiples of
        `multiple`.
    """
    del row, train
    check_images(self, photographs, self.least)
    if any(side % self.multiple for side in photographs.shape[1:3]):
      raise ValueError(f'StyleNet: sides must be multiples of {self.multiple}, got '
                       f'{photographs.shape[2]} x {photographs.shape[1]} pixels')
    wide = 4 * self.width
    x = nn.relu(self._block(2 * photographs - 1, self.width, 'first', size=9))
    x = nn.relu(self._block(x, 2 * self.width, 'half', stride=2))
    x = nn.relu(self._block(x, wide, 'quarter', stride=2))
    for block in range(self.depth):
      y = nn.relu(self._block(x, wide, f'block{block}_in'))
      x = x + self._block(y, wide, f'block{block}_out')
    for name, width in (('to_half', 2 * self.width), ('to_full', self.width)):
      x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
      x = nn.relu(self._block(x, width, name))
    x = Conv(photographs.shape[-1], (9, 9), padding='VALID',
             kernel_init=self.kernel_init(), name='last')(_mirrored(x, 4))
    return nn.sigmoid(x)

  def _block(self, x: jax.Array, width: int, name: str, *, size: int = 3,
             stride: int = 1) -> jax.Array:
    """A convolution and instance normalization, which makes its bias useless."""
    x = Conv(width, (size, size), (stride, stride), 'VALID', use_bias=False,
             kernel_init=self.kernel_init(), name=f'{name}_conv')(
               _mirrored(x, size // 2))
    return nn.InstanceNorm(epsilon=1e-5, use_fast_variance=False, name=f'{name}_norm')(
      x)


def _mirrored(x: jax.Array, pixels: int) -> jax.Array:
  return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), 'reflect')
