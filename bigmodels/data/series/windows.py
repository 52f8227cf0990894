"""Windows over series: which belong to a split, and what they consist of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.series.rows import Rows, shown
from bigmodels.data.sources import check_fractions

PER_SERIES = ('static', 'center', 'scale', 'naive_error')


class Shape(NamedTuple):
  """The shape of windows.

  Attributes:
    length: number of rows before a forecast.
    horizon: number of rows that are forecast.
    targets: number of columns that are forecast.
    season: number of rows of a season, or None.
  """

  length: int
  horizon: int
  targets: int
  season: int | None = None


def gather(shape: Shape, arrays: Mapping[str, Any], rows: Any) -> dict[str, Any]:
  """Returns windows, from NumPy or traced arrays.

  Args:
    shape: of the windows.
    arrays: `values` `[rows, channels]`; `first`, the first row of each window, and
      `series`, its series, int `[windows]`; and where there are such, `observed`
      `[rows, targets]`, `known` `[rows, features]`, `labels` `[windows]`, and those of
      `PER_SERIES`, `[series, ...]`.
    rows: numbers of windows, int `[...]`.

  Returns:
    Column -> `[..., ...]`; see `Series`.
  """
  length, horizon, targets, season = shape
  first, values = arrays['first'][rows][..., None], arrays['values']
  past, future = first + np.arange(length), first + length + np.arange(horizon)
  columns = {'inputs': values[past]}
  if 'known' in arrays:
    columns['known'] = arrays['known'][first + np.arange(length + horizon)]
  of = arrays['series'][rows]
  columns |= {name: arrays[name][of] for name in PER_SERIES if name in arrays}
  if 'labels' in arrays:
    return {**columns, 'labels': arrays['labels'][rows]}
  columns['labels'] = values[future][..., :targets]
  if 'observed' in arrays:
    columns['observed'] = arrays['observed'][future]
  if season:
    before = first + length - season + np.arange(horizon) % season
    columns['seasonal'] = values[before][..., :targets]
  return columns


def borders(rows: Rows, splits: Mapping[str, float | int | str], until: str | None
            ) -> dict[str, np.ndarray]:
  """Returns split -> the first row and the end of it in each series, `[series, 2]`.

  Args:
    rows: of the file.
    splits: name -> fraction, number of rows, or time at which it begins, in order.
    until: the time at which the last split ends, if splits begin at times.

  Raises:
    UserError: for splits that are of several kinds, or need times that are not there.
  """
  if not splits:
    raise UserError('splits: must have at least one, got {}')
  sizes, names = [*splits.values()], [*splits]
  begin, lengths = rows.starts[:-1], np.diff(rows.starts)
  if all(isinstance(size, str) for size in sizes):
    edges = _at_times(rows, [*sizes, *([until] if until else [])])
    edges = edges if until else [*edges, rows.starts[1:]]
    for name, one, other in zip(names, edges[:-1], edges[1:], strict=True):
      if (one > other).any():
        raise UserError(f'splits: {name!r} begins at {splits[name]!r}, after the next '
                        'one; must be in the order of time')
  elif all(type(size) is int and size > 0 for size in sizes) and sum(sizes) > 1:
    ends = np.cumsum([0, *sizes])
    edges = [begin + np.minimum(end, lengths) for end in ends]
    if (lengths < ends[-1]).all():
      raise UserError(f'splits: {dict(splits)} need {ends[-1]:,} rows, the series has '
                      f'{lengths.max():,}' if len(lengths) == 1 else
                      f'splits: {dict(splits)} need {ends[-1]:,} rows, the longest '
                      f'series has {lengths.max():,}')
  elif all(isinstance(size, int | float) and size <= 1 for size in sizes):
    check_fractions(splits)
    edges = [begin + np.round(cut * lengths).astype(int)
             for cut in np.cumsum([0.0, *sizes])]
  else:
    raise UserError('splits: must be all fractions, all numbers of rows or all times '
                    f'such as 2016-07-01, got {dict(splits)}')
  return {name: np.stack([edges[i], edges[i + 1]], 1).astype(int)
          for i, name in enumerate(names)}


def _at_times(rows: Rows, times: list[str]) -> list[np.ndarray]:
  """The first row of each series that is not before each time."""
  from bigmodels.data.series import clock

  if rows.moments is None:
    raise UserError(f'splits: {times[0]!r} is a time; set time=COLUMN, or give '
                    'fractions or numbers of rows')
  text = np.array(times, object)
  moments, style, _ = clock.read('splits', text, lambda row: f'splits[{row}]')
  if (style == 'number') != (rows.clock is not None and not rows.clock.dates):
    raise UserError(f'splits: {times[0]!r} is no time such as those of the column')
  return [rows.starts[:-1] + np.array([
    np.searchsorted(rows.moments[a:b], moment)
    for a, b in zip(rows.starts[:-1], rows.starts[1:], strict=True)])
    for moment in moments]


def firsts(rows: Rows, border: np.ndarray, shape: Shape, *, reach: bool
           ) -> tuple[np.ndarray, np.ndarray]:
  """Returns the first row and the series of every window of a split, int32 `[n]`.

  The rows that a window forecasts are in the split.

  Args:
    rows: of the file.
    border: the first row and the end of the split in each series, `[series, 2]`.
    shape: of the windows.
    reach: whether inputs may be rows before the split.
  """
  first, series = [], []
  for number, (begin, (low, high)) in enumerate(zip(
    rows.starts[:-1].tolist(), border.tolist(), strict=True)):
    start = max(begin, low - shape.length if reach else low)
    found = np.arange(start, high - shape.length - shape.horizon + 1, dtype=np.int32)
    first.append(found)
    series.append(np.full(len(found), number, np.int32))
  return np.concatenate(first), np.concatenate(series)


def check_any(name: str, rows: Rows, border: np.ndarray, shape: Shape, *,
              reach: bool) -> None:
  """Refuses a split without a window.

  Args:
    name: name of the split.
    rows: of the file.
    border: the first row and the end of the split in each series, `[series, 2]`.
    shape: of the windows.
    reach: whether inputs may be rows before the split.

  Raises:
    UserError: naming the rows that it has, and those that a window needs.
  """
  here = np.diff(border, axis=1).max()
  before = (border[:, 1] - rows.starts[:-1]).max()
  needed = shape.horizon if reach else shape.length + shape.horizon
  if here < needed:
    what = f'horizon={shape.horizon}' if reach else (
      f'length={shape.length} and horizon={shape.horizon}')
    raise UserError(f'the split {name!r} has {here:,} rows' +
                    ' in the longest series' * (len(rows.names) > 1) +
                    f', fewer than a window needs, {needed:,}: {what}')
  raise UserError(f'the split {name!r} has no window: length={shape.length} and '
                  f'horizon={shape.horizon} need {shape.length + shape.horizon:,} rows '
                  f'up to its end, there are {before:,}')


def too_short(rows: Rows, counts: np.ndarray) -> list[str]:
  """Returns a line about series without a window, if there are some.

  Args:
    rows: of the file.
    counts: windows of each series, int `[series]`.
  """
  names = [rows.names[i] for i in np.flatnonzero(counts == 0)]
  return [f'{len(names):,} of {len(rows.names):,} series have too few rows for a '
          f'window: {shown(names)}'] if names else []


def described(splits: Mapping[str, Any]) -> str:
  """Returns splits for a message: 'train 0.7, test 0.3'."""
  return listed(f'{name} {size}' for name, size in splits.items())
