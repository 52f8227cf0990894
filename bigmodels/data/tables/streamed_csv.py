"""Reads a CSV file of any size in blocks of records; see `streamed`."""

import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.frames import Frame, is_text, rows_of
from bigmodels.data.tables import (
  csv_columns,
  csv_dialects,
  csv_files,
  csv_numbers,
  encodings,
)
from bigmodels.data.tables.csv_dialects import Reading

BLOCK = 8 << 20  # bytes that are read at a time
_FIRST = 1 << 18  # bytes of the first block, which decides the format
_MOST = 1 << 28  # bytes of one record
_PLAIN = csv_columns.Format('', '', '')


def lines_of(stream: Any, start: bytes, quotes: bool = False) -> Iterator[bytes]:
  """Yields blocks of whole lines; with `quotes`, of whole records of CSV.

  Args:
    stream: has `read(size)`.
    start: bytes that were read before.
    quotes: whether a line may end inside of quotes.

  Raises:
    UserError: for a line or record of more than 256 MB.
  """
  rest = start
  while data := stream.read(BLOCK):
    rest += data
    end = _end(rest, quotes)
    if end:
      yield rest[:end]
      rest = rest[end:]
    elif len(rest) > _MOST:
      raise UserError(f'a record has more than {_MOST >> 20:,} MB; is a quote missing?')
  if rest:
    yield rest


def _end(data: bytes, quotes: bool) -> int:
  """The end of the last line, or of the last one outside of quotes; 0 if none ends."""
  newline = b'\n' if b'\n' in data or b'\r' not in data else b'\r'
  end = data.rfind(newline) + 1
  if not quotes or not end:
    return end
  open_ = _count(data, b'"', 0, end) % 2
  while end and open_:
    before = data.rfind(newline, 0, end - 1) + 1
    open_ ^= _count(data, b'"', before, end) % 2
    end = before
  return end


def _count(data: bytes, byte: bytes, start: int = 0, end: int | None = None) -> int:
  """The same as `bytes.count`, and faster."""
  return np.count_nonzero(np.frombuffer(data, np.uint8)[start:end] == ord(byte))


