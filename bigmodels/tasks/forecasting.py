"""Forecasting: the next rows of a series, as numbers or as quantiles."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import jax.numpy as jnp

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.tasks.task import Columns, Split, Task, apply, init, labels_of

Units = Literal['scaled', 'original']


def forecasting(model, error: Callable = jnp.square, *,
                quantiles: tuple[float, ...] = (), units: Units = 'scaled') -> Task:
  """Forecasts every variable at every step of the horizon.

  The batch is one of `data.Series`, and labels that are not `observed` do not count.
  Predictions are in the units of the file; the loss is of scaled values. Beside the
  metrics of the model, an evaluation has those of two baselines: `mse_repeat` of
  repeating the last value, `mse_seasonal` of repeating the last season.

  With quantiles, the model has a number for each, and the loss is `losses.pinball`. The
  forecast is the median, and the interval that of the outermost quantiles. Quantiles
  that cross are sorted, which never raises the loss (Chernozhukov et al., *Quantile and
  probability curves without crossing*, 2010). `crps` is
  twice the mean pinball loss, the continuous ranked probability score (Gneiting and
  Raftery, *Strictly proper scoring rules, prediction, and estimation*, 2007) on the
  grid of these quantiles, in `units`.

  Args:
    model: Linen module, inputs `[batch, length, channels]` -> `[batch, horizon,
      targets]`, or `[batch, horizon, targets, quantiles]`. If the data has them, it is
      also called with `known` `[batch, length + horizon, features]` and `static`
      `[batch, features]`.
    error: difference of forecast and target -> loss, elementwise: `jnp.square`,
      `jnp.abs`, `optax.losses.huber_loss`. Not used with quantiles.
    quantiles: probabilities in increasing order, such as (0.1, 0.5, 0.9); none for a
      forecast of one number.
    units: those of `mse`, `mae`, `rmse` and `crps`: 'scaled' as in most publications,
      or 'original', those of the file.

  Raises:
    ValueError: for quantiles out of order or without 0.5, or other units.
  """
  if quantiles and (0.5 not in quantiles or [*quantiles] != sorted({*quantiles})
                    or not 0 < quantiles[0] <= quantiles[-1] < 1):
    raise ValueError('quantiles: must be increasing, between 0 and 1, with 0.5, got '
                     f'{quantiles}')
  if units not in get_args(Units):
    raise ValueError(f'units: must be {" or ".join(map(repr, get_args(Units)))}, got '
                     f'{units!r}')
  columns = Columns(('inputs',), ('known', 'static'))
  middle = quantiles.index(0.5) if quantiles else 0

  def objective(params, model_state, batch, key, train):
    output, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    output, targets = output.astype(jnp.float32), labels_of(batch)
    expected = (*targets.shape, len(quantiles)) if quantiles else targets.shape
    if output.shape != expected:
      raise ValueError(f'forecasting: the model gives {output.shape}, must be '
                       f'{expected}: labels {targets.shape}' + (
                         f' and {len(quantiles)} quantiles' * bool(quantiles)))
    if quantiles:
      output = jnp.sort(output, -1)
    weights = jnp.broadcast_to(batch['mask'][:, None, None], targets.shape)
    if 'observed' in batch:
      weights = weights * batch['observed']
    values = losses.pinball(output, targets, quantiles) if quantiles else (
      error(output - targets))
    loss = metrics.mean_of(values, weights)
    value = loss.total / jnp.where(loss.count > 0, loss.count, 1.0)
    if train:
      return value, (model_state, {'loss': loss}, {})
    forecast = output[..., middle] if quantiles else output
    found, outputs = _scored(batch, forecast, targets, weights, units)
    if quantiles:
      lower, upper = output[..., 0], output[..., -1]
      found['coverage'] = metrics.coverage(lower, upper, targets, weights)
      size = _units(batch)[1] if units == 'original' else 1.0
      found['crps'] = metrics.mean_of(2 * values * size, weights)
      outputs |= {name: _original(batch, bound)
                  for name, bound in (('lower', lower), ('upper', upper))}
    return value, (model_state, {'loss': loss, **found}, outputs)

  bounds = ('lower', 'upper') if quantiles else ()
  return Task(partial(init, model, columns), objective, columns.names,
              ('predictions', *bounds), check, plots=plots.forecasting)


def check(split: Split) -> None:
  """Refuses classes.

  Raises:
    UserError: naming the split.
  """
  if split.classes is not None:
    raise UserError(f'{split.name}: labels are classes; forecasting needs numbers: '
                    'data.Series without directions')


def _scored(batch, forecast, targets, weights, units):
  """Metrics of a forecast and of baselines, and the outputs of an evaluation."""
  own = units == 'original'
  _, scale = _units(batch)
  baselines = {'repeat': jnp.broadcast_to(
    batch['inputs'][:, -1:, : targets.shape[-1]], targets.shape)}
  if 'seasonal' in batch:
    baselines['seasonal'] = batch['seasonal']
  truth = _original(batch, targets)
  found, by_step = {}, {}
  for name, each in {'': forecast, **baselines}.items():
    suffix = f'_{name}' * bool(name)
    sums = metrics.of_errors(
      _original(batch, each) if own else each, truth if own else targets, weights)
    found |= {f'{metric}{suffix}': value for metric, value in sums.items()}
    squares = ((each - targets) * (scale if own else 1.0)) ** 2
    by_step[f'squares{suffix}'] = jnp.where(weights > 0, squares, 0.0).sum(-1)
  predictions = _original(batch, forecast)
  found['smape'] = metrics.smape(predictions, truth, weights)
  if 'naive_error' in batch:
    found['mase'] = metrics.mase(predictions, truth, weights, batch['naive_error'])
  return found, {'predictions': predictions, 'targets': truth, **by_step, **{
    name: batch[name] for name in ('observed', 'center', 'scale') if name in batch}}


def _units(batch):
  """What is added to scaled values, and what they are multiplied by before."""
  if 'center' not in batch:
    return 0.0, 1.0
  return batch['center'][:, None, :], batch['scale'][:, None, :]


def _original(batch, values):
  """Scaled values `[batch, horizon, targets]` in the units of the file."""
  center, scale = _units(batch)
  return values * scale + center
