"""What models of series share: their inputs and the shape of their forecasts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def check_series(model: Any, inputs: jax.Array) -> None:
  """Checks that inputs are series of floats with the targets of a model.

  Args:
    model: a module with `targets`.
    inputs: must be `[batch, length, channels]`.

  Raises:
    ValueError: if they are not.
  """
  name = type(model).__name__
  if inputs.ndim != 3 or not jnp.issubdtype(inputs.dtype, jnp.floating):
    raise ValueError(f'{name} needs floats [batch, length, channels], got '
                     f'{inputs.dtype} {inputs.shape}')
  if inputs.shape[-1] < model.targets:
    raise ValueError(f'{name}: targets={model.targets}, but the inputs have only '
                     f'{inputs.shape[-1]} channels')


def with_quantiles(model: Any, values: jax.Array) -> jax.Array:
  """Arranges what a model gives for each variable as a forecast.

  Args:
    model: a module with `horizon` and `quantiles`.
    values: `[batch, targets, horizon * (quantiles or 1)]`.

  Returns:
    `[batch, horizon, targets]`, or `[batch, horizon, targets, quantiles]`.
  """
  if model.quantiles is None:
    return jnp.swapaxes(values, 1, 2)
  batch, targets, _ = values.shape
  values = values.reshape(batch, targets, model.horizon, model.quantiles)
  return jnp.swapaxes(values, 1, 2)


def features_of(model: Any, inputs: jax.Array, known: jax.Array | None,
                static: jax.Array | None) -> tuple[jax.Array, jax.Array]:
  """Arranges the features of the steps before a forecast, and of those in it.

  The last feature is the step of the forecast over its horizon, 0 before it.

  Args:
    model: a module with `horizon`.
    inputs: `[batch, length, channels]`.
    known: `[batch, length + horizon, features]`, or None.
    static: `[batch, features]`, or None.

  Returns:
    `[batch, length, features]` and `[batch, horizon, features]`.

  Raises:
    ValueError: for known features of another length.
  """
  batch, length, _ = inputs.shape
  steps = length + model.horizon
  place = jnp.maximum(jnp.arange(1 - length, model.horizon + 1), 0) / model.horizon
  parts = [jnp.broadcast_to(place[None, :, None], (batch, steps, 1))]
  if known is not None:
    if known.shape[:2] != (batch, steps):
      raise ValueError(f'known: must be [batch, length + horizon, features], '
                       f'{(batch, steps)}, got {known.shape}')
    parts.insert(0, known)
  if static is not None:
    parts.insert(0, jnp.broadcast_to(
      static[:, None], (batch, steps, static.shape[-1])))
  found = jnp.concatenate([part.astype(inputs.dtype) for part in parts], -1)
  return found[:, :length], found[:, length:]


def forecast_from_last(model: Any, inputs: jax.Array, values: jax.Array) -> jax.Array:
  """Adds what a model gives to the last value of each target.

  Args:
    model: a module with `targets` and `quantiles`.
    inputs: `[batch, length, channels]`.
    values: `[batch, horizon, targets * (quantiles or 1)]`.

  Returns:
    `[batch, horizon, targets]`, or `[batch, horizon, targets, quantiles]`.
  """
  last = inputs[:, -1:, : model.targets]
  if model.quantiles is None:
    return values + last
  return values.reshape(
    *values.shape[:2], model.targets, model.quantiles) + last[..., None]


class ReversibleNorm(nn.Module):
  """Standardizes each series of a batch over time, and takes it back from a forecast.

  Kim et al., *Reversible instance normalization for accurate time-series forecasting
  against distribution shift*, 2022.

  Attributes:
    affine: whether there is a scale and a bias for each variable.
    epsilon: added to the variance.
  """

  affine: bool = True
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array):
    """Standardizes series, in float32.

    Args:
      x: `[batch, length, channels]`.

    Returns:
      The same in its dtype; and the function that takes it back, from `[batch, horizon,
      channels, ...]`, float32.
    """
    real = x.astype(jnp.float32)
    mean = jax.lax.stop_gradient(real.mean(1, keepdims=True))
    variance = jax.lax.stop_gradient(real.var(1, keepdims=True))
    std = jnp.sqrt(variance + self.epsilon)
    scale = bias = None
    found = (real - mean) / std
    if self.affine:
      scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
      bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
      found = found * scale + bias

    def back(values):
      def like(statistics):
        return statistics.reshape(*statistics.shape, *(1,) * (values.ndim - 3))

      values = values.astype(jnp.float32)
      if self.affine:
        # As published: the square keeps a scale near 0 from dividing.
        values = (values - like(bias)) / (like(scale) + self.epsilon**2)
      return values * like(std) + like(mean)

    return found.astype(x.dtype), back
