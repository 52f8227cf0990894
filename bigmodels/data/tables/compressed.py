"""Reads files that may be compressed by gzip or Zstandard, whole or as a stream."""

import hashlib
import pathlib
from typing import Any

from bigmodels.core import digests
from bigmodels.core.errors import UserError

_CODECS = {b'\x1f\x8b': 'gzip', b'\x28\xb5\x2f\xfd': 'zstd'}
SUFFIXES = ('.gz', '.zst')


def read(path: pathlib.Path) -> bytes:
  """Returns the content of a file, uncompressed.

  Raises:
    UserError: if its compressed data is cut or damaged.
    OSError: if it cannot be read.
  """
  data = path.read_bytes()
  codec = _codec(data[:4])
  if codec is None:
    return data
  import pyarrow as pa

  try:
    return pa.CompressedInputStream(pa.BufferReader(data), codec).read()
  except OSError as error:
    raise damaged(codec, error) from None


def digest(path: pathlib.Path) -> str:
  """Returns the digest of the content of a file, uncompressed; see `digests.of_bytes`.

  Raises:
    UserError: if its compressed data is cut or damaged.
    OSError: if it cannot be read.
  """
  stream, sha256 = Stream(path), hashlib.sha256()
  try:
    while data := stream.read(1 << 20):
      sha256.update(data)
  finally:
    stream.close()
  return digests.of_hash(sha256)


class Stream:
  """The uncompressed content of a file, read in pieces.

  Attributes:
    start: the first bytes, uncompressed.
    codec: 'gzip', 'zstd' or None.
  """

  def __init__(self, path: pathlib.Path):
    """Opens the file.

    Raises:
      OSError: if it cannot be read.
    """
    self._size = max(path.stat().st_size, 1)
    self._file: Any = path.open('rb')
    self.codec = _codec(self._file.peek(4)[:4])
    self._stream, self._known, self._left = self._file, None, b''
    if self.codec:
      import pyarrow as pa

      self._stream = pa.CompressedInputStream(
        pa.PythonFile(self._file, 'r'), self.codec)
    self.start = self._left = self.read(64)

  def read(self, size: int) -> bytes:
    """Returns the next bytes; fewer than `size` only at the end.

    Raises:
      UserError: if the compressed data is cut or damaged.
    """
    left, self._left = self._left[:size], self._left[size:]
    try:
      return left + self._stream.read(size - len(left))
    except OSError as error:
      if self.codec is None:
        raise
      raise damaged(self.codec, error) from None

  @property
  def fraction(self) -> float:
    """Fraction of the file, as stored, that has been read, 0 to 1."""
    return self._known if self._known is not None else min(
      1.0, self._file.tell() / self._size)

  def at(self, fraction: float) -> None:
    """Sets the fraction, for a reader that opens the file itself."""
    self._known = fraction

  def close(self) -> None:
    """Closes the file."""
    if not self._file.closed:
      self._known = self.fraction
      self._file.close()


def _codec(start: bytes) -> str | None:
  return next((c for magic, c in _CODECS.items() if start.startswith(magic)), None)


def damaged(codec: str, error: Exception) -> UserError:
  """Returns the error for compressed data that cannot be unpacked."""
  cut = 'runcated' in str(error)
  return UserError(f'its {codec} data is ' + (
    'cut: the file ends before the data does' if cut else f'damaged: {error}'))
