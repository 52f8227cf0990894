"""Console output that cannot control the terminal, and never stops a run.

Control characters, and characters outside its encoding, are printed as escapes. If the
console can no longer be written to, output is discarded and the run continues.
"""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator

from bigmodels.core.errors import escape_controls
from bigmodels.core.paths import CHECKOUT

# How a user starts this program: from a checkout, or by the command of an installation.
COMMAND = 'bigmodels' if CHECKOUT is None else 'python run.py'
# The reader is gone, as with `| head` or a closed terminal.
_LEFT = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF, errno.ECONNRESET,
         errno.ENOTCONN, errno.ESHUTDOWN)


class _Descriptor(io.RawIOBase):
  """Writes to a file descriptor; after a failure, discards without an error.

  Attributes:
    problem: the message of the failure; None if there was none, or if only the reader
      is gone.
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
      except BlockingIOError:  # made nonblocking by another process that shares it
        select.select([], [self._number], [])
      except OSError as error:
        self._leave(error)
        break
    return length

  def _leave(self, error: OSError) -> None:
    """Redirects the descriptor, which libraries and child processes share, to null."""
    if error.errno not in _LEFT:
      self.problem = error.strerror
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, self._number)
    os.close(nowhere)


class Console(io.TextIOWrapper):
  """A text stream that escapes control characters, and survives a lost reader."""

  def __init__(self, number: int, like: io.TextIOWrapper | None = None, *,
               escaping: bool = True):
    """Opens a file descriptor, which stays open when the stream is closed.

    Args:
      number: the descriptor.
      like: the stream to take encoding and buffering from; None for UTF-8.
      escaping: whether control characters are escaped; see `escape_controls`.
    """
    self._descriptor, self._escaping = _Descriptor(number), escaping
    at_once = like is not None and like.write_through
    super().__init__(
      self._descriptor if at_once else io.BufferedWriter(self._descriptor),
      encoding='utf-8' if like is None else like.encoding, errors='backslashreplace',
      line_buffering=like is not None and like.line_buffering, write_through=at_once)

  def write(self, text: str) -> int:
    super().write(escape_controls(text) if self._escaping else text)
    return len(text)

  @property
  def problem(self) -> str | None:
    """Why output was lost, or None; see `_Descriptor`."""
    self.flush()
    return self._descriptor.problem


def unescaped(stream: io.TextIOBase) -> io.TextIOBase:
  """The same console without escapes, for a progress bar that moves the cursor."""
  if not isinstance(stream, Console):
    return stream
  return Console(stream.fileno(), stream, escaping=False)


def install() -> None:
  """Redirects stdout and stderr of this process through `Console`."""
  # A closed descriptor would be reused by the next file, and output would go there.
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
def exit_if_lost() -> Iterator[None]:
  """Makes a successful program exit with code 2 if its output was lost.

  A reader that closed the pipe is not an error.

  Raises:
    SystemExit: with the code.
  """
  try:
    yield
  except SystemExit as end:
    problem = sys.stdout.problem if isinstance(sys.stdout, Console) else None
    if end.code or problem is None:
      raise
    print(f'error: stdout: {problem}; the output is lost, saved files are kept',
          file=sys.stderr)
    sys.exit(2)
