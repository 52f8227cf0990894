"""Reads new rows for a run of a table: columns by their names, cleaned as in training.
"""

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed, one_line
from bigmodels.core.prefetching import prefetch
from bigmodels.data import cleaning
from bigmodels.data.frames import Frame, is_text, missing, rows_of
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples
from bigmodels.data.sources import Columns
from bigmodels.data.tables import compressed, streamed, table_files, table_fit
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.table_files import SUFFIXES

_NAMED = 5  # values of a category that are named
_AHEAD = 4  # frames that are parsed while others are cleaned
_VALUES = 2**20  # maximum number of a frame with many columns


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
    weight: name of the column of weights, which is read with labels, or None.
    extra: columns to write beside predictions, where they are there.
    ignored: further columns of the training file that are not features.
    fitted_to: digest of the files of the training split, or ''.
    say: prints a line.
  """

  kinds: Mapping[str, str]
  steps: Sequence[tuple[str, cleaning.Step, cleaning.Parameters]]
  label: str | None
  fitted: Mapping[str, Any]
  reading: Reading
  weight: str | None = None
  extra: Sequence[str] = ()
  ignored: Sequence[str] = ()
  fitted_to: str = ''
  say: Callable[[str], None] = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`."""
    return True

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
    self._say_unused(frame)
    lost = _Lost()
    inputs, faults = self._cleaned(frame, lost)
    self._say_lost(lost, len(inputs))
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
    files = [file for path in paths for file in of_suffix(
      path, SUFFIXES, self.say)]
    if labels and self.fitted_to:
      for file in files:
        table_files.require(file)
      if self.fitted_to == table_files.digest_of([*map(compressed.digest, files)]):
        self.say(f'warning: {listed(map(str, files))}: what the run was trained on; '
                 'rows of the training split are evaluated too')

    def chunks(first: int) -> Iterator[Chunk]:
      lost, begin = _Lost(), first
      with _naming(files):
        frames = self._frames(files, labels, first)
        said = len(frames.lines)
        parsed = ((frame, frames.fraction) for frame in frames)
        for frame, done in prefetch(parsed, _AHEAD):
          yield self._chunk(frame, begin, done, labels, lost)
          begin += rows_of(frame)
        if not begin:
          raise UserError(f'{listed(map(str, files))}: no rows' if len(files) > 1 else
                          'has a header and no rows')
      for line in frames.lines[said:]:
        self.say(line)
      if frames.infinite:
        self.say('missing: infinite or too large for float32: ' + listed(
          f'{name} ({count:,} of {begin - first:,})'
          for name, count in frames.infinite.items()))
      self._say_lost(lost, begin - first)

    return Examples(chunks, files)

  def _frames(self, files: list[pathlib.Path], labels: bool, first: int
              ) -> streamed.Frames:
    """The rows of files, from one on: the columns to read, and those to pass on."""
    kinds = {**self.kinds}
    if labels:
      text = all(isinstance(value, str) for value in self.fitted.get('values', [0.0]))
      kinds[self.label] = 'text' if text else 'numbers'
      kinds |= {self.weight: 'numbers'} if self.weight else {}
    rows = max(2**10, min(2**14, _VALUES // len(kinds)))
    frames = streamed.frames(files, self.reading, kinds, rows, first)
    for name in self.extra:
      if name not in frames.unused:
        self.say(f'no column {name!r}, which names the rows: it is left out')
    if there := [name for name in self.extra if name in frames.unused]:
      kinds |= dict.fromkeys(there, 'written')
      frames = streamed.frames(files, self.reading, kinds, rows, first)
    for line in frames.lines:
      self.say(line)
    self._say_unused(frames.unused)
    return frames

  def _chunk(self, frame: Frame, first: int, done: float, labels: bool,
             lost: '_Lost') -> Chunk:
    inputs, faults = self._cleaned(frame, lost)
    columns, encoded = {'inputs': inputs}, None
    if labels and self.weight:
      weights = frame[self.weight].astype(np.float32)
      faults |= dict.fromkeys(np.flatnonzero(~(weights >= 0)).tolist(),
                              f'{self.weight} must be a number >= 0')
      columns['weights'] = weights
    if labels:
      column, respelled = table_fit.respelled_label(
        self.label, frame[self.label], self.fitted)
      lost.respelled |= dict.fromkeys(respelled)
      there = ~missing(column)
      encoded = np.full(len(column), -1, np.int32 if self.fitted else np.float32)
      encoded[there] = table_fit.encode(column[there], self.fitted)
      faults |= dict.fromkeys(np.flatnonzero(~there).tolist(),
                              f'has no value of {self.label}')
    extra = {name: frame[name].tolist() for name in self.extra if name in frame}
    return Chunk(columns, range(first, first + len(inputs)), done,
                 extra=extra, faults=faults, labels=encoded)

  def _say_unused(self, names: Iterable[str]) -> None:
    unused = [name for name in names if name not in self.kinds
             and name not in (self.label, *self.extra, *self.ignored)]
    if unused:
      self.say(f'columns that the run was not fitted to, and that are not read: '
               f'{listed(unused)}')

  def _say_lost(self, lost: '_Lost', rows: int) -> None:
    """Prints the values that each step lost, of all rows that were read."""
    if lost.respelled:
      self.say(f'{listed(lost.respelled)}, as in training')
    for name, step, _ in self.steps:
      found = []
      for (of, column), count in lost.counts.items():
        if of == name:
          values = lost.values.get((of, column), {})
          such = f', such as {listed(map(repr, values))}' if values else ''
          found.append(f'{column} ({count:,} of {rows:,}{such})')
      if found:
        self.say(f'{name}: {listed(found)}: {step.loss_note.partition(";")[0]}')

  def _cleaned(self, frame: Frame, lost: '_Lost') -> tuple[np.ndarray, dict[int, str]]:
    """The inputs, and why rows have no prediction; adds what steps lose to `lost`."""
    features, respelled = table_fit.respelled(
      table_fit.features_like(frame, self.kinds),
      [(step, parameters) for _, step, parameters in self.steps])
    lost.respelled |= dict.fromkeys(respelled)
    for name, step, parameters in self.steps:
      before, features = features, step.apply(parameters, features)
      lost.add(name, step, parameters, before, features)
    texts = [name for name, column in features.items() if is_text(column)]
    if texts:
      raise UserError(f'still text after cleaning: {listed(texts)}')
    inputs = np.empty((rows_of(frame), len(features)), np.float32)
    with np.errstate(over='ignore', invalid='ignore'):
      for index, column in enumerate(features.values()):
        inputs[:, index] = column
    wrong = ~np.isfinite(inputs)
    faults = {}
    if wrong.any():
      rows = np.flatnonzero(wrong.any(1))
      for row in rows.tolist():
        names = [name for name, bad in zip(features, wrong[row], strict=True) if bad]
        faults[row] = f'{listed(names)}: missing or too large after cleaning'
      inputs[rows] = 0
    return inputs, faults

  def _frame(self, values: Any) -> Frame:
    """Values in memory as columns."""
    if isinstance(values, str) and pathlib.Path(values).suffix:
      raise UserError(f'a file is given as pathlib.Path({values!r})')
    if isinstance(values, Sequence) and not len(values):
      raise UserError('must have >= 1 row, got 0')
    if isinstance(values, Sequence) and values and all(
      isinstance(row, Mapping) for row in values):
      names = dict.fromkeys(name for row in values for name in row)
      values = {name: [row.get(name) for row in values] for name in names}
    if not isinstance(values, Mapping) and not hasattr(values, 'columns'):
      raise UserError(
        f'a run of a table reads rows with the columns {listed(self.kinds)}, which it '
        'cleans: name -> values, a DataFrame or a list of mappings, or files as '
        f'pathlib.Path; got {type(values).__name__}')
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
                classes: Sequence[str] | None, reading: Reading,
                say: Callable[[str], None]) -> TableReader:
  """Returns a reader for inputs whose features have names, and no cleaning.

  Args:
    features: the columns, all of numbers.
    target: name of the label, or None.
    classes: the classes of the label, or None if it is a number.
    reading: settings for reading files.
    say: prints a line.
  """
  fitted = {} if classes is None else {'values': [*classes], 'classes': [*classes]}
  return TableReader(dict.fromkeys(features, 'numbers'), (), target, fitted, reading,
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


class _Lost:
  """What cleaning steps lost so far.

  Attributes:
    counts: (step, column) -> number of values.
    values: (step, column) -> some values that training did not have.
    respelled: lines about values that training spells in another way.
  """

  def __init__(self):
    self.counts = collections.Counter()
    self.values: dict[tuple[str, str], dict[str, None]] = {}
    self.respelled: dict[str, None] = {}

  def add(self, name: str, step: cleaning.Step, parameters: cleaning.Parameters,
          before: Frame, after: Frame) -> None:
    losses = {column: count for column, count in step.losses(
      parameters, before, after).items() if count}
    if not losses:
      return
    unseen = step.unseen({column: p for column, p in parameters.items()
                          if column in losses}, before)
    self.counts.update({
      (name, column): count for column, count in losses.items()
      # A column that training dropped is not lost here.
      if column in after or column in unseen or count < rows_of(before)})
    for column, values in unseen.items():
      known = self.values.setdefault((name, column), {})
      if len(known) < _NAMED:
        known.update(dict.fromkeys(np.unique(values).tolist()[: _NAMED - len(known)]))


@contextlib.contextmanager
def _naming(files: Sequence[pathlib.Path]) -> Iterator[None]:
  """Adds the path of a file to errors; of several they have it."""
  try:
    yield
  except UserError as error:
    where = f'{files[0]}: ' if len(files) == 1 else ''
    raise UserError(one_line(f'{where}{error}')) from error
