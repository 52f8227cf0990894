"""The plain convolutional network."""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax

from bigmodels.layers.convolution import Conv
from bigmodels.layers.normalization import BatchNorm
from bigmodels.layers.pooling import average_pool, max_pool
from bigmodels.models.images import check_images
from bigmodels.models.mlp import Mlp
from bigmodels.models.validation import check_rates, check_sizes

# Increasing functions commute with a maximum. Applied after the pooling, they give the
# same result with a quarter of the work.
_INCREASING = (nn.relu, nn.tanh, nn.sigmoid, nn.elu, nn.leaky_relu, nn.softplus)


class Cnn(nn.Module):
  """Convolutions with pooling, then dense layers.

  LeCun et al., *Gradient-based learning applied to document recognition*, 1998. Each
  block is convolution, optional batch normalization, activation, pooling, dropout.

  Attributes:
    num_outputs: number of classes.
    widths: channels of each convolution.
    kernel: height and width of the filters.
    padding: 'SAME' or 'VALID'.
    pool: window and stride of the pooling after each convolution, one number for all or
      one for each; 1 is no pooling.
    pooling: 'max' or 'average'.
    hidden: widths of the dense layers before the last.
    activation: nn.relu, nn.tanh, nn.sigmoid, nn.gelu, ...
    dropout: rate of dropout, in training, of the dense layers' units.
    conv_dropout: rate of dropout, in training, of the convolutions' outputs.
    batch_norm: whether to normalize by batch statistics before the activations.
    kernel_init: makes the initializer of weights; see `Mlp`.
  """

  num_outputs: int
  widths: tuple[int, ...] = (32, 64)
  kernel: int = 3
  padding: Literal['SAME', 'VALID'] = 'SAME'
  pool: int | tuple[int, ...] = 2
  pooling: Literal['max', 'average'] = 'max'
  hidden: tuple[int, ...] = (128,)
  activation: Callable = nn.relu
  dropout: float = 0.0
  conv_dropout: float = 0.0
  batch_norm: bool = False
  kernel_init: Callable = nn.initializers.he_normal

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'widths', 'kernel', 'pool', 'hidden')
    check_rates(self, 'dropout', 'conv_dropout')
    if isinstance(self.pool, tuple) and len(self.pool) != len(self.widths):
      raise ValueError(f'pool: must have {len(self.widths)} windows, one for each '
                       f'convolution, got {len(self.pool)}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, height, width, channels]` -> `[batch, num_outputs]`.

    Raises:
      ValueError: unless the inputs are images of floats, large enough to be pooled.
    """
    check_images(self, inputs)
    windows = self.pool if isinstance(self.pool, tuple) else (
      (self.pool,) * len(self.widths))
    pooled = max_pool if self.pooling == 'max' else average_pool
    x = inputs
    for width, window in zip(self.widths, windows, strict=True):
      x = Conv(width, (self.kernel, self.kernel), padding=self.padding,
               use_bias=not self.batch_norm, kernel_init=self.kernel_init())(x)
      if min(x.shape[1:3]) < window:
        raise ValueError(f'Cnn: images of {inputs.shape[1:3]} are reduced to '
                         f'{x.shape[1:3]} before a pooling by {window}')
      if self.batch_norm:
        x = BatchNorm(use_running_average=not train)(x)
      if self.pooling == 'max' and self.activation in _INCREASING:
        x = self.activation(max_pool(x, window))
      else:
        x = pooled(self.activation(x), window)
      x = nn.Dropout(self.conv_dropout, deterministic=not train)(x)
    return Mlp(self.num_outputs, self.hidden, activation=self.activation,
               dropout=self.dropout, batch_norm=self.batch_norm,
               kernel_init=self.kernel_init, name='head')(x, train=train)
