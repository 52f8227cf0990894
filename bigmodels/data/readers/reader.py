"""The interface of readers: new examples, as a finished run reads them.

A source may have `reader(context) -> Reader`, which reads new examples with the
settings of the source and what the run keeps of its training split. Runs of other
sources are asked about arrays and images, see `arrays.ArrayReader`.
"""

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.sources import Columns


class Chunk(NamedTuple):
  """Some consecutive examples of an input.

  Attributes:
    columns: raw columns, `[n, ...]`, as the run's source has them.
    names: of each example: the number of a row, from 0, or the path of a file.
    done: fraction of the whole input that is read after this chunk.
    unit: what `names` are: 'row' or 'file'.
    extra: name -> column `[n]` that is not read, but written beside predictions.
    faults: index in the chunk -> why this example has no prediction.
    labels: `[n]`, as the source has them, if they were asked for.
    steps: name -> `[n, steps]`, if an example has outputs `[steps, ...]`: each step is
      a row of a table of predictions, with these columns.
    targets: names along the last axis of outputs `[n, steps, targets]`.
  """

  columns: Columns
  names: Sequence[int] | Sequence[str]
  done: float
  unit: str = 'row'
  extra: Mapping[str, Sequence] = {}
  faults: Mapping[int, str] = {}
  labels: np.ndarray | None = None
  steps: Mapping[str, np.ndarray] = {}
  targets: Sequence[str] = ()

  @property
  def length(self) -> int:
    """Number of examples."""
    return len(self.names)

  def part(self, start: int, end: int) -> 'Chunk':
    """Returns the examples from `start` to `end`."""
    def cut(values):
      return values[start:end]

    return self._replace(
      columns={name: cut(column) for name, column in self.columns.items()},
      names=cut(self.names),
      extra={name: cut(column) for name, column in self.extra.items()},
      faults={index - start: why for index, why in self.faults.items()
              if start <= index < end},
      labels=None if self.labels is None else cut(self.labels),
      steps={name: cut(column) for name, column in self.steps.items()})


def joined(chunks: Sequence[Chunk]) -> Chunk:
  """Returns consecutive chunks as one."""
  if len(chunks) == 1:
    return chunks[0]
  faults, begin = {}, 0
  for chunk in chunks:
    faults |= {begin + index: why for index, why in chunk.faults.items()}
    begin += chunk.length

  def join(parts: Iterable[Any]) -> Any:
    parts = [*parts]
    if isinstance(parts[0], range):
      return range(parts[0].start, parts[-1].stop)
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [
      value for part in parts for value in part]

  last = chunks[-1]
  return last._replace(
    columns={name: join(c.columns[name] for c in chunks) for name in last.columns},
    names=join(c.names for c in chunks), faults=faults,
    extra={name: join(c.extra[name] for c in chunks) for name in last.extra},
    labels=None if last.labels is None else join(c.labels for c in chunks),
    steps={name: join(c.steps[name] for c in chunks) for name in last.steps})


class Examples(NamedTuple):
  """The examples of an input, which are read when they are needed.

  Attributes:
    chunks: first example -> chunks from there to the end.
    files: the files that are read, in their order.
    length: number of examples, or None if it is known only at the end.
    steps: number of rows of each example in a table of predictions.
    classes: the classes of the labels, if these are not those of the run.
  """

  chunks: Callable[[int], Iterator[Chunk]]
  files: Sequence[str | pathlib.Path]
  length: int | None = None
  steps: int = 1
  classes: Sequence[str] | None = None

  def identity(self) -> list[list]:
    """Returns path, size and time of change of every file, as JSON.

    Raises:
      UserError: if one is gone.
    """
    try:
      stats = [(str(file), os.stat(file)) for file in self.files]
    except OSError as error:
      raise UserError(f'{error.filename}: cannot be read: {error.strerror}') from None
    return [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]


class Reader(Protocol):
  """Reads new examples, as the source of a run reads its own."""

  def takes(self, values: Any) -> bool:
    """Whether `columns` is for such values; others are raw columns, see `ArrayReader`.

    Args:
      values: in memory.
    """

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns raw columns `[n, ...]` of values in memory.

    Args:
      values: the examples, in the form that the reader accepts.
      others: name -> further column.

    Raises:
      UserError: for values that do not fit the run.
    """

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the examples of files and folders.

    Args:
      paths: the files and folders.
      labels: whether to read labels as well, which must be there.

    Raises:
      UserError: for files of another kind, or without what the run reads.
    """


def are_texts(values: Any) -> bool:
  """Returns whether values in memory are a text, or a list of texts."""
  return isinstance(values, str) or (
    isinstance(values, list | tuple) and len(values) > 0
    and all(isinstance(value, str) for value in values))
