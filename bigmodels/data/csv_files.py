"""Reading a CSV file strictly, into columns of numbers or of text."""

import codecs
import csv
import functools
import hashlib
import io
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from bigmodels.data.cleaning import Frame, is_text
from bigmodels.errors import UserError, nearest

_MISSING = ('', '?', 'NA', 'N/A', '#N/A', 'NaN', 'nan', 'null', 'NULL')
_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|nan', re.I)


class File(NamedTuple):
  """What is in a CSV file.

  Attributes:
    frame: column -> `[rows]`: float64 if every value is a number or missing, else
      `object` of `str`; see `cleaning`. Shared, and so not to be written to.
    digest: of the bytes of the file.
    summary: one line, of what was found and what was taken for what.
    line: (row, from 0) -> the line of the file that it begins on, from 1.
  """

  frame: Frame
  digest: str
  summary: str
  line: Callable[[int], int]


def read(path: pathlib.Path) -> File:
  """Reads a file; the one read last is kept in memory until it changes.

  Raises:
    UserError: if there is no such file, or it is not a CSV file with a header, at
      least one row, and as many values in every row.
  """
  if path.is_dir():
    raise UserError('is a folder, wants a CSV file')
  try:
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)
  except FileNotFoundError:
    if not path.parent.is_dir():
      raise UserError(f'there is no folder {path.parent}') from None
    names = [p.name for p in path.parent.glob('*.csv')]
    raise UserError(f'there is no such file{nearest(path.name, names)}') from None
  except OSError as error:
    raise UserError(f'cannot be read: {error.strerror}') from None


def text_row(column: np.ndarray) -> int:
  """The first row of a text column that is not a number and not missing."""
  return next((row for row, text in enumerate(column)
               if text and not _NUMBER.fullmatch(text)), 0)


@functools.lru_cache(maxsize=1)  # the splits of a table are opened one by one
def _read(path: pathlib.Path, modified: int, size: int) -> File:
  del modified, size  # they tell when to read again
  import pyarrow as pa
  from pyarrow import csv as arrow

  text, digest, notes = decoded(path)
  delimiter = _delimiter(text)
  _, header = next(records_of(text[: 1 << 20], delimiter), (0, None))
  if header is None:
    raise UserError('the file is empty')
  names = [name.strip() for name in header]
  if twice := sorted({n for n in names if n and names.count(n) > 1}):
    raise UserError(f'several columns are called {", ".join(map(repr, twice))}')
  if text.count('"') % 2:
    _check(text, delimiter)  # Arrow would take the rest of the file for one value
  data = text.encode()
  try:
    columns = arrow.read_csv(
      pa.BufferReader(data),
      # A row must fit into a block, which must fit into 31 bits.
      read_options=arrow.ReadOptions(block_size=min(len(data) + 1, 1 << 30)),
      parse_options=arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
      convert_options=arrow.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()))).columns
  except pa.ArrowInvalid as error:
    _check(text, delimiter)
    raise UserError(f'is no CSV file: {error}') from None
  if not len(columns[0]):
    raise UserError('the file has a header and no rows')
  frame = {}
  for name, column in zip(names, columns, strict=True):
    if name:
      frame[name], infinite = _convert(column, comma=delimiter == ';')
      notes += [f'{infinite:,} infinite values of {name} are missing'] * bool(infinite)
  if len(frame) < len(names):
    notes += [f'{len(names) - len(frame)} columns without a name are left out']
  if delimiter != ',':
    notes += [f'delimiter {delimiter!r}']
  texts = sum(is_text(column) for column in frame.values())
  found = (f'{len(columns[0]):,} rows, {len(frame) - texts} columns of numbers, '
           f'{texts} of text')
  return File(frame, digest, '; '.join([found, *notes]),
              functools.partial(_line, path, delimiter))


def decoded(path: pathlib.Path) -> tuple[str, str, list[str]]:
  """The text of a file, its digest, and what should be known about them."""
  data = path.read_bytes()
  digest, notes = hashlib.sha256(data).hexdigest()[:12], []
  if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    raise UserError('is text in UTF-16; save it as UTF-8')
  if b'\0' in data or data.startswith(b'\x1f\x8b'):
    raise UserError('is not a text file; if it is compressed, unpack it')
  try:
    text = data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = data.count(b'\n', 0, error.start) + 1
    notes = [f'not UTF-8 (line {line}), so read as Latin-1']
    text = data.decode('latin-1')
  return text, digest, notes


def _delimiter(text: str) -> str:
  """The one that the header has most of, quoted parts aside."""
  header = text.lstrip('\r\n').partition('\n')[0]
  header = re.sub(r'"[^"]*"', '', header)
  return max(',;\t|', key=header.count)


def records_of(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
  """(the line it begins on, values) of every record, blank lines left out."""
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
  line = 1
  try:
    for record in reader:
      if record:
        yield line, record
      line = reader.line_num + 1
  except csv.Error as error:
    raise UserError(f'line {line}: {error}') from None


def _line(path: pathlib.Path, delimiter: str, row: int) -> int:
  records = records_of(decoded(path)[0], delimiter)
  return next(line for index, (line, _) in enumerate(records) if index == row + 1)


def _check(text: str, delimiter: str) -> None:
  """Names the line that is at fault, if there is one."""
  width = None
  for line, record in records_of(text, delimiter):
    width = width or len(record)
    if len(record) != width:
      raise UserError(
        f'line {line} has {len(record)} values, the header has {width}: '
        f'{delimiter.join(record)[:60]!r}')


def _convert(column, *, comma: bool) -> tuple[np.ndarray, int]:
  """A column of strings as numbers if possible, and how many were infinite.

  What float32 cannot hold counts as infinite.
  """
  import pyarrow as pa
  from pyarrow import compute

  text = compute.utf8_trim_whitespace(column.cast(pa.string()))
  gone = compute.is_in(text, value_set=pa.array(_MISSING))
  text = compute.if_else(gone, pa.scalar(None, pa.string()), text)
  try:
    decimal = compute.replace_substring(text, ',', '.') if comma else text
    values = decimal.cast(pa.float64()).to_numpy()
  except pa.ArrowInvalid:
    array = text.fill_null('').to_numpy().astype(object)
    array.flags.writeable = False
    return array, 0
  infinite = np.abs(values) > np.finfo(np.float32).max
  values = np.where(infinite, np.nan, values)
  values.flags.writeable = False
  return values, int(infinite.sum())
