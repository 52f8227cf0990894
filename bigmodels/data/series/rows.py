"""The rows of several series in a file, in the order of their times."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed, one_line
from bigmodels.data.frames import Frame, rows_of
from bigmodels.data.series import clock as clocks
from bigmodels.data.series.clock import Clock

Gaps = Literal['keep', 'fill']
_MOST_INSERTED = 10  # inserted rows for each row of a file


class Rows(NamedTuple):
  """The rows of all series, one series after another, each in the order of time.

  Attributes:
    names: names of the series.
    starts: where each series begins, and the end of the last, int `[series + 1]`.
    source: the row of the file, -1 where a row is inserted, int `[rows]`.
    moments: times, float64 `[rows]`; None without a column of times.
    clock: their clock, or None.
    lines: what was found and changed, to print.
  """

  names: tuple[str, ...]
  starts: np.ndarray
  source: np.ndarray
  moments: np.ndarray | None
  clock: Clock | None
  lines: tuple[str, ...]

  @property
  def number(self) -> np.ndarray:
    """The series of each row, int32 `[rows]`."""
    return np.repeat(np.arange(len(self.names), dtype=np.int32), np.diff(self.starts))

  def take(self, column: np.ndarray) -> np.ndarray:
    """Returns a column of the file in this order, NaN where a row is inserted.

    Args:
      column: float64 `[rows of the file]`.
    """
    found = column[self.source].astype(np.float64)
    found[self.source < 0] = np.nan
    return found


def arranged(frame: Frame, series: str | None, time: str | None, gaps: Gaps | None,
             where: Callable[[int], str]) -> Rows:
  """Returns the rows of a file by series and time.

  Args:
    frame: columns of the file; those of series and time are text.
    series: the column that names the series of each row; None for one series.
    time: the column of times; None if rows are in order.
    gaps: 'fill' inserts rows where times are missing, 'keep' takes rows as they follow
      each other; None refuses gaps.
    where: row -> its place.

  Raises:
    UserError: for two rows of a series at one time, or gaps that are not allowed.
  """
  count, lines = rows_of(frame), []
  if series is None:
    names, groups = ('',), [np.arange(count)]
  else:
    if (frame[series] == '').any():
      row = int(np.argmax(frame[series] == ''))
      raise UserError(f'{where(row)}: series: no value of {series!r}')
    values, of_row = np.unique(frame[series].astype(str), return_inverse=True)
    names = tuple(values.tolist())
    order = np.argsort(of_row, kind='stable')
    groups = np.split(order, np.cumsum(np.bincount(of_row))[:-1])
  if time is None:
    starts = np.cumsum([0, *map(len, groups)])
    return Rows(names, starts, np.concatenate(groups), None, None, ())
  moments, style, zone = clocks.read(time, frame[time], where)
  sorted_groups, unsorted = [], 0
  for name, group in zip(names, groups, strict=True):
    ordered = group[np.argsort(moments[group], kind='stable')]
    unsorted += int((ordered != group).sum())
    same = np.flatnonzero(np.diff(moments[ordered]) == 0)
    if len(same):
      one, other = ordered[same[0]], ordered[same[0] + 1]
      of = f' of {one_line(name, 40)}' * bool(series)
      hint = '' if series else '; series=COLUMN names several series in one file'
      raise UserError(f'{where(int(other))}: the time {frame[time][other]!r}{of} is '
                      f'that of {where(int(one))} too, as for {len(same):,} '
                      f'row{"s" * (len(same) != 1)}; each must be there once{hint}')
    sorted_groups.append(ordered)
  if unsorted:
    lines.append(f'{unsorted:,} of {count:,} rows are not in the order of {time}, and '
                 'are sorted')
  clock = clocks.clock_of([moments[group] for group in sorted_groups], style, zone)
  parts = [_regular(group, moments, frame[time], clock, gaps, name, where)
           for name, group in zip(names, sorted_groups, strict=True)]
  starts = np.cumsum([0, *(len(source) for source, _ in parts)])
  source, moments = (np.concatenate(x) for x in zip(*parts, strict=True))
  if inserted := int((source < 0).sum()):
    lines.append(f'{inserted:,} rows are inserted where times are missing, a row every '
                 f'{clock}')
  return Rows(names, starts, source, moments, clock, tuple(lines))


def _regular(group: np.ndarray, moments: np.ndarray, text: np.ndarray,
             clock: Clock | None, gaps: Gaps | None, name: str,
             where: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
  """Rows `[n]` and moments `[n]` of a series, with rows inserted into gaps."""
  own = moments[group]
  if clock is None or gaps == 'keep' or len(group) < 2:
    return group, own
  ticks = clock.ticks(own)
  wrong = np.flatnonzero(np.diff(ticks) != 1)
  if not len(wrong):
    return group, own
  row = wrong[0]
  what = (f'{where(int(group[row + 1]))}: {text[group[row + 1]]!r} follows on '
          f'{text[group[row]]!r}' + f' in {one_line(name, 40)}' * bool(name) +
          f', while most rows are {clock} apart')
  if gaps is None:
    raise UserError(f"{what}; gaps='fill' inserts the missing rows, gaps='keep' takes "
                    'rows as they follow each other')
  if (ticks % 1).any():
    row = int(np.argmax(ticks % 1 > 0))
    raise UserError(f'{where(int(group[row]))}: {text[group[row]]!r} is between two '
                    f"steps of {clock}; gaps='keep' takes rows as they are")
  total = int(ticks[-1]) + 1
  if total > _MOST_INSERTED * len(group) + 1000:
    raise UserError(f'{what}: {total - len(group):,} rows would be inserted into '
                    f"{len(group):,}; gaps='keep' takes rows as they are")
  source = np.full(total, -1)
  places = ticks.astype(int)
  source[places] = group
  found = np.concatenate([own[:1], clock.after(own[0], total - 1)])
  found[places] = own
  return source, found


def shown(names: Sequence[str]) -> str:
  """Returns names of series for a message."""
  return listed([one_line(name, 40) for name in names], 4)
