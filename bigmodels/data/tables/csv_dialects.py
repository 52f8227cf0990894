"""The text of a CSV file: its encoding, its delimiter, and its records."""

import codecs
import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.tables import compressed, encodings

DECIMALS = ('.', ',')
THOUSANDS = ('', '.', ',', ' ', "'", '_')
_DELIMITERS = ',;\t|'
# Encodings of Python for names and literals, not for files.
_NOT_OF_FILES = ('idna', 'punycode', 'raw-unicode-escape', 'undefined',
                 'unicode-escape')
_WORDS = {'tab': '\t', r'\t': '\t', 'space': ' '}  # hard to type in a shell


# The fields of `Reading` that say how a file is written; the others name columns.
SETTINGS = ('delimiter', 'decimal', 'thousands', 'missing', 'encoding')


@dataclasses.dataclass(frozen=True)
class Reading:
  """Settings for reading a CSV file; None values are inferred from the file.

  Attributes:
    delimiter: one character, or 'tab' or 'space' (runs of blanks).
    decimal: the decimal mark, '.' or ','.
    thousands: separator of groups of digits: '.', ',', ' ' (any blank), "'", '_', or ''
      for none.
    missing: words for a missing value, in place of the usual ones; an empty cell is
      always missing. In a string they are separated by commas.
    encoding: Python name of the encoding, such as 'cp1250' or 'utf-16-le'.
    text: columns that are text, whatever their values look like; an integer written as
      1.0 becomes 1.
    numbers: columns that must be numbers.
    header: names of the columns of a file without a header; None if its first record
      has them.
  """

  delimiter: str | None = None
  decimal: str | None = None
  thousands: str | None = None
  missing: tuple[str, ...] | str | None = None
  encoding: str | None = None
  text: tuple[str, ...] = ()
  numbers: tuple[str, ...] = ()
  header: tuple[str, ...] | None = None

  def __post_init__(self):
    delimiter = _WORDS.get(self.delimiter, self.delimiter)
    object.__setattr__(self, 'delimiter', delimiter)
    if delimiter is not None and not (
      isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
      and not delimiter.isalnum() and delimiter not in '"\r\n.+-\0'):
      raise UserError('delimiter: must be one ASCII character such as , ; | or tab, '
                      f'got {delimiter!r}')
    for field, legal in (('decimal', DECIMALS), ('thousands', THOUSANDS)):
      value = getattr(self, field)
      if value is not None and value not in legal:
        raise UserError(f'{field}: must be one of {" ".join(map(repr, legal))}, '
                        f'got {value!r}')
    if self.thousands in DECIMALS:
      other = ',' if self.thousands == '.' else '.'
      if (self.decimal or other) != other:
        raise UserError(f'thousands: must differ from decimal, both are '
                        f'{self.thousands!r}')
      object.__setattr__(self, 'decimal', other)
    if isinstance(self.missing, str):
      object.__setattr__(self, 'missing', tuple(self.missing.split(',')))
    if self.missing is not None:
      words = tuple(str(word).strip() for word in self.missing)
      object.__setattr__(self, 'missing', words)
    if self.encoding is not None:
      try:
        ''.encode(self.encoding)
        if codecs.lookup(self.encoding).name.replace('_', '-') in _NOT_OF_FILES:
          raise LookupError
      except (LookupError, TypeError, UnicodeError):
        names = ('utf-8', 'cp1252', 'latin-1', 'utf-16', 'cp1250', 'cp850', 'shift_jis')
        raise UserError(f'encoding: Python has no encoding {self.encoding!r}'
                        f'{nearest(str(self.encoding), names)}') from None


class Content(NamedTuple):
  """The text of a CSV file, and how its values are separated.

  Attributes:
    text: text from the header on, without blanks around quotes.
    delimiter: one character.
    line: number of the line at which the text begins, from 1.
    digest: digest of the bytes of the file.
    notes: what was inferred, to print.
    balanced: whether quotes occur only at both ends of values.
  """

  text: str
  delimiter: str
  line: int
  digest: str
  notes: list[str]
  balanced: bool = True

  def records(self) -> Iterator[tuple[int, list[str]]]:
    """Yields the first line and the values of every record; skips blank lines.

    Raises:
      UserError: for wrong quotes, with the line.
    """
    reader, line, wide = _reader(self.text, self.delimiter), self.line, False
    try:
      for record in reader:
        if len(record) > 1 or (record and not (wide and record[0].isspace())):
          yield line, record
          wide = wide or len(record) > 1
        line = reader.line_num + self.line
    except csv.Error as error:
      raise UserError(f'line {line}: {error}') from None

  def without_blank_lines(self) -> str:
    """Returns the text without lines of blanks, which `records` skips too."""
    return re.sub(r'("(?:[^"]|"")*")|^[ \t]+$', lambda m: m[1] or '', self.text,
                  flags=re.MULTILINE)


def content(path: pathlib.Path, reading: Reading) -> Content:
  """Reads a file, which may be compressed.

  Args:
    path: path of the file.
    reading: settings; None values are inferred.

  Raises:
    UserError: if it is not text, or its delimiter cannot be found.
    OSError: if it cannot be read.
  """
  return of_bytes(compressed.read(path), reading)


