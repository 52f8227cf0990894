"""Reads new rows for a run of a table: columns by their names, cleaned as in training.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data import cleaning
from bigmodels.data.cleaning import Frame, is_text, rows_of, take
from bigmodels.data.readers.reader import Chunk, Examples
from bigmodels.data.sources import Columns
from bigmodels.data.tables import csv_files, table_fit
from bigmodels.data.tables.csv_dialects import Reading

SUFFIXES = ('.csv', '.tsv', '.txt')
_ROWS = 2**16  # of a chunk


@dataclasses.dataclass(frozen=True)
class TableReader:
  """Reads new rows as those of the training split.

  No row is dropped: steps that drop rows do not apply. A row whose inputs are not
  finite after cleaning has no prediction.

  Attributes:
    kinds: column -> 'text' or 'numbers': the columns that the run was fitted to.
    steps: (name, step, parameters) of each cleaning step that drops no rows.
    label: name of the label, or None.
    fitted: what was fitted to the label; see `table_fit.fit`.
    reading: settings for reading files.
    categories: columns of `kinds` whose numbers are read as text.
    say: prints a line.
  """

  kinds: Mapping[str, str]
  steps: Sequence[tuple[str, cleaning.Step, cleaning.Parameters]]
  label: str | None
  fitted: Mapping[str, Any]
  reading: Reading
  categories: Sequence[str] = ()
  say: Callable[[str], None] = print

  takes_arrays = False

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns the inputs of rows, float32 `[n, features]`.

    Args:
      values: name -> column `[n]`; a pandas DataFrame; or a list of mappings.
      others: must be empty.

    Raises:
      UserError: if a column is missing or has another type, or a value is missing
        after cleaning.
    """
    if others:
      raise UserError(f'a run of a table reads rows, not {listed(others)}')
    frame = self._frame(values)
    self._say_extra(frame)
    inputs, faults, _ = self._cleaned(frame)
    if faults:
      row, why = next(iter(faults.items()))
      raise UserError(f'{len(faults):,} of {len(inputs):,} rows have no prediction: '
                      f'row {row}: {why}')
    return {'inputs': inputs}

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the rows of files; see `Reader`.

    Raises:
      UserError: for labels of a run without a label.
    """
    if labels and self.label is None:
      raise UserError('this run has no label that could be read')

    def chunks(first: int) -> Iterator[Chunk]:
      lost, read = collections.Counter(), 0
      for path in paths:
        with _naming(path):
          for frame, done in self._frames(path, labels):
            count = rows_of(frame)
            skipped = min(max(first - read, 0), count)
            if skipped < count:
              yield self._chunk(take(frame, np.arange(skipped, count)), read + skipped,
                                done, labels, lost)
            read += count
      self._say_lost(lost, read - first)

    return Examples(chunks)

  def _chunk(self, frame: Frame, first: int, done: float, labels: bool,
             lost: collections.Counter) -> Chunk:
    inputs, faults, found = self._cleaned(frame)
    lost.update(found)
    encoded = None
    if labels:
      column = frame[self.label]
      there = ~cleaning.missing(column)
      encoded = np.full(len(column), -1, np.int32 if self.fitted else np.float32)
      encoded[there] = table_fit.encode(column[there], self.fitted)
      faults |= dict.fromkeys(np.flatnonzero(~there).tolist(),
                              f'has no value of {self.label}')
    return Chunk({'inputs': inputs}, range(first, first + len(inputs)), done,
                 faults=faults, labels=encoded)

  def _frames(self, path: pathlib.Path, labels: bool) -> Iterator[tuple[Frame, float]]:
    """Frames of the rows of a file, and the fraction that is read after each."""
    file = csv_files.read(path, self.reading)
    self._say_extra(file.frame)
    wanted = [*self.kinds, *([self.label] if labels else [])]
    for name in wanted:
      if name not in file.frame:
        raise UserError(f'no column {name!r}, which the run was fitted to'
                        f'{nearest(name, file.frame)}')
    frame = {name: file.frame[name] for name in wanted}
    rows = rows_of(frame)
    for start in range(0, rows, _ROWS):
      part = np.arange(start, min(start + _ROWS, rows))
      yield take(frame, part), (part[-1] + 1) / rows

  def _say_extra(self, names: Mapping[str, Any]) -> None:
    extra = [n for n in names if n not in self.kinds and n != self.label]
    if extra:
      self.say(f'columns that the run was not fitted to, and that are not read: '
               f'{listed(extra)}')

  def _say_lost(self, lost: Mapping[tuple[str, str], int], rows: int) -> None:
    """Prints the values that each step lost, of all rows that were read."""
    for name, step, _ in self.steps:
      found = [f'{column} ({count:,} of {rows:,})' for (of, column), count
               in lost.items() if of == name]
      if found:
        self.say(f'{name}: {listed(found)}: {step.loss_note.partition(";")[0]}')

  def _cleaned(self, frame: Frame
               ) -> tuple[np.ndarray, dict[int, str], dict[tuple[str, str], int]]:
    """The inputs; why rows have no prediction; (step, column) -> values it lost."""
    features = table_fit.features_like(self._categories(frame), self.kinds)
    lost: dict[tuple[str, str], int] = {}
    for name, step, parameters in self.steps:
      before, features = features, step.apply(parameters, features)
      losses = step.losses(parameters, before, features)
      lost |= {(name, column): count for column, count in losses.items() if count}
    texts = [name for name, column in features.items() if is_text(column)]
    if texts:
      raise UserError(f'still text after cleaning: {listed(texts)}')
    with np.errstate(over='ignore', invalid='ignore'):
      inputs = np.stack([*features.values()], 1).astype(np.float32)
    wrong = ~np.isfinite(inputs)
    faults = {}
    for row in np.flatnonzero(wrong.any(1)).tolist():
      names = [name for name, bad in zip(features, wrong[row], strict=True) if bad]
      faults[row] = f'{listed(names)}: missing or too large after cleaning'
    inputs[wrong.any(1)] = 0
    return inputs, faults, lost

  def _categories(self, frame: Frame) -> Frame:
    """The columns, with numbers that are categories as text."""
    return frame | {
      name: np.array(['' if np.isnan(v) else table_fit.class_name(v)
                      for v in frame[name].tolist()], object)
      for name in self.categories if name in frame and not is_text(frame[name])}

  def _frame(self, values: Any) -> Frame:
    """Values in memory as columns."""
    if isinstance(values, Sequence) and values and all(
      isinstance(row, Mapping) for row in values):
      names = dict.fromkeys(name for row in values for name in row)
      values = {name: [row.get(name) for row in values] for name in names}
    if not isinstance(values, Mapping) and not hasattr(values, 'columns'):
      raise UserError(
        f'a run of a table reads rows with the columns {listed(self.kinds)}, which it '
        'cleans: name -> values, a DataFrame or a list of mappings; got '
        f'{type(values).__name__}')
    names = [*(values if isinstance(values, Mapping) else values.columns)]
    frame = {str(name): _column(str(name), values[name], self.kinds.get(str(name)))
             for name in names}
    lengths = {name: len(column) for name, column in frame.items()}
    if len(set(lengths.values())) > 1:
      raise UserError('columns differ in length: ' + listed(
        f'{name} {length:,}' for name, length in lengths.items()))
    if not rows_of(frame):
      raise UserError('must have >= 1 row, got 0')
    return frame


def of_features(features: Sequence[str], target: str | None,
                classes: Sequence[str] | None, say: Callable[[str], None]
                ) -> TableReader:
  """Returns a reader for inputs whose features have names, and no cleaning.

  Args:
    features: the columns, all of numbers.
    target: name of the label, or None.
    classes: the classes of the label, or None if it is a number.
    say: prints a line.
  """
  fitted = {} if classes is None else {'values': [*classes], 'classes': [*classes]}
  return TableReader(dict.fromkeys(features, 'numbers'), (), target, fitted, Reading(),
                     say=say)


def _column(name: str, values: Any, kind: str | None) -> np.ndarray:
  """A column in memory: float64 with NaN, or `object` of `str` with ''."""
  array = np.asarray(values)
  if array.ndim != 1:
    raise UserError(f'column {name!r}: must have one value for each row, got the shape '
                    f'{array.shape}')
  if array.dtype.kind in 'biuf' and kind != 'text':
    return array.astype(np.float64)
  cells = [None if value is None or value != value else value
           for value in array.tolist()]
  if kind == 'text':
    return np.array(['' if cell is None else table_fit.class_name(float(cell))
                     if isinstance(cell, int | float) and not isinstance(cell, bool)
                     else str(cell).strip() for cell in cells], object)
  try:
    return np.array([np.nan if cell in (None, '') else float(cell) for cell in cells])
  except (TypeError, ValueError):
    if kind is None:  # it is not read
      return np.array([str(cell) for cell in cells], object)
    row = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    raise UserError(f'column {name!r} must be numbers, as when the run was fitted; row '
                    f'{row} is {cells[row]!r}') from None


def _is_number(cell: Any) -> bool:
  try:
    return cell in (None, '') or float(cell) is not None
  except (TypeError, ValueError):
    return False


class _naming:
  """Adds the path of a file to errors."""

  def __init__(self, path: pathlib.Path):
    self._path = path

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    if isinstance(error, UserError) and not str(error).startswith(str(self._path)):
      raise UserError(one_line(f'{self._path}: {error}')) from error
