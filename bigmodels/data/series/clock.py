"""The times of the rows of a series: their step, their text, their phase."""

import collections
import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, number
from bigmodels.data.tables import times

_SECOND = 10**6  # microseconds
_DAY = 86_400 * _SECOND
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Cycle of the calendar -> moment in microseconds since 1970 -> its phase, 0 to 1.
_CYCLES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
  'hour': lambda t: t % (3600 * _SECOND) / (3600 * _SECOND),
  'day': lambda t: t % _DAY / _DAY,
  'week': lambda t: (t + 3 * _DAY) % (7 * _DAY) / (7 * _DAY),  # 1970 began on Thursday
  'year': lambda t: _of_year(t),
}
CYCLES = tuple(_CYCLES)


class Clock(NamedTuple):
  """How the times of rows advance.

  Attributes:
    step: difference between two rows: microseconds if `style` is of dates, months if
      `monthly`, else in the units of the column.
    style: how times are written: 'number', 'date', or the letter between date and time.
    zone: what is written after a time, such as '+00:00', or ''.
    monthly: whether rows are months apart.
    shift: a day in microseconds if rows are the last days of months, else 0.
  """

  step: float
  style: str
  zone: str = ''
  monthly: bool = False
  shift: float = 0.0

  @property
  def dates(self) -> bool:
    return self.style != 'number'

  def ticks(self, moments: np.ndarray) -> np.ndarray:
    """Returns moments `[n]` in steps since the first, float64 `[n]`."""
    values = _months(moments + self.shift) if self.monthly else moments
    return (values - values[0]) / self.step

  def after(self, moment: float, count: int) -> np.ndarray:
    """Returns the moments of the rows that follow one, float64 `[count]`."""
    steps = np.arange(1, count + 1)
    if not self.monthly:
      return moment + self.step * steps
    first = _months(np.array([moment + self.shift]))
    return moment - _of_months(first) + _of_months(first + self.step * steps)

  def text(self, moments: np.ndarray) -> np.ndarray:
    """Returns how moments `[...]` are written, `object` of `str` `[...]`."""
    return np.array([self._one(m) for m in moments.ravel().tolist()], object).reshape(
      moments.shape)

  def _one(self, moment: float) -> str:
    if not self.dates:
      return number(moment)
    try:
      found = _EPOCH + datetime.timedelta(microseconds=moment)
    except OverflowError:
      raise UserError('times: one is beyond the years 1 to 9999') from None
    if self.style == 'date':
      return found.date().isoformat()
    return found.replace(tzinfo=None).isoformat(self.style) + self.zone

  def __str__(self) -> str:
    if self.monthly:
      return f'{number(self.step)} month{"s" * (self.step != 1)}'
    return str(datetime.timedelta(microseconds=self.step)) if self.dates else (
      number(self.step))


def read(name: str, text: np.ndarray, where: Callable[[int], str]
         ) -> tuple[np.ndarray, str, str]:
  """Returns moments, float64 `[rows]`, and how they are written; see `Clock`.

  Args:
    name: name of the column of times.
    text: its values, `object` `[rows]`.
    where: row -> its place.

  Raises:
    UserError: for a value that is missing, or neither a number nor an ISO date.
  """
  if (text == '').any():
    raise UserError(f'{where(int(np.argmax(text == "")))}: time: no value of {name!r}')
  moments = times.parsed(name, text, where)
  longest = max(text[:64], key=len)
  try:
    float(longest)
  except ValueError:
    pass
  else:
    return moments, 'number', ''
  if len(longest) <= 10:
    return moments, 'date', ''
  zoned = datetime.datetime.fromisoformat(longest).tzinfo is not None
  return moments, longest[10], '+00:00' * zoned


def clock_of(moments: list[np.ndarray], style: str, zone: str) -> Clock | None:
  """Returns the clock with the most frequent step; None if no series has two rows.

  Args:
    moments: those of each series, increasing, `[rows]`.
    style, zone: see `Clock`.
  """
  counts: collections.Counter = collections.Counter()
  for each in moments:
    counts.update(dict(zip(*(x.tolist() for x in np.unique(
      np.diff(each), return_counts=True)), strict=True)))
  if not counts:
    return None
  step = counts.most_common(1)[0][0]
  if style != 'number' and step >= 28 * _DAY:
    for shift in (0.0, float(_DAY)):
      shifted = [each + shift for each in moments]
      rests = {float(r) for each in shifted for r in each - _of_months(_months(each))}
      months: collections.Counter = collections.Counter()
      for each in shifted:
        months.update(np.diff(_months(each)).tolist())
      if len(rests) == 1:
        return Clock(months.most_common(1)[0][0], style, zone, True, shift)
  return Clock(step, style, zone)


def of_json(kept: Any) -> Clock | None:
  """Returns a clock that was stored as a list, or None."""
  return None if kept is None else Clock(*kept)


def phases(moments: np.ndarray, cycles: tuple[str, ...]) -> np.ndarray:
  """Returns sine and cosine of the phase in each cycle, float64 `[n, 2 * cycles]`."""
  found = [f(2 * np.pi * _CYCLES[cycle](moments)) for cycle in cycles
           for f in (np.sin, np.cos)]
  return np.stack(found, -1) if found else np.zeros((len(moments), 0))


def _months(moments: np.ndarray) -> np.ndarray:
  """Months since 1970, float64 `[n]`."""
  return moments.astype('datetime64[us]').astype('datetime64[M]').astype(np.float64)


def _of_months(months: np.ndarray) -> np.ndarray:
  """The moments at which months begin, float64 `[n]`."""
  return months.astype('datetime64[M]').astype('datetime64[us]').astype(np.float64)


def _of_year(moments: np.ndarray) -> np.ndarray:
  years = moments.astype('datetime64[us]').astype('datetime64[Y]')
  begin, end = ((years + k).astype('datetime64[us]').astype(np.float64)
                for k in (0, 1))
  return (moments - begin) / (end - begin)
