"""The labels and given splits of files: from their folders, or from a CSV file."""

import os
import pathlib
import unicodedata
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data.folders import listing
from bigmodels.data.sources import SPLIT_NAMES, canonical, renamed_splits
from bigmodels.data.tables import csv_dialects


class FileLabels(NamedTuple):
  """Files with labels.

  Attributes:
    paths: the files.
    names: name of each, for lines: its path from the given folder.
    labels: int32 classes or float32 numbers, `[n]`; None for files without labels.
    classes: names of the classes, or None.
    splits: the given split of each file; None if none are given.
    source: where splits are given, such as 'folders'.
    lines: what was found and skipped, to print.
  """

  paths: list[str]
  names: list[str]
  labels: np.ndarray | None
  classes: tuple[str, ...] | None
  splits: list[str] | None
  source: str
  lines: list[str]

  def numbered(self, rows: np.ndarray) -> 'FileLabels':
    """Returns the same with the classes of some files only, numbered anew.

    Args:
      rows: the files, int `[k]`; the labels of others become -1.
    """
    present = np.unique(self.labels[rows])
    number = np.full(len(self.classes), -1, np.int32)
    number[present] = np.arange(len(present))
    return self._replace(labels=number[self.labels],
                         classes=tuple(self.classes[i] for i in present))


def normalized(name: str) -> str:
  """Returns a name with composed accents (NFC); macOS writes decomposed ones."""
  return unicodedata.normalize('NFC', name)


# --- folders --------------------------------------------------------------------


def of_folders(found: listing.Found, what: str, *, labelled: bool) -> FileLabels:
  """Returns files with the names of their folders as classes.

  A file is `CLASS/...`, or `SPLIT/CLASS/...` if the outer folders are named `train`
  and perhaps `validation` and `test`. A file of a pattern has the class of its folder.

  Args:
    found: the files.
    what: what they are, such as 'image', for messages.
    labelled: whether there are classes; otherwise files may lie anywhere.

  Raises:
    UserError: if a class has no file, there are fewer than two, or outer folders are
      partly splits.
  """
  given = {root: _are_splits(names) for root, names in found.folders.items()}
  if len({*given.values()}) > 1:
    raise UserError('paths: some have folders such as train and test, others not; give '
                    'folders of one kind')
  in_splits = True in given.values()
  depth = in_splits + labelled  # folders above a file
  kept, outside = [], []
  for file in found.files:
    parts = file.name.split('/')
    if file.root in found.folders:
      (kept if len(parts) > depth else outside).append((file, parts))
    else:  # given itself, or matches a pattern
      kept.append((file, [os.path.basename(os.path.dirname(file.path)), file.name]))
  lines = [*found.lines]
  if outside:
    where = ' and '.join(['split'] * in_splits + ['class'] * labelled)
    lines.append(f'skipped: {listing.counted(len(outside), what)} in no folder of a '
                 f'{where} (such as {outside[0][0].name})')
  if not kept:
    raise UserError(
      f'no {what} lies in a folder of a class, as in CLASS/NAME' +
      (f', only beside them, such as {outside[0][0].name}' if outside else '') +
      (f' ({found.lines[0]})' if found.lines else '') +
      '; labels may also be in a CSV file, which is then the path')
  splits = [canonical(parts[0]) for _, parts in kept] if in_splits else None
  if in_splits:
    lines += renamed_splits([parts[0] for _, parts in kept], 'the folder')
  labels, classes = None, None
  if labelled:
    texts = [normalized(parts[in_splits]) for _, parts in kept]
    classes = tuple(sorted({*texts}))
    _check_folders(found, classes, what, in_splits)
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[text] for text in texts], np.int32)
  return FileLabels([file.path for file, _ in kept], _names(kept), labels, classes,
                    splits, 'folders', lines)


def _are_splits(folders: Sequence[str]) -> bool:
  """Whether the outer folders are splits."""
  outer = [name for name in folders if '/' not in name]
  named = [name for name in outer if name.lower() in SPLIT_NAMES]
  others = [name for name in outer if name not in named]
  if 'train' not in map(canonical, named) or (others and len(named) < 2):
    return False
  if others:
    raise UserError(f'the folders {listed(named)} are names of splits, '
                    f'{listed(others)} {"is" if len(others) == 1 else "are"} not; use '
                    'only splits or only classes')
  canonicals = [canonical(name) for name in named]
  for name in named:
    if canonicals.count(canonical(name)) > 1:
      raise UserError(f'the folders {listed(named)} are one split under two names: '
                      f'{canonical(name)}')
  return True


def _check_folders(found: listing.Found, classes: tuple[str, ...], what: str,
                   in_splits: bool) -> None:
  depth = int(in_splits)
  named = {normalized(name.split('/')[-1]) for names in found.folders.values()
           for name in names if name.count('/') == depth}
  empty = sorted(named - {*classes})
  if empty:
    raise UserError(f'the folder of the class {empty[0]!r} has no {what}' + (
      f', as have those of {listed(map(repr, empty[1:]))}' if empty[1:] else '') + (
      f' ({found.lines[0]})' if found.lines else '') +
      '; fill or remove it')
  if len(classes) < 2:
    raise UserError(f'there is one class, {classes[0]!r}; classification needs two or '
                    'more folders, as in CLASS/NAME')


