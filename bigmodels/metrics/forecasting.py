"""Metrics of forecasts: sums over all windows, steps and variables."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.metrics.metric import Mean


class RootMean(NamedTuple):
  """The root of a mean, such as of squared errors.

  Attributes:
    total: sum of the values, `[]`.
    count: number of values, or the sum of their weights, `[]`.
  """

  total: jax.Array
  count: jax.Array

  def compute(self) -> float | None:
    """Returns the root; None if nothing was counted."""
    mean = Mean(*self).compute()
    return None if mean is None else float(np.sqrt(mean))


def of_errors(forecasts: jax.Array, targets: jax.Array, weights: jax.Array
              ) -> dict[str, Mean | RootMean]:
  """Sums the errors of forecasts: `mse`, `mae`, `rmse`.

  Args:
    forecasts, targets: `[batch, horizon, targets]`.
    weights: 0 where a target does not count, of the same shape.
  """
  errors = forecasts - targets
  squares = mean_of(errors**2, weights)
  return {'mse': squares, 'mae': mean_of(jnp.abs(errors), weights),
          'rmse': RootMean(*squares)}


def smape(forecasts: jax.Array, targets: jax.Array, weights: jax.Array) -> Mean:
  """Sums the symmetric mean absolute percentage error, 0 to 200.

  `200 |y - f| / (|y| + |f|)`, 0 if both are 0 (Makridakis et al., *The M4
  competition*, 2020). It depends on where the units have their zero.

  Args:
    forecasts, targets, weights: `[batch, horizon, targets]`, see `of_errors`; in the
      units of the file.
  """
  size = jnp.abs(forecasts) + jnp.abs(targets)
  values = jnp.where(size > 0, jnp.abs(forecasts - targets) / jnp.where(
    size > 0, size, 1.0), 0.0)
  return mean_of(200 * values, weights)


def mase(forecasts: jax.Array, targets: jax.Array, weights: jax.Array,
         naive_error: jax.Array) -> Mean:
  """Sums the mean absolute scaled error.

  The absolute error over that of a naive forecast in training, so that it is below 1 if
  it is better (Hyndman and Koehler, *Another look at measures of forecast accuracy*,
  2006). Variables whose naive error is 0 do not count.

  Args:
    forecasts, targets, weights: see `of_errors`.
    naive_error: in the same units, `[batch, targets]`.
  """
  below = naive_error[:, None, :]
  used = jnp.where(below > 0, weights, 0.0)
  return mean_of(
    jnp.abs(forecasts - targets) / jnp.where(below > 0, below, 1.0), used)


def coverage(lower: jax.Array, upper: jax.Array, targets: jax.Array,
             weights: jax.Array) -> Mean:
  """Counts the targets in their intervals, bounds included.

  Args:
    lower, upper, targets, weights: `[batch, horizon, targets]`, see `of_errors`.
  """
  inside = (targets >= lower) & (targets <= upper)
  return mean_of(inside.astype(jnp.float32), weights)


def mean_of(values: jax.Array, weights: jax.Array) -> Mean:
  """Sums values by weights, both `[...]`; a value with the weight 0 may be anything."""
  return Mean(jnp.sum(jnp.where(weights > 0, values * weights, 0.0)), jnp.sum(weights))
