"""Decodes bytes to text: detects their encoding, or their format if not text."""

import codecs
import re
from collections.abc import Callable
from typing import Any

from bigmodels.core.errors import UserError

# First bytes of files that are sometimes named .csv, but are not.
_MAGIC = {
  b'\x1f\x8b': 'gzip', b'PK\x03\x04': 'zip', b'BZh': 'bzip2', b'\xfd7zXZ\0': 'xz',
  b'\x28\xb5\x2f\xfd': 'zstd', b'7z\xbc\xaf\x27\x1c': '7z', b'PAR1': 'Parquet',
  b'ARROW1': 'Arrow', b'\xff\xff\xff\xff': 'Arrow', b'\x89HDF\r\n\x1a\n': 'HDF5',
  b'\x93NUMPY': 'NumPy', b'\xd0\xcf\x11\xe0': 'Excel (.xls)', b'%PDF': 'PDF',
  b'SQLite format 3\0': 'SQLite', b'\x89PNG': 'PNG', b'\xff\xd8\xff': 'JPEG'}
_ARCHIVES = ('gzip', 'zip', 'bzip2', 'xz', 'zstd', '7z')
_MARKUP = {b'<!doctype': 'HTML', b'<html': 'HTML', b'<?xml': 'XML', b'{"': 'JSON',
           b'[{"': 'JSON', b'version https://git-lfs': 'a Git LFS pointer'}
_BOMS = {codecs.BOM_UTF32_LE: 'UTF-32', codecs.BOM_UTF32_BE: 'UTF-32',
         codecs.BOM_UTF16_LE: 'UTF-16', codecs.BOM_UTF16_BE: 'UTF-16'}
# Latin-1 has control characters there; Windows-1252 leaves five of them undefined.
_UNDEFINED = '\x81\x8d\x8f\x90\x9d'
_WINDOWS = {byte: bytes([byte]).decode('cp1252') for byte in range(0x80, 0xa0)
            if chr(byte) not in _UNDEFINED}


def decode(data: bytes, encoding: str | None) -> tuple[str, list[str]]:
  """Returns the text of a file, and notes on its encoding.

  Args:
    data: content of the file.
    encoding: Python name of the encoding; None infers it.

  Raises:
    UserError: if it is not text, or not in that encoding, with the line.
  """
  _refuse_markup(data)
  name = encoding or marked(data)
  if not name:
    _refuse_binary(data)
  elif encoding:
    _check_wide(data, encoding)
  try:
    text = data.decode(name or 'utf-8-sig')
  except UnicodeDecodeError as error:
    if name:
      raise UserError(f'line {_line_at(data, error.start)} is not {name}: '
                      f'{error.reason}') from None
    return _of_single_bytes(data, error.start)
  if name and '\0' in text:
    raise UserError(f'is not a text file in {name}: it has NUL characters')
  return text, [f'read as {name}'] if name and not encoding else []


def marked(start: bytes) -> str | None:
  """Returns the encoding that a byte order mark shows, or None."""
  return next((name for mark, name in _BOMS.items() if start.startswith(mark)), None)


def refuse(data: bytes) -> None:
  """Refuses the first bytes of a file that is no text in UTF-8 or single bytes.

  Raises:
    UserError: naming what it is.
  """
  _refuse_markup(data)
  _refuse_binary(data)


def _refuse_markup(data: bytes) -> None:
  start = data[:64].lstrip(b'\xef\xbb\xbf \t\r\n').lower()
  for magic, kind in _MARKUP.items():
    if start.startswith(magic):
      raise UserError(f'is {kind}, not CSV')


def _check_wide(data: bytes, name: str) -> None:
  """Refuses data without the NUL bytes that delimiters have in UTF-16 and UTF-32."""
  if data and codecs.lookup(name).name.startswith(('utf-16', 'utf-32')) and (
    b'\0' not in data):
    raise UserError(f'is not {name}: it has no NUL bytes; encoding= sets another one')


def _refuse_binary(data: bytes) -> None:
  for magic, kind in _MAGIC.items():
    if data.startswith(magic):
      if kind == 'zip' and b'xl/' in data:
        kind = 'Excel (.xlsx)'
      advice = 'unpack it' if kind in _ARCHIVES else 'save it as CSV'
      raise UserError(f'is not a text file: it begins as a file of {kind}; {advice}')
  at = data.find(b'\0')
  if at < 0:
    return
  for start, name in ((1, 'utf-16-le'), (0, 'utf-16-be')):
    if data[start::2].count(b'\0') > len(data) / 4:
      raise UserError(f'is not a text file in UTF-8, but seems to be UTF-16; set '
                      f'encoding={name!r} or save it as UTF-8')
  raise UserError(f'is not a text file: line {_line_at(data, at)} has a NUL byte')


