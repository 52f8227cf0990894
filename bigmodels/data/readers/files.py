"""Reads new files, such as images of any size, as the source of a run reads its own."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.core.paths import readable
from bigmodels.data.folders import decoding, labels, listing
from bigmodels.data.folders.labels import normalized
from bigmodels.data.readers.reader import Chunk, Examples, are_texts
from bigmodels.data.sources import Columns

_FILES = 256  # of a chunk


@dataclasses.dataclass(frozen=True)
class FileReader:
  """Reads files: those given, those of folders, or those that a CSV file lists.

  Attributes:
    reading: how a file becomes an example.
    suffixes: suffixes of the files in folders, in lower case.
    classes: the classes of the run, or None. A file is of the class whose name its
      folder has, or a folder around that.
    file_column, label_column: columns of CSV files.
    say: prints a line.
    any_class: whether labels may be any names, such as people that a run has not seen:
      those of the folders that the files are in, or of the column.
    unlabelled: why files have no labels for the run; '' if they have.
  """

  reading: decoding.Reading
  suffixes: Collection[str]
  classes: Sequence[str] | None
  file_column: str = 'file'
  label_column: str = 'label'
  say: Callable[[str], None] = print
  any_class: bool = False
  unlabelled: str = ''

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`; texts, perhaps paths, are refused by `columns`."""
    return are_texts(values)

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Refuses values in memory that are not arrays; see `Reader`.

    Raises:
      UserError: always.
    """
    del others
    raise UserError(f'a run of {self.reading.kind}s reads arrays or files, which are '
                    f'pathlib.Path, not {type(values).__name__}')

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the examples of files and folders; see `Reader`.

    Raises:
      UserError: if there is no such file, or one without a label that is asked for.
    """
    if labels and self.unlabelled:
      raise UserError(self.unlabelled)
    found, given, classes = self._found(paths, labels)

    def chunks(first: int) -> Iterator[Chunk]:
      notes: dict[str, list[str]] = {}
      for start in range(first, len(found), _FILES):
        part = found[start : start + _FILES]
        inputs, reasons, converted = decoding.examples(
          self.reading, part, np.zeros((len(part), 2), np.uint64), threads=True)
        for name, of_file in zip(part, converted, strict=True):
          for note in of_file:
            notes.setdefault(note, []).append(name)
        faults = {index: f'cannot be decoded: {why}'
                  for index, why in enumerate(reasons) if why is not None}
        end = start + len(part)
        yield Chunk({'inputs': inputs}, [*map(readable, part)], end / len(found),
                    'file', faults=faults,
                    labels=None if given is None else given[start:end])
      for note, names in notes.items():
        self.say(f'{listing.counted(len(names), self.reading.kind)} {note} (such as '
                 f'{names[0]})')

    return Examples(chunks, found, len(found), classes=classes)

  def _found(self, paths: Sequence[pathlib.Path], labelled: bool
             ) -> tuple[list[str], np.ndarray | None, Sequence[str] | None]:
    """The files, and their labels if these are asked for, and classes."""
    tables = [path for path in paths if path.suffix.lower() == '.csv']
    if tables:
      if len(paths) > 1:
        raise UserError(f'{tables[0]}: a CSV file must be the only input')
      return self._listed(tables[0], labelled)
    found = listing.find([*map(str, paths)], self.suffixes, what=self.reading.kind)
    for line in found.lines:
      self.say(line)
    names = [file.path for file in found.files]
    if not names:
      raise UserError(f'{listed(map(str, paths))}: there is no {self.reading.kind}')
    if not labelled:
      return names, None, None
    if self.any_class:
      folders = [normalized(pathlib.Path(file.path).parent.name)
                 for file in found.files]
      classes, numbers = np.unique(folders, return_inverse=True)
      return names, numbers.astype(np.int32), [*map(str, classes)]
    if self.classes is None:
      raise UserError('labels that are numbers must be in a CSV file of the columns '
                      f'{self.file_column} and {self.label_column}')
    index = {normalized(name): number for number, name in enumerate(self.classes)}
    return names, np.array([
      self._class(file, index, inside=file.root in found.folders)
      for file in found.files], np.int32), None

  def _listed(self, path: pathlib.Path, labelled: bool
              ) -> tuple[list[str], np.ndarray | None, Sequence[str] | None]:
    """The files in a CSV file."""
    found = labels.of_csv(
      path, self.reading.kind, folder=path.parent, file=self.file_column, split='',
      label=self.label_column if labelled else None,
      numbers=self.classes is None and not self.any_class, least=1)
    for line in found.lines:
      self.say(line)
    if not labelled or self.any_class or self.classes is None:
      return found.paths, found.labels, found.classes if self.any_class else None
    for name in found.classes:
      if name not in self.classes:
        raise UserError(f'{path}: the label {name!r} is not one of the classes of the '
                        f'run: {listed(self.classes)}{nearest(name, self.classes)}')
    number = np.array([[*self.classes].index(name) for name in found.classes], np.int32)
    return found.paths, number[found.labels], None

  def _class(self, file: listing.File, index: Mapping[str, int], *, inside: bool
             ) -> int:
    """The class of a file, by the folders around it, the nearest first.

    Args:
      file: the file.
      index: name of a class -> its number.
      inside: whether it lies in a folder that was given; folders around that do not
        count. Otherwise its own folder does.
    """
    folders = pathlib.Path(file.name if inside else file.path).parts[:-1]
    for folder in reversed(folders if inside else folders[-1:]):
      if normalized(folder) in index:
        return index[normalized(folder)]
    where = folders[-1] if folders else ''
    raise UserError(f'{file.path}: no folder around it has the name of a class: '
                    f'{listed(self.classes)}{nearest(where, self.classes)}')
