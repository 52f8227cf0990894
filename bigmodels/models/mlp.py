"""The linear model and the multi-layer perceptron."""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.layers.normalization import BatchNorm
from bigmodels.models.validation import check_rates, check_sizes


class Linear(nn.Module):
  """An affine map of the flattened inputs.

  Attributes:
    num_outputs: number of classes, or targets of a regression.
    kernel_init: makes the initializer of the weights.
  """

  num_outputs: int
  kernel_init: Callable = nn.initializers.lecun_normal

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, ...]` -> `[batch, num_outputs]`."""
    del train
    x = inputs.reshape(len(inputs), -1)
    return nn.Dense(self.num_outputs, kernel_init=self.kernel_init())(x)


class Mlp(nn.Module):
  """Dense layers with an activation between them.

  Each hidden layer is dense, optional batch normalization, activation, dropout.

  Attributes:
    num_outputs: number of classes, or targets of a regression.
    widths: widths of the hidden layers.
    activation: nn.relu, nn.tanh, nn.sigmoid, nn.gelu, ...
    dropout: rate of dropout, in training, of the hidden units.
    batch_norm: whether to normalize by batch statistics before the activations.
    kernel_init: makes the initializer: `nn.initializers.he_normal`, `glorot_normal`,
      `partial(nn.initializers.normal, 0.01)`, or a Gaussian of deviation 1/sqrt(n),
      `partial(nn.initializers.variance_scaling, 1.0, 'fan_in', 'normal')`.
  """

  num_outputs: int
  widths: tuple[int, ...] = (64, 64)
  activation: Callable = nn.relu
  dropout: float = 0.0
  batch_norm: bool = False
  kernel_init: Callable = nn.initializers.he_normal

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'widths')
    check_rates(self, 'dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, ...]` -> `[batch, num_outputs]`."""
    x = inputs.reshape(len(inputs), -1)
    for width in self.widths:
      x = nn.Dense(width, use_bias=not self.batch_norm,
                   kernel_init=self.kernel_init())(x)
      if self.batch_norm:
        x = BatchNorm(use_running_average=not train)(x)
      x = nn.Dropout(self.dropout, deterministic=not train)(self.activation(x))
    return nn.Dense(self.num_outputs, kernel_init=nn.initializers.lecun_normal())(x)
