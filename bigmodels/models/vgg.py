"""Plain deep convolutional networks.

Simonyan and Zisserman, *Very deep convolutional networks for large-scale image
recognition* (VGG), 2015.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.layers.convolution import Conv
from bigmodels.layers.normalization import BatchNorm
from bigmodels.layers.pooling import global_average_pool, max_pool
from bigmodels.models.images import check_images
from bigmodels.models.mlp import Mlp
from bigmodels.models.validation import (
  check_choices,
  check_positive,
  check_rates,
  check_sizes,
)

# Depth -> convolutions before each pooling (table 1, A, B, D and E).
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3),
           19: (2, 2, 4, 4, 4)}


class Vgg(nn.Module):
  """3x3 convolutions with five poolings by 2, then dense layers.

  Attributes:
    num_outputs: number of classes.
    depth: 11, 13, 16 or 19 layers.
    width: channels of the first stage; doubled after each of the first three poolings.
    hidden: widths of the dense layers before the last, which read the whole last
      feature map; if empty, the last layer reads its average, as is usual on CIFAR.
    dropout: rate of dropout, in training, of the hidden dense layers' units.
    batch_norm: whether to normalize by batch statistics before the activations.
    momentum: decay rate of the running statistics, per batch.
    epsilon: added to variances.
    kernel_init: makes the initializer of weights.
  """

  num_outputs: int
  depth: int = 16
  width: int = 64
  hidden: tuple[int, ...] = (4096, 4096)
  dropout: float = 0.5
  batch_norm: bool = False
  momentum: float = 0.9
  epsilon: float = 1e-5
  kernel_init: Callable = nn.initializers.he_normal

  def __post_init__(self):
    check_choices(self, depth=_STAGES)
    check_sizes(self, 'num_outputs', 'width', 'hidden')
    check_rates(self, 'dropout', 'momentum')
    check_positive(self, 'epsilon')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`.

    Raises:
      ValueError: unless the inputs are images of floats, of at least 32x32 pixels.
    """
    check_images(self, inputs, 32)
    x = inputs
    for stage, count in enumerate(_STAGES[self.depth]):
      for layer in range(count):
        x = Conv(self.width * min(2**stage, 8), kernel_init=self.kernel_init())(x)
        if self.batch_norm:
          x = BatchNorm(use_running_average=not train, momentum=self.momentum,
                        epsilon=self.epsilon)(x)
        if layer == count - 1:
          # ReLU commutes with a maximum; after the pooling it is a quarter of the work.
          x = max_pool(x, 2)
        x = nn.relu(x)
    if not self.hidden:
      x = global_average_pool(x)
    return Mlp(self.num_outputs, self.hidden, dropout=self.dropout,
               kernel_init=self.kernel_init, name='head')(x, train=train)
