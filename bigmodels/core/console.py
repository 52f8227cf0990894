"""The console: nothing that is printed controls it, and a run does not end with it.

What has no place in its encoding is shown as an escape. Once it cannot be written to,
what is printed goes nowhere: a run is worth more than its lines.
"""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator

from bigmodels.core.errors import shown

# Who reads has left: `| head`, a terminal that is closed.
_LEFT = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF, errno.ECONNRESET,
         errno.ENOTCONN, errno.ESHUTDOWN)


class _Descriptor(io.RawIOBase):
  """Writes all that it is given; once that fails, nowhere, without an error.

  Attributes:
    problem: what went wrong, in words; None if nothing did, or only the reader left.
  """

  def __init__(self, number: int):
    self._number, self.problem = number, None

  def writable(self) -> bool:
    return True

  def fileno(self) -> int:
    return self._number

  def isatty(self) -> bool:
    return os.isatty(self._number)

  def write(self, data) -> int:
    rest = memoryview(data).cast('B')
    length = len(rest)
    while rest:
      try:
        rest = rest[os.write(self._number, rest):]
      except BlockingIOError:  # whoever shares it has made it so
        select.select([], [self._number], [])
      except OSError as error:
        self._leave(error)
        break
    return length

  def _leave(self, error: OSError) -> None:
    """Points the descriptor, which libraries and new processes share, to nowhere."""
    if error.errno not in _LEFT:
      self.problem = error.strerror
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, self._number)
    os.close(nowhere)


class Console(io.TextIOWrapper):
  """A stream of text to people."""

  def __init__(self, number: int, like: io.TextIOWrapper | None = None, *,
               escaping: bool = True):
    """Opens a descriptor that stays open.

    Args:
      number: of the descriptor.
      like: for encoding and buffering; None for what was closed.
      escaping: whether control characters are shown, as they are in `errors.shown`.
    """
    self._descriptor, self._escaping = _Descriptor(number), escaping
    at_once = like is not None and like.write_through
    super().__init__(
      self._descriptor if at_once else io.BufferedWriter(self._descriptor),
      encoding='utf-8' if like is None else like.encoding, errors='backslashreplace',
      line_buffering=like is not None and like.line_buffering, write_through=at_once)

  def write(self, text: str) -> int:
    super().write(shown(text) if self._escaping else text)
    return len(text)

  @property
  def problem(self) -> str | None:
    """Why something that was printed is lost, or None; see `_Descriptor`."""
    self.flush()
    return self._descriptor.problem


def bare(stream: io.TextIOBase) -> io.TextIOBase:
  """The same console for what moves its cursor, such as a bar of progress."""
  if not isinstance(stream, Console):
    return stream
  return Console(stream.fileno(), stream, escaping=False)


def keep() -> None:
  """Has all that this process prints go through `Console`."""
  # A closed one would be the next file that is opened, with what is printed in it.
  for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
    try:
      os.fstat(number)
    except OSError:
      os.set_inheritable(os.open(os.devnull, mode), True)
  sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
  sys.stdout, sys.stderr = Console(1, sys.stdout), Console(2, sys.stderr)
  # Python 3.13 would colour tracebacks, and colours are escaped.
  os.environ.setdefault('PYTHON_COLORS', '0')


@contextlib.contextmanager
def complete() -> Iterator[None]:
  """Has a program exit with 2 that ends well, but could not write what it printed.

  That its reader has left is not an error.
  """
  try:
    yield
  except SystemExit as end:
    problem = sys.stdout.problem if isinstance(sys.stdout, Console) else None
    if end.code or problem is None:
      raise
    print(f'error: stdout: {problem}; what was printed is lost, what is saved stays',
          file=sys.stderr)
    sys.exit(2)
