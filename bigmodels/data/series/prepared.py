"""The arrays that windows are gathered from, and what is fitted to make them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.series import fitting
from bigmodels.data.series.rows import Rows, shown
from bigmodels.data.tables import table_files

# Settings of a `Series` that determine what is fitted: splits must agree in them.
SETTINGS = ('targets', 'past', 'known', 'static', 'calendar', 'time', 'series', 'scale',
            'change', 'season')


def fit(series: Any, file: table_files.File, rows: Rows, border: np.ndarray
        ) -> tuple[dict[str, Any], list[str]]:
  """Returns what is fitted to the training rows, as JSON, and lines to print.

  Args:
    series: a `Series` with its targets.
    file: the file.
    rows: its rows in order.
    border: the first training row and the end in each series, `[series, 2]`.
  """
  channels = [*series.targets, *series.past]
  found = fitting.values_of(file.frame, channels, rows, series.change)
  train = np.zeros(len(rows.source), bool)
  for begin, end in border:
    train[begin:end] = True
  count = len(rows.names) if series.scale == 'series' else 1
  number = rows.number if count > 1 else np.zeros(len(train), int)
  center, scale = fitting.moments_of(found, number, count, train, channels)
  lines = fitting.lines_of(found, channels, len(series.targets), center, train)
  if series.scale is None:
    center, scale = np.zeros_like(center), np.ones_like(scale)
  known = fitting.values_of(file.frame, series.known, rows, None)
  known_mean, known_std = fitting.moments_of(
    known, np.zeros(len(train), int), 1, train, series.known)
  naive = fitting.naive_errors(found._replace(
    values=found.values[:, : len(series.targets)],
    observed=found.observed[:, : len(series.targets)]), rows, train, series.season or 1)
  return {
    'settings': {name: [*value] if isinstance(value, tuple) else value for name, value
                 in ((name, getattr(series, name)) for name in SETTINGS)},
    'channels': channels, 'targets': len(series.targets), 'names': [*rows.names],
    'center': center.tolist(), 'scale': scale.tolist(), 'naive_error': naive.tolist(),
    'known_mean': known_mean[0].tolist(), 'known_std': known_std[0].tolist(),
    'static': fitting.fit_static(file.frame, series.static, rows, train),
    'clock': None if rows.clock is None else [*rows.clock]}, lines


def arrays(series: Any, file: table_files.File, rows: Rows, fitted: Mapping[str, Any]
           ) -> tuple[dict[str, np.ndarray], fitting.Values]:
  """Returns the arrays of `windows.gather` but those of windows, and the columns.

  Args:
    series: a `Series` with its targets.
    file: the file.
    rows: its rows in order.
    fitted: what `fit` gives.

  Returns:
    Name -> array `[rows, ...]` or `[series, ...]`, and the columns `[rows, channels]`.

  Raises:
    UserError: for a series that the run was not fitted to, if it scales each.
  """
  count = len(series.targets)
  known = {name: i for i, name in enumerate(fitted['names'])}
  found = fitting.values_of(file.frame, fitted['channels'], rows, series.change)
  place = np.zeros(len(rows.names), int)
  if len(fitted['center']) > 1:
    if new := [name for name in rows.names if name not in known]:
      raise UserError(f'series: {shown(new)} not among the series that the run '
                      f"scales, {shown(fitted['names'])}; scale='column' has one "
                      'scale for all')
    place = np.array([known[name] for name in rows.names])
  center, scale, naive = (np.array(fitted[name], np.float64) for name in (
    'center', 'scale', 'naive_error'))
  arrays = {
    'values': fitting.scaled(found.values, center, scale, place[rows.number]),
    'center': center[place, :count].astype(np.float32),
    'scale': scale[place, :count].astype(np.float32)}
  if known.keys() >= {*rows.names}:
    arrays['naive_error'] = naive[[known[name] for name in rows.names]].astype(
      np.float32)
  if not found.observed[:, :count].all():
    arrays['observed'] = found.observed[:, :count].astype(np.uint8)
  ahead = fitting.known(file.frame, series.known, rows, series.calendar, fitted)
  if ahead is not None:
    arrays['known'] = ahead
  if series.static:
    arrays['static'] = fitting.static(file.frame, fitted['static'], rows)
  return arrays, found


def directions(levels: np.ndarray, first: np.ndarray, length: int, horizon: int,
               limits: tuple[float, float]) -> np.ndarray:
  """Returns 1 for windows after which a value rises, 0 if it falls, -1 for neither.

  It is -2 where one of the two values is missing.

  Args:
    levels: values of a target, NaN where missing, `[rows]`.
    first: first row of each window, int `[windows]`.
    length, horizon: of the windows.
    limits: a relative change from the last input to the last row of the forecast up to
      the first falls, above the second rises.
  """
  before = levels[first + length - 1]
  with np.errstate(all='ignore'):
    change = levels[first + length + horizon - 1] / before - 1
  found = np.where(change > limits[1], 1, np.where(change <= limits[0], 0, -1))
  return np.where(np.isnan(change), -2, found).astype(np.int32)


def left_out(labels: np.ndarray, limits: tuple[float, float]) -> str:
  """Returns how many windows have no class, and why.

  Args:
    labels: int `[windows]`, as of `directions`.
    limits: see `directions`.
  """
  missing = int((labels == -2).sum())
  return (f', of which {(labels == -1).sum():,} are left out: they change by more than '
          f'{limits[0]:g} and at most {limits[1]:g}' +
          f'; {missing:,} have no value to compare' * bool(missing))