def _of_single_bytes(data: bytes, start: int) -> tuple[str, list[str]]:
  """Decodes text that is not entirely UTF-8, from byte `start` on."""
  where = f'line {_line_at(data, start)}'
  text = data.decode('utf-8-sig', 'surrogateescape')
  odd = re.findall('[\udc80-\udcff]', text)
  several = len(re.findall('[^\0-\x7f]', text)) - len(odd)  # multibyte characters
  if several > len(odd):
    text = re.sub('[\udc80-\udcff]', lambda m: chr(ord(m[0]) - 0xdc00), text)
    note = (f'UTF-8 but for {len(odd):,} byte{"s" * (len(odd) > 1)} (first: {where}), '
            'read as Windows-1252 (encoding= sets it)')
    # Real control characters of UTF-8 are as rare as they are invisible.
    return text.translate(_WINDOWS), [note]
  text = data.decode('latin-1')
  if not re.search('[\x80-\x9f]', text):
    return text, [f'not UTF-8 ({where}), so read as Latin-1 (encoding= sets it)']
  note = f'not UTF-8 ({where}), so read as Windows-1252 (encoding= sets it)'
  if found := re.search(f'[{_UNDEFINED}]', text):
    line = _line_at(data, found.start())
    note += (f', where byte 0x{ord(found[0]):02x} (line {line}) is undefined: another '
             'encoding is likely')
  return text.translate(_WINDOWS), [note]


def _line_at(data: bytes, position: int) -> int:
  return len(re.findall(rb'\r\n|\r|\n', data[:position])) + 1


class _SingleBytes:
  """Decodes single bytes in pieces: Windows-1252, or Latin-1 where undefined."""

  def decode(self, data: bytes, final: bool = False) -> str:
    del final
    return data.decode('latin-1').translate(_WINDOWS)


class Utf8:
  """A stream of UTF-8, from one in another encoding.

  Single bytes that are not UTF-8 decide the encoding where they come first, as
  `decode` does for whole files.
  """

  def __init__(self, stream: Any, encoding: str | None,
               say: Callable[[list[str]], None]):
    """Chooses the decoder, if the encoding is given or marked.

    Args:
      stream: a `compressed.Stream`.
      encoding: Python name of its encoding; None infers it.
      say: takes notes on what was inferred.
    """
    self._stream, self._say, self._lines = stream, say, 0
    name = encoding or marked(stream.start)
    self._name, self._given = name, encoding
    self._decoder = None if name in (None, 'utf-8') else codecs.getincrementaldecoder(
      name)()
    self._rest, self._begun, self._ascii = b'', False, True

  def read(self, size: int) -> bytes:
    """Returns the next bytes as UTF-8, of about `size` bytes; b'' at the end.

    Raises:
      UserError: if they are not text in the encoding, with the line.
    """
    data = self._stream.read(size)
    if self._decoder is not None:
      if not self._begun and self._given:
        _check_wide(data, self._given)
      try:
        text = self._decoder.decode(data, final=not data)
      except UnicodeDecodeError as error:
        raise UserError(f'line {self._lines + 1} or later is not {self._name}: '
                        f'{error.reason}') from None
      if '\0' in text:
        raise UserError(f'is not a text file in {self._name}: it has NUL characters')
      data = text.encode(errors='surrogatepass')
    else:
      data = self._checked(self._rest + data, last=len(data) < size)
    if not self._begun:
      self._begun, data = True, data.removeprefix(codecs.BOM_UTF8)
    self._lines += data.count(b'\n')
    return data

  def _checked(self, data: bytes, last: bool) -> bytes:
    """The UTF-8 of the data, up to a character that is cut off."""
    self._rest = b''
    if data.isascii() and not (b'\0' in data[:4096] or not self._begun):
      return data
    if not self._begun:
      refuse(data[: 1 << 16])
    try:
      data.decode()
    except UnicodeDecodeError as error:
      if not last and error.start >= len(data) - 3:
        self._rest, data = data[error.start:], data[: error.start]
      elif self._name is not None or not self._ascii:
        name = self._name or 'utf-8, as lines before are; set encoding='
        line = self._lines + data.count(b'\n', 0, error.start) + 1
        raise UserError(f'line {line} is not {name}') from None
      else:
        return self._of_single_bytes(data)
    self._ascii = self._ascii and data.isascii()
    return data

  def _of_single_bytes(self, data: bytes) -> bytes:
    text, notes = decode(data, None)
    before = self._lines
    self._say([re.sub(r'(?<=line )[0-9]+', lambda m: f'{before + int(m[0])}', note)
               for note in notes])
    if not notes[0].startswith('UTF-8'):
      self._decoder, self._name = _SingleBytes(), 'Windows-1252'
    return text.encode()
