"""Linear forecasts of a trend and of what is left."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import matmul
from bigmodels.models.series import check_series, with_quantiles
from bigmodels.models.validation import check_sizes


class DLinear(nn.Module):
  """Linear maps over time of a moving average and of the rest, shared by variables.

  Zeng et al., *Are transformers effective for time series forecasting?*, 2023. Weights
  begin at 1 / length, as there.

  Attributes:
    horizon: number of steps to forecast.
    targets: number of variables to forecast, the first channels of the inputs.
    quantiles: numbers for each value; None for one without an axis of its own.
    window: number of steps of the moving average, odd.
  """

  horizon: int
  targets: int
  quantiles: int | None = None
  window: int = 25

  def __post_init__(self):
    check_sizes(self, 'horizon', 'targets', 'quantiles', 'window')
    if not self.window % 2:
      raise ValueError(f'window: must be odd, got {self.window}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, length, channels]` -> `[batch, horizon, targets]`, see `with_quantiles`.

    Raises:
      ValueError: for inputs without the targets.
    """
    del train
    check_series(self, inputs)
    x = jnp.swapaxes(inputs[..., : self.targets], 1, 2)  # [batch, targets, length]
    length, half = x.shape[-1], self.window // 2
    # Both ends are repeated, so that the average has the length of the series.
    padded = jnp.pad(x, ((0, 0), (0, 0), (half + 1, half)), mode='edge')
    sums = jnp.cumsum(padded.astype(jnp.float32), -1)
    # The first value is one more than the average needs, and is subtracted.
    trend = (sums[..., self.window :] - sums[..., : -self.window]) / self.window
    trend = trend.astype(x.dtype)
    steps = self.horizon * (self.quantiles or 1)

    def over_time(name, part):
      kernel = self.param(f'{name}_kernel', nn.initializers.constant(1 / length),
                          (length, steps))
      bias = self.param(f'{name}_bias', nn.initializers.zeros, (steps,))
      return matmul(part, kernel) + bias

    return with_quantiles(
      self, over_time('trend', trend) + over_time('rest', x - trend))
