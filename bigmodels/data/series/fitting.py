"""What is fitted to the training rows of series, and applied to all rows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed, number, one_line
from bigmodels.data.frames import Frame, is_text, missing
from bigmodels.data.series import clock as clocks
from bigmodels.data.series.rows import Rows, shown


class Values(NamedTuple):
  """Columns of series before scaling.

  Attributes:
    values: float64 `[rows, channels]`: a missing value is that of the row before, NaN
      where there is none.
    observed: whether a value is in the file, bool `[rows, channels]`.
    levels: values as in the file, NaN where missing, of the same shape.
  """

  values: np.ndarray
  observed: np.ndarray
  levels: np.ndarray


def values_of(frame: Frame, names: Sequence[str], rows: Rows, change: str | None
              ) -> Values:
  """Returns columns of a file in the order of its series.

  Args:
    frame: columns of the file.
    names: the columns, of numbers.
    rows: order of the rows.
    change: 'relative' replaces a value by its relative change since the row before;
      None keeps values.
  """
  raw = np.stack([rows.take(frame[name]) for name in names], 1) if names else (
    np.zeros((len(rows.source), 0)))
  observed = ~np.isnan(raw)
  filled = _filled(raw, observed, rows)
  if change is None:
    return Values(filled, observed, raw)
  before = np.roll(filled, 1, 0)
  before[rows.starts[:-1]] = np.nan
  with np.errstate(all='ignore'):
    changes = filled / before - 1
  changes[~np.isfinite(changes)] = np.nan
  return Values(changes, observed & ~np.isnan(changes), raw)


def _filled(raw: np.ndarray, observed: np.ndarray, rows: Rows) -> np.ndarray:
  """Repeats the last value of the same series: never a later one."""
  index = np.arange(len(raw))[:, None]
  first = np.repeat(rows.starts[:-1], np.diff(rows.starts))[:, None]
  last = np.maximum.accumulate(np.where(observed, index, -1), 0)
  found = np.take_along_axis(raw, np.maximum(last, 0), 0)
  return np.where(last >= first, found, np.nan)


def moments_of(found: Values, number: np.ndarray, count: int, train: np.ndarray,
               names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and standard deviation of columns, both `[count, channels]`.

  A column without a value in some series has the mean 0 and the deviation 1 there; one
  that is constant has the deviation 1.

  Args:
    found: the columns.
    number: the group of each row, int `[rows]`.
    count: number of groups.
    train: whether a row is one of training, bool `[rows]`.
    names: names of the columns.

  Raises:
    UserError: for a column without a value in the training rows.
  """
  used = found.observed & train[:, None]
  for name, any_ in zip(names, used.any(0), strict=True):
    if not any_:
      raise UserError(f'column {name!r} has no value in the training rows: all are '
                      'missing, infinite or too large for float32')
  mean, std = np.zeros((count, len(names))), np.ones((count, len(names)))
  for group in range(count):
    rows = number == group
    for column in range(len(names)):
      values = found.values[rows & used[:, column], column]
      if len(values):
        mean[group, column] = values.mean()
        # Not by the deviation, which rounding can make nonzero for a constant.
        std[group, column] = values.std() if np.ptp(values) > 0 else 1.0
  return mean, std


def naive_errors(found: Values, rows: Rows, train: np.ndarray, lag: int) -> np.ndarray:
  """Returns the mean absolute change over `lag` rows in training, `[series, columns]`.

  0 where there is none: the denominator of MASE.

  Args:
    found: the columns.
    rows: order of the rows.
    train: whether a row is one of training, bool `[rows]`.
    lag: number of rows of a season, or 1.
  """
  errors = np.zeros((len(rows.names), found.values.shape[1]))
  known = found.observed & train[:, None]
  for index, (a, b) in enumerate(zip(rows.starts[:-1], rows.starts[1:], strict=True)):
    both = known[a + lag : b] & known[a : max(b - lag, a)]
    change = np.abs(found.values[a + lag : b] - found.values[a : max(b - lag, a)])
    total = np.where(both, change, 0.0).sum(0)
    errors[index] = total / np.maximum(both.sum(0), 1)
  return errors


def scaled(values: np.ndarray, center: np.ndarray, scale: np.ndarray,
           number: np.ndarray) -> np.ndarray:
  """Returns scaled columns, 0 where there is no value, float32 `[rows, channels]`.

  Args:
    values: float64 `[rows, channels]`.
    center, scale: `[groups, channels]`.
    number: the group of each row, int `[rows]`.
  """
  found = (values - center[number]) / scale[number]
  return np.where(np.isnan(found), 0.0, found).astype(np.float32)


# --- static columns -------------------------------------------------------------