def of_bytes(data: bytes, reading: Reading) -> Content:
  """Decodes the content of a file; see `content`.

  Raises:
    UserError: if it is not text, or its delimiter cannot be found.
  """
  digest = digests.of_bytes(data)
  text, notes = encodings.decode(data, reading.encoding)
  text = text.lstrip('\ufeff').removesuffix('\x1a')  # end-of-file character of DOS
  if not text or text.isspace():
    raise UserError('the file is empty')
  text, hint = _without_hint(text)
  delimiter = reading.delimiter or hint or _delimiter(text)
  if delimiter != ',':
    notes = [*notes, f'delimiter {delimiter!r}' + (
      ' as set by its first line' if delimiter == hint else
      ' (delimiter= sets it)' if not reading.delimiter else '')]
  text, balanced = tidied(text, delimiter)
  line = 1 + (hint != '')
  if reading.header is not None:
    text, line = _record(reading.header, delimiter) + text, line - 1
  return Content(text, delimiter, line, digest, notes, balanced)


def _record(values: tuple[str, ...], delimiter: str) -> str:
  written = io.StringIO()
  csv.writer(written, delimiter=delimiter, lineterminator='\n').writerow(values)
  return written.getvalue()


def _reader(text: str, delimiter: str):
  # The default is 131,072 characters, for the whole process.
  csv.field_size_limit(2**31 - 1)
  return csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)


# --- delimiters -----------------------------------------------------------------


def _without_hint(text: str) -> tuple[str, str]:
  """The text without Excel's first line `sep=;`, and that delimiter or ''."""
  hint = re.match(
    r'"?sep=(\\t|[\t -!#-,/:-@\[-^`{-~])"?\1*[ \t]*(\r\n|\r|\n)', text, re.I)
  if not hint:
    return text, ''
  return text[hint.end():].lstrip('\ufeff'), _WORDS.get(hint[1], hint[1])


def _delimiter(text: str) -> str:
  """The delimiter with which all rows have as many values as the header.

  Among several, the one with which more values are numbers. If there is none, the one
  that fits the most rows, so that the other rows can be reported.
  """
  present = [d for d in _DELIMITERS if d in text[: 1 << 14]] or [',']
  if len(present) == 1 and text.find('\n', 0, 1 << 14) >= 0:
    return present[0] if _separates_header(text, present[0]) else ','
  heads = {d: head for d in _DELIMITERS if d in text
           and len((head := _head(text, d)) and head[0]) > 1}
  if not heads:
    return ','
  even = [d for d, head in heads.items() if all(len(r) == len(head[0]) for r in head)]
  if len(even) > 1:
    even = [d for d in even if _is_even(text, d)] or even
  if not even:
    return max(heads, key=lambda d: sum(len(r) == len(heads[d][0]) for r in heads[d]))
  fractions = {d: _fraction_of_numbers(heads[d][1:]) for d in even}
  best = [d for d in even if fractions[d] == max(fractions.values())]
  if len(best) > 1 and len(heads[best[0]]) > 1:
    counts = ' or '.join(f'{d!r} ({len(heads[d][0])} columns)' for d in best)
    raise UserError(f'the delimiter may be {counts}, and the file does not '
                    f'decide; set delimiter={best[0]!r} or delimiter={best[1]!r}')
  return max(best, key=lambda d: len(heads[d][0]))


def _separates_header(text: str, delimiter: str) -> bool:
  return delimiter in text.lstrip('\r\n').partition('\n')[0] or (
    len((_head(text, delimiter) or [()])[0]) > 1)


def _head(text: str, delimiter: str) -> list[list[str]]:
  """The first records: at least a header and two rows, if the file has them.

  If a record is malformed, the records before it.
  """
  size = 1 << 14
  while True:
    records, whole = [], size >= len(text)
    try:
      for record in _reader(text[:size], delimiter):
        records += [record] * bool(record)
    except csv.Error as error:
      if whole or 'unexpected end' not in str(error):
        return records  # those before the malformed one
    else:
      records = records if whole else records[:-1]  # it may be cut off
    if whole or len(records) > 2:
      return records
    size *= 4


def _is_even(text: str, delimiter: str) -> bool:
  try:
    records = Content(text, delimiter, 1, '', []).records()
    return len({len(record) for _, record in records}) == 1
  except UserError:
    return False


def _fraction_of_numbers(records: list[list[str]]) -> float:
  cells = [cell.strip() for record in records for cell in record if cell.strip()]
  number = re.compile(r'[-+]?[0-9.,]*[0-9](e[-+]?[0-9]+)?', re.I)
  return sum(bool(number.fullmatch(c)) for c in cells) / max(len(cells), 1)


def balanced(data: bytes, delimiter: str) -> bool:
  """Returns whether quotes occur only at both ends of values.

  Args:
    data: whole records.
    delimiter: one character.
  """
  array = np.frombuffer(b'\n%b\n' % data, np.uint8)
  at = np.flatnonzero(array == ord('"'))
  ends = np.zeros(256, bool)
  ends[[ord(delimiter), ord('\r'), ord('\n')]] = True
  return len(at) % 2 == 0 and bool(
    ends[array[at[::2] - 1]].all() and ends[array[at[1::2] + 1]].all())


def tidied(text: str, delimiter: str) -> tuple[str, bool]:
  """Removes blanks between delimiters and quotes; for ' ', merges runs of blanks.

  Args:
    text: text of whole records.
    delimiter: one character.

  Returns:
    The text, and whether quotes occur only at both ends of values.
  """
  if delimiter == ' ':
    text = re.sub(r'(?m)^[ \t]+|[ \t]+$', '', text)
    return re.sub(r'("(?:[^"]|"")*")|[ \t]+', lambda m: m[1] or ' ', text), False
  if balanced(text.encode(), delimiter):
    return text, True
  if ' "' not in text and '" ' not in text:
    return text, False
  end = f'[{re.escape(delimiter)}\\r\\n]'
  pattern = rf'(^|{end}) *("(?:[^"]|"")*") *(?={end}|\Z)'
  return re.sub(pattern, r'\1\2', text), False
