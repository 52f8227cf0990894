"""Reads a CSV file strictly, into columns of text."""

import collections
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from bigmodels.core.errors import UserError
from bigmodels.data.tables import compressed, csv_dialects
from bigmodels.data.tables.csv_dialects import Content, Reading


class Part(NamedTuple):
  """The columns of one file, as Arrow arrays.

  Attributes:
    columns: name -> chunked array `[rows]`: of strings if the file is CSV.
    delimiter: delimiter of a CSV file, '' for a file with types of its own.
    digest: digest of the bytes of the file, uncompressed.
    notes: what was inferred, to print.
    line: (row, from 0) -> the line of the file at which it begins, from 1.
    refused: column whose values are neither numbers nor text -> why.
  """

  columns: dict[str, Any]
  delimiter: str
  digest: str
  notes: list[str]
  line: Callable[[int], int]
  refused: dict[str, str] = {}

  @property
  def rows(self) -> int:
    return len(next(iter(self.columns.values()), ()))


def read(path: pathlib.Path, data: bytes, reading: Reading) -> Part:
  """Reads the columns of a file.

  Args:
    path: path of the file, which is read again for the numbers of lines.
    data: its content, uncompressed.
    reading: settings; None values are inferred.

  Raises:
    UserError: if it is not a CSV file with a header, at least one row, and the same
      number of values in every row.
  """
  content = csv_dialects.of_bytes(data, reading)
  _, header = next(content.records(), (0, None))
  if header is None:
    raise UserError('the file is empty')
  names = header_names(header)
  columns = columns_of(content, header)
  if not len(columns[0]):
    raise UserError('the file has a header and no rows')
  found = {n: c for n, c in zip(names, columns, strict=True) if n}
  if not found:
    raise UserError('no column of the header has a name')
  notes = [*content.notes]
  if len(found) < len(names):
    notes += [f'{len(names) - len(found)} columns without a name are skipped']
  return Part(found, content.delimiter, content.digest, notes,
              functools.partial(_line, path, reading))


def header_names(header: list[str]) -> list[str]:
  """Returns the names of columns, '' for a column without one.

  Raises:
    UserError: if two columns have the same name.
  """
  names = [name.strip() for name in header]
  counts = collections.Counter(filter(None, names))
  if twice := sorted(name for name, count in counts.items() if count > 1):
    raise UserError(f'several columns are called {", ".join(map(repr, twice))}')
  return names


def columns_of(content: Content, header: list[str]) -> list:
  """Returns every column as Arrow strings.

  Args:
    content: text that begins with the header.
    header: its values.

  Raises:
    UserError: if it has no row, or a row with another number of values.
  """
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


def _line(path: pathlib.Path, reading: Reading, row: int) -> int:
  content = csv_dialects.of_bytes(compressed.read(path), reading)
  return next(line for index, (line, _) in enumerate(content.records())
              if index == row + 1)