def _names(kept: Sequence[tuple[listing.File, list[str]]]) -> list[str]:
  """Names for lines; from two paths they may be the same, and are then whole paths."""
  names = ['/'.join(parts) for _, parts in kept]
  if len({*names}) == len(names):
    return names
  return [file.path for file, _ in kept]


# --- CSV files ------------------------------------------------------------------


def of_csv(path: pathlib.Path, what: str, *, folder: pathlib.Path, file: str,
           label: str | None, split: str | None, numbers: bool,
           least: int = 2) -> FileLabels:
  """Returns the files that a CSV file lists, one a row.

  Args:
    path: the CSV file, with a header.
    what: what the files are, such as 'image', for messages.
    folder: folder to which names of files are relative.
    file: column of the names of files.
    label: column of the labels; None for files without labels.
    split: column of the splits; None for the column `split` if there is one, '' for
      none.
    numbers: whether labels are numbers, otherwise classes.
    least: minimum number of classes.

  Raises:
    UserError: if a column, a file or a split is missing, or a label is not a number.
  """
  try:
    return _of_csv(path, what, folder, file, label, split, numbers, least)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except OSError as error:
    raise UserError(f'{path}: cannot be read: {error.strerror}') from None


def _of_csv(path, what, folder, file, label, split, numbers, least) -> FileLabels:
  table = csv_dialects.content(path, csv_dialects.Reading())
  records = table.records()
  _, header = next(records, (1, []))
  header = [name.strip() for name in header]
  lines = [f'{path.name}: {note}' for note in table.notes]
  if split is None and header.count('split') == 1 and 'split' not in (file, label):
    split = 'split'
    lines.append("splits are those of the column 'split' (split_column='' ignores it)")
  for field, column in (('file', file), ('label', label), ('split', split)):
    if column and header.count(column) != 1:
      how = 'several columns are' if column in header else 'no column is'
      raise UserError(f'{how} called {column!r} ({field}_column= sets it)' + (
        '' if column in header else nearest(column, header)))
  rows, unlabelled, missing = [], [], []
  for line, values in records:
    if len(values) != len(header):
      raise UserError(f'line {line} has {len(values)} values, the header has '
                      f'{len(header)}')
    row = dict(zip(header, map(str.strip, values), strict=True))
    if label and not row[label]:
      unlabelled.append(line)
      continue
    if split and not row[split]:
      raise UserError(f'line {line}: no value in the column {split!r} of splits')
    found = file_at(folder, row[file]) if row[file] else None
    if found is None:
      missing.append((line, row[file]))
    rows.append((found, row[file], label and row[label], split and row[split], line))
  if missing:
    raise UserError(
      f'{len(missing):,} of {len(rows):,} {what}s are not in {folder}, such as '
      f'{missing[0][1]!r} (line {missing[0][0]}); folder= sets where they are')
  if not rows:
    raise UserError('no row has a file and a label')
  if unlabelled:
    lines.append(f'skipped: {listing.counted(len(unlabelled), "row")} without a value '
                 f'of {label} (the first is line {unlabelled[0]})')
  labels, classes = None, None
  if label and numbers:
    labels = np.array([_number(row[2], label, row[4]) for row in rows], np.float32)
  elif label:
    classes = _sorted({normalized(row[2]) for row in rows})
    if len(classes) < least:
      raise UserError(f'the column {label!r} has one class, {classes[0]!r}; '
                      'classification needs two or more')
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[normalized(row[2])] for row in rows], np.int32)
  if split:
    lines += renamed_splits([row[3] for row in rows], f'in the column {split!r},')
  return FileLabels(
    [row[0] for row in rows], [row[1] for row in rows], labels, classes,
    [canonical(row[3]) for row in rows] if split else None,
    f'the column {split!r}', lines)


def file_at(folder: pathlib.Path, name: str) -> str | None:
  """Returns the file of a name, which Windows or macOS may have written, or None."""
  forms = [name, unicodedata.normalize('NFC', name), unicodedata.normalize('NFD', name)]
  if '\\' in name:
    forms.append(name.replace('\\', '/'))
  places = (os.path.join(folder, form) for form in forms)
  return next(filter(os.path.isfile, places), None)


def _number(text: str, column: str, line: int) -> float:
  try:
    value = float(text)
  except ValueError:
    raise UserError(f"line {line}, column {column!r}: {one_line(text, 40)!r} is not a "
                    "number; task='classification' turns text into classes") from None
  if not abs(value) <= np.finfo(np.float32).max:
    raise UserError(f'line {line}, column {column!r}: {text} is not a number that '
                    'float32 can hold')
  return value


def _sorted(classes: Collection[str]) -> tuple[str, ...]:
  """Classes sorted as numbers if all are integers, otherwise as text."""
  if all(name.lstrip('-').isdecimal() and name.isascii() for name in classes):
    return tuple(sorted(classes, key=lambda name: (int(name), name)))
  return tuple(sorted(classes))
