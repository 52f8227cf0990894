"""Frames: the columns of a table by name.

Columns are arrays `[rows]`: float64 with NaN for a missing number, or `object` arrays
of `str` with '' for a missing text.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from bigmodels.core.errors import number

Frame = dict[str, np.ndarray]

# The spellings of true and false: of JSON and Arrow, of Python, of R and spreadsheets.
BOOLEANS = frozenset(spelled for word in ('true', 'false') for spelled in (
  word, word.title(), word.upper()))


def rows_of(frame: Frame) -> int:
  """Returns the number of rows."""
  return len(next(iter(frame.values()), ()))


def take(frame: Frame, rows: np.ndarray) -> Frame:
  """Returns some rows: by index, int `[n]`, or by mask, bool `[rows]`."""
  return {name: column[rows] for name, column in frame.items()}


def is_text(column: np.ndarray) -> bool:
  """Returns whether a column `[rows]` is text, not numbers."""
  return column.dtype == object


def missing(column: np.ndarray) -> np.ndarray:
  """Returns which values of a column `[rows]` are missing, bool `[rows]`."""
  return column == '' if is_text(column) else np.isnan(column)


def booleans_of(column: np.ndarray) -> set[str]:
  """Returns the spellings of true and false in a column `[rows]`."""
  if not is_text(column) or BOOLEANS.isdisjoint(column.tolist()):
    return set()
  return {*BOOLEANS.intersection(column.tolist())}


def style_of(boolean: str) -> Callable[[str], str]:
  """Returns the way in which one of `BOOLEANS` is spelled, as a function of a text."""
  return next(style for style in (str.lower, str.title, str.upper)
              if style(boolean) == boolean)


def numbers_of(column: np.ndarray, categories: Sequence[str]) -> np.ndarray:
  """Returns the number of the category of each text, int `[rows]`; -1 for another.

  Args:
    column: texts, `[rows]`.
    categories: the categories 0, 1, ...
  """
  numbers = {category: i for i, category in enumerate(categories)}
  return np.fromiter(map(numbers.get, column.tolist(), itertools.repeat(-1)), np.int64,
                     len(column))


def groups_of(frame: Frame) -> np.ndarray:
  """Returns the group number of each row, int `[rows]`; equal rows share a group.

  The numbers differ between processes; the groups do not. See `hashes_of`.
  """
  return np.unique(hashes_of(frame), return_inverse=True)[1]


def hashes_of(frame: Frame) -> np.ndarray:
  """Returns a hash of each row, uint64 `[rows]`; equal rows have equal hashes.

  Among ten million different rows, the probability of a collision is 3e-6. The hashes
  differ between processes, as those of `str` do.
  """
  total = np.zeros(rows_of(frame), np.uint64)
  with np.errstate(over='ignore'):
    for position, column in enumerate(frame.values()):
      if is_text(column):
        bits = np.fromiter(map(hash, column.tolist()), np.int64, len(column))
      else:
        bits = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, one zero
      total += _mixed(bits.view(np.uint64), position)
  return total


def _mixed(bits: np.ndarray, position: int) -> np.ndarray:
  """Hashes of 64 bits (splitmix64) that depend on the position of the column."""
  bits = _mix(bits + np.uint64(0x9E3779B97F4A7C15 * (position + 1) % 2**64))
  return _mix(bits ^ np.uint64(0xD1B54A32D192ED03 * (position + 1) % 2**64))


def _mix(bits: np.ndarray) -> np.ndarray:
  bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
  bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
  return bits ^ bits >> np.uint64(31)


# --- rows, before the split -----------------------------------------------------


# --- printing --------------------------------------------------------------------


def words(frame: Frame, rows: np.ndarray) -> list[dict[str, str]]:
  """Returns the values of some rows, int `[n]`, as text: column -> text for each."""
  some = {name: [value if isinstance(value, str) else number(value) if value == value
                 else '' for value in column.tolist()]
          for name, column in take(frame, rows).items()}
  return [dict(zip(some, each, strict=True))
          for each in zip(*some.values(), strict=True)]
