"""Reads new examples of files that are read as a whole."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bigmodels.core.errors import UserError
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples
from bigmodels.data.sources import Columns
from bigmodels.data.tables.csv_dialects import Reading

_ROWS = 2**13  # of a chunk


@dataclasses.dataclass(frozen=True)
class WholeReader:
  """Reads all examples of files at once, as their shapes depend on all of them.

  Attributes:
    read: (paths, whether to read labels, settings for reading tables) -> all examples.
    suffixes: of the files that are read in a folder.
    reading: settings for reading tables; None if no tables are read.
    say: prints a line.
  """

  read: Callable[[Sequence[pathlib.Path], bool, Reading | None], Chunk]
  suffixes: tuple[str, ...]
  reading: Reading | None = None
  say: Callable[[str], None] = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`."""
    return False

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """See `Reader.columns`. Raises UserError, as examples are read from files."""
    raise UserError('this run reads new examples from files: give their pathlib.Path')

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the examples of files; see `Reader`.

    Raises:
      UserError: for files that do not fit the run.
    """
    every = [file for path in paths for file in of_suffix(
      path, self.suffixes, self.say)]
    whole = self.read(every, labels, self.reading)

    def chunks(first: int) -> Iterator[Chunk]:
      for start in range(first, whole.length, _ROWS):
        end = min(start + _ROWS, whole.length)
        yield whole.part(start, end)._replace(done=end / whole.length)

    return Examples(chunks, every, whole.length)
