"""Reads new texts for a run of texts."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples, are_texts
from bigmodels.data.sources import Columns
from bigmodels.data.tables import compressed, table_files, text_columns
from bigmodels.data.tables.csv_dialects import Reading

_TEXTS = 2**13  # of a chunk


@dataclasses.dataclass(frozen=True)
class TextReader:
  """Reads new texts: the lines of `.txt` files, or a column of tables, all of which may
  be compressed.

  A text that is empty has no prediction.

  Attributes:
    tokens: texts -> raw columns `[n, ...]`, as the run's source makes them; and index
      -> why a text has no prediction.
    text: name of the column of texts.
    label: name of the column of labels, or None.
    classes: the classes that labels are.
    reading: settings for reading tables.
    say: prints a line.
  """

  tokens: Callable[[Sequence[str]], tuple[Columns, dict[int, str]]]
  text: str
  label: str | None = None
  classes: Sequence[str] = ()
  reading: Reading = Reading()  # noqa: RUF009 (frozen)
  say: Callable[[str], None] = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`."""
    return are_texts(values)

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns the columns of texts.

    Args:
      values: a list of texts.
      others: must be empty.

    Raises:
      UserError: for anything else.
    """
    texts = [values] if isinstance(values, str) else [*values]
    if others or not texts or not all(
      isinstance(text, str) and text.strip() for text in texts):
      raise UserError(f'a run of texts reads a list of texts that are not empty, '
                      f'got {str(values)[:60]!r}')
    columns, faults = self.tokens(texts)
    for index, why in faults.items():
      raise UserError(f'text {index} {why}')
    return columns

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the texts of files; see `Reader`.

    Raises:
      UserError: for files without texts, or without labels that are asked for.
    """
    if labels and self.label is None:
      raise UserError('this run has no labels that could be read from files')
    every = [file for path in paths
             for file in of_suffix(path, table_files.SUFFIXES, self.say)]
    read = [(path, *self._read(path, labels)) for path in every]
    texts = [text for _, found, _ in read for text in found]
    if not texts:
      raise UserError(f'{listed(map(str, every))}: there is no text in it')
    given = [label for _, _, found in read for label in found]
    index = {name: number for number, name in enumerate(self.classes)}

    def chunks(first: int) -> Iterator[Chunk]:
      for start in range(first, len(texts), _TEXTS):
        part = texts[start : start + _TEXTS]
        empty = {i: 'is empty' for i, text in enumerate(part) if not text.strip()}
        columns, faults = self.tokens([text if text.strip() else '.' for text in part])
        encoded = None
        if labels:
          encoded = np.array([
            index[label] for label in given[start : start + _TEXTS]], np.int32)
        yield Chunk(columns, range(start, start + len(part)),
                    (start + len(part)) / len(texts), faults=faults | empty,
                    labels=encoded)

    return Examples(chunks, every, len(texts))

  def _read(self, path: pathlib.Path, labels: bool) -> tuple[list[str], list[str]]:
    """The texts of a file, and their labels."""
    if _inner_suffix(path) == '.txt' and labels:
      raise UserError(f'{path}: has no labels; must be a table with the columns '
                      f'{self.text} and {self.label}')
    names = [self.text, *([self.label] if labels else [])]
    try:
      if _inner_suffix(path) == '.txt':
        return _lines(compressed.read(path)), []
      found = text_columns.read(path, names, self.reading)
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
    except OSError as error:
      raise UserError(f'{path}: cannot be read: {error.strerror}') from None
    given = [label.strip() for label in found.columns[self.label]] if labels else []
    for row, label in enumerate(given):
      if label not in self.classes:
        raise UserError(
          f'{path}: line {found.line(row)}: the label {label!r} is not one of '
          f'{listed(self.classes)}{nearest(label, self.classes)}')
    return found.columns[self.text], given


def _inner_suffix(path: pathlib.Path) -> str:
  """The suffix of a file, without that of its compression."""
  if path.suffix.lower() in compressed.SUFFIXES:
    path = path.with_suffix('')
  return path.suffix.lower()


def _lines(data: bytes) -> list[str]:
  """The lines of a text file, which end in LF or CRLF."""
  text = files.text_of(data)
  lines = text.removesuffix('\n').split('\n') if text else []
  return [line.removesuffix('\r') for line in lines]