def fit_static(frame: Frame, names: Sequence[str], rows: Rows, train: np.ndarray
               ) -> list[dict[str, Any]]:
  """Returns what is fitted to static columns: categories, or mean and deviation.

  Args:
    frame: columns of the file.
    names: the static columns.
    rows: order of the rows.
    train: whether a row is one of training, bool `[rows]`; only series with such rows
      count for means and deviations.
  """
  trained = np.unique(rows.number[train])
  fitted = []
  for name in names:
    values = _of_series(frame[name], name, rows)
    if is_text(values):
      fitted.append({'name': name, 'categories': sorted({*values.tolist()})})
    else:
      values = values[trained]
      fitted.append({'name': name, 'mean': float(values.mean()), 'std': float(
        values.std() if np.ptp(values) > 0 else 1.0)})
  return fitted


def static(frame: Frame, fitted: Sequence[Mapping[str, Any]], rows: Rows
           ) -> np.ndarray:
  """Returns the static features of each series, float32 `[series, features]`.

  Args:
    frame: columns of the file.
    fitted: see `fit_static`.
    rows: order of the rows.

  Raises:
    UserError: for a value that is no number, or no category of the training file.
  """
  found = [np.zeros((len(rows.names), 0))]
  for each in fitted:
    name = each['name']
    values = _of_series(frame[name], name, rows)
    if 'categories' not in each:
      if is_text(values):
        raise UserError(f'static: {name!r} must be numbers, got {values[0]!r}')
      found.append(((values - each['mean']) / each['std'])[:, None])
      continue
    values, known = values.astype(str), np.array(each['categories'])
    if unknown := sorted({*values.tolist()} - {*known.tolist()}):
      raise UserError(f'static: {name!r} is {shown(unknown)}, which the training file '
                      f'does not have; it has {shown(known.tolist())}')
    found.append(values[:, None] == known)
  return np.concatenate(found, 1).astype(np.float32)


def _of_series(column: np.ndarray, name: str, rows: Rows) -> np.ndarray:
  """The value of a static column in each series, `[series]`."""
  result = []
  for series, (a, b) in zip(rows.names, zip(
    rows.starts[:-1], rows.starts[1:], strict=True), strict=True):
    source = rows.source[a:b]
    values = column[source[source >= 0]]
    values = values[~missing(values)]
    if not len(values):
      raise UserError(f'static: {name!r} has no value in the series '
                      f'{one_line(series, 40)!r}')
    if (values != values[0]).any():
      other = values[values != values[0]][0]
      raise UserError(f'static: {name!r} changes in the series '
                      f'{one_line(series, 40)!r}, from {values[0]} to {other}; '
                      f'known={name} is for what changes')
    result.append(values[0])
  return np.array(result, column.dtype)


# --- features known ahead -------------------------------------------------------


def known(frame: Frame, names: Sequence[str], rows: Rows, calendar: tuple[str, ...],
          fitted: Mapping[str, Any]) -> np.ndarray | None:
  """Returns features that are known ahead of time, float32 `[rows, features]`, or None.

  Args:
    frame: columns of the file.
    names: the columns.
    rows: order of the rows.
    calendar: cycles whose phases are features, see `clock.CYCLES`.
    fitted: `known_mean` and `known_std` of the columns.
  """
  if not names and not calendar:
    return None
  found = values_of(frame, names, rows, None).values
  zeros = np.zeros(len(found), int)
  parts = [scaled(found, np.array([fitted['known_mean']]), np.array(
    [fitted['known_std']]), zeros)]
  if calendar:
    parts.append(clocks.phases(rows.moments, calendar).astype(np.float32))
  return np.concatenate(parts, 1)


# --- reports --------------------------------------------------------------------


def missing_lines(observed: np.ndarray, names: Sequence[str], targets: int
                  ) -> list[str]:
  """Returns a line about missing values, if there are some.

  Args:
    observed: whether a value is in the file, bool `[rows, channels]`.
    names: names of the columns.
    targets: number of columns that are forecast.
  """
  gone = (~observed).sum(0)
  if not gone.any():
    return []
  counts = listed(f'{name} {count:,}' for name, count in zip(
    names, gone.tolist(), strict=True) if count)
  return [f'missing: of {len(observed):,} rows {counts}; inputs repeat the last value '
          'of the series, the mean before there is one' + (
            '; forecasts of missing values do not count' * bool(gone[:targets].any()))]


def lines_of(found: Values, names: Sequence[str], targets: int, mean: np.ndarray,
             train: np.ndarray) -> list[str]:
  """Returns lines about missing values and constant columns.

  Args:
    found: the columns.
    names: names of the columns.
    targets: number of columns that are forecast.
    mean: of the training rows, `[groups, channels]`.
    train: whether a row is one of training, bool `[rows]`.
  """
  lines = missing_lines(found.observed, names, targets)
  constant = [
    f'{name} ({number(mean[0, i])})' for i, name in enumerate(names)
    if np.ptp(found.values[train & found.observed[:, i], i]) == 0]
  if constant:
    lines.append(f'constant in the training rows: {listed(constant)}; it becomes 0, '
                 'and errors there are in its own units')
  return lines
