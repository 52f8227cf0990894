"""SSD (Liu et al., *SSD: single shot multibox detector*, 2016)."""

import flax.linen as nn
import jax

from bigmodels.layers.convolution import Conv
from bigmodels.layers.pyramid import FeaturePyramid, body_maps
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_rates, check_sizes, check_strides


class Ssd(nn.Module):
  """A body, a feature pyramid, and a 3x3 convolution on each of its maps.

  The paper has no pyramid: its heads read the maps of the body.

  Attributes:
    num_outputs: number of classes.
    body: module, images -> maps; see `layers.pyramid.body_maps`.
    width: channels of the pyramid.
    strides: those of the maps that are used.
    boxes: number of default boxes in each cell of a map.
    momentum: decay rate of the running statistics, per batch.
  """

  num_outputs: int
  body: nn.Module
  width: int = 64
  strides: tuple[int, ...] = (8, 16, 32)
  boxes: int = 4
  momentum: float = 0.9

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'width', 'boxes')
    check_strides(self)
    check_rates(self, 'momentum')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool
               ) -> tuple[dict[str, jax.Array], ...]:
    """Images `[batch, height, width, channels]` -> the outputs of each map.

    Returns:
      for each stride `classes` `[batch, h, w, boxes, 1 + num_outputs]`, logits, the
      first of which is the background; and `offsets` `[batch, h, w, boxes, 4]`, from
      the default boxes, see `tasks.detectors.ssd`.

    Raises:
      ValueError: unless the inputs are images of floats that the strides divide.
    """
    check_images(self, inputs, self.strides[-1])
    maps = body_maps(self.body, inputs, self.strides, train=train)
    maps = FeaturePyramid(self.width, momentum=self.momentum, name='pyramid')(
      maps, train=train)

    def head(name, x, features):
      y = Conv(self.boxes * features, (3, 3), name=name,
               kernel_init=nn.initializers.xavier_uniform())(x)
      return y.reshape(*y.shape[:3], self.boxes, features)

    return tuple({'classes': head(f'classes{level}', x, 1 + self.num_outputs),
                  'offsets': head(f'offsets{level}', x, 4)}
                 for level, x in enumerate(maps, 1))
