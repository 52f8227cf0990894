"""Recurrent networks that read series of numbers: a forecaster and a classifier."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense
from bigmodels.layers.recurrent import Lstm
from bigmodels.models.series import check_series, features_of, forecast_from_last
from bigmodels.models.validation import check_rates, check_sizes


class RecurrentForecaster(nn.Module):
  """A recurrent encoder of the inputs, and a decoder that begins in its last state.

  Every step of the forecast is made at once, from what is known of it, and not from the
  forecast of the step before (Wen et al., *A multi-horizon quantile recurrent
  forecaster*, 2017). It is added to the last value.

  Attributes:
    horizon: number of steps to forecast.
    targets: number of variables to forecast, the first channels of the inputs.
    quantiles: numbers for each value; None for one without an axis of its own.
    width: width of the state of each layer.
    depth: number of layers of encoder and decoder.
    cell: makes a layer, such as `Lstm` or `Gru`.
    dropout: rate of dropout, in training, of the input of each layer but the first, and
      of the last layer.
  """

  horizon: int
  targets: int
  quantiles: int | None = None
  width: int = 64
  depth: int = 1
  cell: Callable[..., nn.Module] = Lstm
  dropout: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'horizon', 'targets', 'quantiles', 'width', 'depth')
    check_rates(self, 'dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, known: jax.Array | None = None,
               static: jax.Array | None = None, train: bool) -> jax.Array:
    """Forecasts series.

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
    x, states = jnp.concatenate([inputs, past], -1), []
    for depth in range(self.depth):
      x, state = self._layer('encoder', depth)(x, train=train)
      states.append(state)
    x = future
    for depth, state in enumerate(states):
      x, _ = self._layer('decoder', depth)(x, state=state, train=train)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return forecast_from_last(self, inputs, Dense(
      self.targets * (self.quantiles or 1), name='head')(x))

  def _layer(self, name, depth):
    return self.cell(width=self.width, dropout=self.dropout if depth else 0.0,
                     name=f'{name}_{depth}')


class SeriesClassifier(nn.Module):
  """Recurrent layers over a series of numbers, and a dense layer of the last state.

  Attributes:
    num_outputs: number of classes.
    width: width of the state of each layer.
    depth: number of layers.
    cell: makes a layer, such as `Lstm` or `Gru`.
    dropout: rate of dropout, in training, of the input of each layer but the first, and
      of the dense layer.
  """

  num_outputs: int
  width: int = 32
  depth: int = 1
  cell: Callable[..., nn.Module] = Lstm
  dropout: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'width', 'depth')
    check_rates(self, 'dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, length, channels]` -> logits `[batch, num_outputs]`.

    Raises:
      ValueError: for inputs of another shape.
    """
    x = inputs
    for depth in range(self.depth):
      x, state = self.cell(width=self.width, dropout=self.dropout if depth else 0.0,
                           name=f'layer_{depth}')(x, train=train)
    last = jax.tree.leaves(state)[0].astype(x.dtype)
    last = nn.Dropout(self.dropout, deterministic=not train)(last)
    return nn.Dense(self.num_outputs, name='head')(last)
