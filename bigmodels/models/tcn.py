"""A temporal convolutional network."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense
from bigmodels.models.series import check_series, features_of, forecast_from_last
from bigmodels.models.validation import check_rates, check_sizes


class Tcn(nn.Module):
  """Dilated causal convolutions over the inputs and the steps to forecast.

  Bai et al., *An empirical evaluation of generic convolutional and recurrent networks
  for sequence modeling*, 2018, with layer normalization instead of weight
  normalization. Dilations are 1, 2, 4, ... At the steps to forecast, inputs are zeros;
  the output there is added to the last value.

  Attributes:
    horizon: number of steps to forecast.
    targets: number of variables to forecast, the first channels of the inputs.
    quantiles: numbers for each value; None for one without an axis of its own.
    width: number of channels of each block.
    depth: number of blocks; None for as many as see all inputs from every step.
    kernel: number of steps that a convolution sees.
    dropout: rate of dropout, in training, after each activation.
  """

  horizon: int
  targets: int
  quantiles: int | None = None
  width: int = 32
  depth: int | None = None
  kernel: int = 3
  dropout: float = 0.1

  def __post_init__(self):
    check_sizes(self, 'horizon', 'targets', 'quantiles', 'width', 'depth')
    check_rates(self, 'dropout')
    if self.kernel < 2:
      raise ValueError(f'kernel: must be >= 2, got {self.kernel}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, known: jax.Array | None = None,
               static: jax.Array | None = None, train: bool) -> jax.Array:
    """Forecasts series, as `RecurrentForecaster`.

    Args:
      inputs: `[batch, length, channels]`.
      known: features known ahead, `[batch, length + horizon, features]`.
      static: features of the series, `[batch, features]`.
      train: whether to apply dropout.

    Returns:
      `[batch, horizon, targets]`, or `[batch, horizon, targets, quantiles]`.

    Raises:
      ValueError: for inputs without the targets, or features of another length.
    """
    check_series(self, inputs)
    past, future = features_of(self, inputs, known, static)
    empty = jnp.zeros((len(inputs), self.horizon, inputs.shape[-1]), inputs.dtype)
    x = jnp.concatenate([jnp.concatenate([inputs, empty], 1),
                         jnp.concatenate([past, future], 1)], -1)
    x = Dense(self.width, name='in')(x)
    depth = self.depth or levels(self.kernel, x.shape[1])
    for level in range(depth):
      h = x
      for part in range(2):
        h = _shifted(h, self.kernel, 2**level)
        h = Dense(self.width, name=f'conv_{level}_{part}')(h)
        h = nn.relu(nn.LayerNorm(name=f'norm_{level}_{part}')(h))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
      x = nn.relu(x + h)
    return forecast_from_last(self, inputs, Dense(
      self.targets * (self.quantiles or 1), name='head')(x[:, -self.horizon :]))


def levels(kernel: int, length: int) -> int:
  """Returns how many blocks of doubled dilation see a whole series.

  Args:
    kernel: number of steps that a convolution sees.
    length: number of steps of the series.
  """
  depth = 1
  while 1 + 2 * (kernel - 1) * (2**depth - 1) < length:
    depth += 1
  return depth


def _shifted(x: jax.Array, kernel: int, dilation: int) -> jax.Array:
  """A step and those before it side by side, `[batch, length, kernel * channels]`."""
  length = x.shape[1]
  padded = jnp.pad(x, ((0, 0), ((kernel - 1) * dilation, 0), (0, 0)))
  return jnp.concatenate([padded[:, i * dilation : i * dilation + length]
                          for i in range(kernel)], -1)
