"""The processes of a run, as the rest of bigmodels sees them."""

from collections.abc import Callable


class ProcessGroup:
  """The processes of a run: a single one here, which has nobody to communicate with.

  Attributes:
    rank: of this process.
    count: of processes.
    main: whether this is process 0.
  """

  rank, count, main = 0, 1, True
  _say: Callable[[str], None] | None = None

  def __init__(self, say: Callable[[str], None] | None = None):
    """A single process.

    Args:
      say: prints a line; None for stdout.
    """
    self._say = say

  def mark_progress(self) -> None:
    """Records that the main thread has reached the next point that all must reach."""

  def announce(self) -> None:
    """Prints a line about this process and its devices, if it is one of several."""

  def say(self, text: str) -> None:
    """Prints a line, on process 0 only."""
    if self._say is not None:
      self._say(text)
    elif self.main:
      print(text, flush=True)

  def broadcast(self, text: str | None) -> str:
    """Returns the text of process 0 in all processes."""
    return text or ''

  def barrier(self, name: str) -> None:
    """Returns when all processes have called it."""

  def agree(self, what: str, text: str) -> None:
    """Checks that all processes have the same text.

    Args:
      what: the text is, such as 'the config'.
      text: any.

    Raises:
      UserError: in every process if they differ; it names the processes that differ
        from most, and the lines.
    """

  def await_report(self, error: BaseException) -> None:
    """Waits for the report of a lost process, if one may be the cause of an error.

    The report ends this process. Otherwise this returns, at once if the error is not
    one of communication.

    Args:
      error: of the context of this process.
    """

  def leave(self, error: str | None = None, code: int = 2) -> None:
    """Disconnects from the others; the last method to be called.

    Args:
      error: of this process, which has to print it. The others end with it at once,
        and this process exits without waiting for them.
      code: of that exit.
    """
