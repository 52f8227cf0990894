"""Reads a CSV file strictly, into columns of numbers or text."""

import collections
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.cleaning import Frame, is_text
from bigmodels.data.tables import csv_columns, csv_dialects
from bigmodels.data.tables.csv_dialects import Content, Reading
from bigmodels.data.tables.csv_numbers import text_row

__all__ = ['File', 'Reading', 'read', 'text_row']


class File(NamedTuple):
  """The content of a CSV file.

  Attributes:
    frame: column -> `[rows]`: float64 if every value is a number or missing, else
      `object` of `str`; see `cleaning`. It is shared and must not be modified.
    digest: digest of the bytes of the file.
    summary: one line about what was found and inferred.
    line: (row, from 0) -> the line of the file at which it begins, from 1.
    exact: column of integers beyond 2**53 or with leading zeros, which floats cannot
      represent -> `[rows]`, the integers as text, '' where missing.
    lines: more about what was inferred, and the settings that change it.
  """

  frame: Frame
  digest: str
  summary: str
  line: Callable[[int], int]
  exact: Frame
  lines: tuple[str, ...]


def read(path: pathlib.Path, reading: Reading = Reading()) -> File:  # noqa: B008
  """Reads a file; the last one is cached in memory until it changes.

  Args:
    path: path of the file.
    reading: settings; None values are inferred.

  Raises:
    UserError: if there is no such file; it is not a CSV file with a header, at least
      one row, and the same number of values in every row; or it is ambiguous.
  """
  if path.is_dir():
    raise UserError('is a folder; must be a CSV file')
  try:
    stat = path.stat()
    return _read(path, reading, stat.st_mtime_ns, stat.st_size)
  except FileNotFoundError:
    if not path.parent.is_dir():
      raise UserError(f'there is no folder {path.parent}') from None
    names = [p.name for p in path.parent.glob('*.csv')]
    raise UserError(f'there is no such file{nearest(path.name, names)}') from None
  except OSError as error:
    raise UserError(f'cannot be read: {error.strerror}') from None


@functools.lru_cache(maxsize=1)  # the splits of a table are opened one by one
def _read(path: pathlib.Path, reading: Reading, modified: int, size: int) -> File:
  del modified, size  # they change when the file does
  content = csv_dialects.content(path, reading)
  _, header = next(content.records(), (0, None))
  if header is None:
    raise UserError('the file is empty')
  names, notes = [name.strip() for name in header], [*content.notes]
  counts = collections.Counter(filter(None, names))
  if twice := sorted(name for name, count in counts.items() if count > 1):
    raise UserError(f'several columns are called {", ".join(map(repr, twice))}')
  columns = _columns(content, header)
  if not len(columns[0]):
    raise UserError('the file has a header and no rows')
  found = csv_columns.numbers(
    {n: c for n, c in zip(names, columns, strict=True) if n}, reading,
    delimiter=content.delimiter, line=functools.partial(_line, content))
  notes += [f'{count:,} infinite values of {name} are missing'
            for name, count in found.infinite.items()]
  if len(found.frame) < len(names):
    notes += [f'{len(names) - len(found.frame)} columns without a name are skipped']
  texts = sum(is_text(column) for column in found.frame.values())
  summary = (f'{len(columns[0]):,} rows, {len(found.frame) - texts} columns of '
             f'numbers, {texts} of text')
  return File(found.frame, content.digest, '; '.join([summary, *notes]),
              lambda row: _line(csv_dialects.content(path, reading), row),
              found.exact, tuple(found.lines))


def _columns(content: Content, header: list[str]) -> list:
  """Every column as Arrow strings."""
  import pyarrow as pa

  if not content.balanced:
    _check(content)  # Arrow would read several lines as one value
  try:
    return _parsed(content.text, content.delimiter, header)
  except pa.ArrowInvalid as error:
    if _check(content) < 2:
      raise UserError('the file has a header and no rows') from None
    failure = error
  try:
    return _parsed(content.without_blank_lines(), content.delimiter, header)
  except pa.ArrowInvalid:
    raise UserError(f'is not a CSV file: {" ".join(str(failure).split())}') from None


def _parsed(text: str, delimiter: str, header: list[str]) -> list:
  import pyarrow as pa
  from pyarrow import csv as arrow

  data = text.encode()
  return arrow.read_csv(
    pa.BufferReader(data),
    # A row must fit into a block, whose size must fit into 31 bits.
    read_options=arrow.ReadOptions(block_size=min(len(data) + 1, 1 << 30)),
    parse_options=arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    convert_options=arrow.ConvertOptions(
      column_types=dict.fromkeys(header, pa.string()))).columns


def _check(content: Content) -> int:
  """The number of records. Raises a UserError that names the first wrong line."""
  width, first, count = None, 0, 0
  for line, record in content.records():
    count += 1
    if width is None:
      width, first = len(record), line
    if len(record) != width:
      raise UserError(
        f'line {line} has {len(record)} values, the header has {width}: '
        f'{content.delimiter.join(record)[:60]!r} (line {first} is the header, the '
        f'delimiter is {content.delimiter!r})')
  return count


def _line(content: Content, row: int) -> int:
  return next(line for index, (line, _) in enumerate(content.records())
              if index == row + 1)