class Csv:
  """The blocks of one CSV file."""

  def __init__(self, owner: Any, stream: Any, reading: Reading,
               kinds: Mapping[str, str]):
    """Only stores the arguments.

    Args:
      owner: a `streamed.Frames`, which checks the columns and keeps lines to print.
      stream: a `compressed.Stream`.
      reading: settings; None values are inferred from the first rows.
      kinds: column -> 'text' or 'numbers'; or 'written', text of which no word means
        that it is missing.
    """
    self._owner, self._reading, self._kinds = owner, reading, kinds
    self._numeric = [name for name, kind in kinds.items() if kind == 'numbers']
    self._stream = encodings.Utf8(stream, reading.encoding, owner.say)
    self._formats: dict[str, csv_columns.Format] = {}
    self._decimal, self._read_dots = reading.decimal, False
    self._votes: set[str] = set()
    self._line, self._names, self._delimiter = 1, [], ''
    self._said: set[str] = set()

  def blocks(self) -> Iterator[Frame]:
    """Yields the columns of blocks of rows.

    Raises:
      UserError: if it is no such file, lacks a column, or changes its format.
    """
    start = self._start()
    if start is None:
      raise UserError('the file is empty')
    self._owner.columns(self._names)
    rows = 0
    for block in lines_of(self._stream, start, quotes=True):
      frame = self._plain(block) if self._is_plain() else None
      if frame is None:
        frame = self._any(block)
      self._read_dots = self._read_dots or b'.' in block
      self._line += _count(block, b'\n') or _count(block, b'\r')
      if frame:
        rows += rows_of(frame)
        yield frame
    if not rows:
      raise UserError('the file has a header and no rows')

  def _start(self) -> bytes | None:
    """Reads the header; returns the bytes after it that were read, None if empty."""
    size = min(BLOCK, _FIRST)
    data = self._stream.read(size)
    whole = len(data) < size
    while not whole and not _end(data, True) and len(data) < _MOST:  # a long header
      more = self._stream.read(len(data))
      whole, data = len(more) < len(data), data + more
    text = data.decode().removesuffix('\x1a')
    if not text or text.isspace():
      return None
    head = text if whole else text[: _end(data, True)] if data.isascii() else (
      data[: _end(data, True)].decode())
    content = csv_dialects.of_bytes((head or text).encode(), dataclasses.replace(
      self._reading, encoding='utf-8'))
    self._owner.say(content.notes)
    self._delimiter = content.delimiter
    records = content.records()
    _, header = next(records, (0, None))
    if header is None:
      return None
    self._names = csv_files.header_names(header)
    # The header ends where the text does with which one record is complete.
    body = text if content.line == 1 else re.split('\r\n|\r|\n', text, maxsplit=1)[1]
    body = body.lstrip('\ufeff')
    end = count = 0
    for line in io.StringIO(body, newline=''):
      end, count = end + len(line), count + 1
      if line.strip() and body.count('"', 0, end) % 2 == 0:
        break
    self._line = content.line + count
    self._header = body[:end].rstrip('\r\n') + '\n'
    return body[end:].encode()

  # --- numbers in plain format ------------------------------------------------------

  def _is_plain(self) -> bool:
    """Whether Arrow reads numbers as `csv_columns` would, if it reads all of them."""
    return self._delimiter != ' ' and (
      self._delimiter == ',' or self._decimal is not None)

  def _plain(self, block: bytes) -> Frame | None:
    """The columns of a block; None if some value is not plain."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    quoted = b'"' in block
    if quoted and not csv_dialects.balanced(block, self._delimiter):
      return None
    words = self._words()
    types = {name: pa.float64() if kind == 'numbers' else (
      pa.dictionary(pa.int32(), pa.string()))
             for name, kind in self._kinds.items()}
    try:
      table = arrow.read_csv(
        pa.BufferReader(block),
        read_options=arrow.ReadOptions(
          column_names=self._unique(), block_size=max(
            1 << 20, len(block) + 1 if quoted else 0)),
        parse_options=arrow.ParseOptions(
          delimiter=self._delimiter, newlines_in_values=quoted),
        convert_options=arrow.ConvertOptions(
          column_types=types, include_columns=list(types), null_values=words,
          strings_can_be_null=False, decimal_point=self._decimal or '.'))
    except pa.ArrowInvalid:
      return None
    if any(self._formats.get(n, _PLAIN).affix for n in self._numeric):
      return None
    return {name: table.column(name).to_numpy() if kind == 'numbers' else
            self._text(name, table.column(name)) for name, kind in self._kinds.items()}

  def _unique(self) -> list[str]:
    """The names of all columns; those without one get names that are not asked for."""
    return [name or f'\0{i}' for i, name in enumerate(self._names)]

  def _words(self) -> list[str]:
    words = self._reading.missing
    return list(csv_numbers.MISSING if words is None else ('', *words))

  def _text(self, name: str, column: Any) -> np.ndarray:
    import pyarrow as pa
    from pyarrow import compute

    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
      encoded = encoded.dictionary_encode()
    text = compute.utf8_trim_whitespace(encoded.dictionary)
    gone = compute.is_in(text, value_set=pa.array(
      self._words() if self._kinds[name] == 'text' else ['']))
    text = compute.if_else(gone, pa.scalar(None, pa.string()), text)
    if name in self._reading.text:
      text = csv_numbers.integers(text)
    return csv_numbers.of_codes(encoded.indices, text)

  # --- anything else ------------------------------------------------------------------

  def _any(self, block: bytes) -> Frame | None:
    body = block.decode().removesuffix('\x1a')
    if not body.strip():
      return None
    text, balanced = csv_dialects.tidied(self._header + body, self._delimiter)
    first = self._line - self._header.count('\n')
    content = csv_dialects.Content(text, self._delimiter, first, '', [], balanced)
    columns = dict(zip(self._names, csv_files.columns_of(
      content, next(content.records())[1]), strict=True))

    def where(row: int) -> str:
      records = itertools.islice(content.records(), row + 1, None)
      return f'line {next(records)[0]}'

    reading = dataclasses.replace(
      self._reading, decimal=self._decimal, text=(), numbers=())
    found = csv_columns.numbers({n: columns[n] for n in self._numeric}, reading,
                                delimiter=self._delimiter, where=where)
    for name in self._numeric:
      column = found.frame[name]
      if is_text(column) and self._reading.missing is None and not (
        {*map(str.lower, column.tolist())} - {*csv_numbers.AMONG_NUMBERS}):
        found.frame[name] = np.full(len(column), np.nan)  # in a column of numbers
        self._owner.say([f'missing: {listed(sorted({*column.tolist()} - {""}))} in '
                         f'{name}'])
      elif is_text(column):
        row = csv_numbers.text_row(column)
        raise UserError(
          f'{where(row)}, column {name!r}: {column[row][:40]!r} is not a number, as '
          'the column was when the run was fitted (missing= sets the words for missing '
          'values)')
    self._check(found)
    for line in found.lines:  # once, whatever the counts and lines of each block
      key = re.sub(r"[0-9,]+ (?='|\")|, as in line.*", '', line)
      if not line.startswith('column ') and key not in self._said:
        self._said.add(key)
        self._owner.say([line])
    return {name: found.frame[name] if kind == 'numbers' else
            self._text(name, columns[name]) for name, kind in self._kinds.items()}

  def _check(self, found: csv_columns.Numbers) -> None:
    """Refuses a format that earlier blocks did not have."""
    new = found.votes - self._votes
    if self._decimal is None and (
      (new == {','} and (self._read_dots or any(
        each.mark == '.' for each in self._formats.values())))
      or (new and self._votes)):
      raise UserError(f'the lines from {self._line} on show that the decimal mark is '
                      f"{min(new)!r}, and those before were read as if it was "
                      f"{'.' if min(new) == ',' else ','!r}; set decimal=")
    self._votes |= found.votes
    if self._decimal is None and len(self._votes) == 1:
      [self._decimal] = self._votes
    for name in self._numeric:
      now = found.formats.get(name, _PLAIN)
      before = self._formats.get(name, now)
      if now.affix != before.affix or any(
        one and other and one != other for one, other in (
          (now.group, before.group), (now.mark, before.mark))):
        raise UserError(f'column {name!r}: the numbers from line {self._line} on are '
                        'written in another way than those before')
      if not np.isnan(found.frame[name]).all():
        self._formats[name] = now._replace(
          group=now.group or before.group, mark=now.mark or before.mark)
