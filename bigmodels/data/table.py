"""Any CSV file as a source: read strictly, cleaned by named steps, fitted on train."""

import contextlib
import dataclasses
import inspect
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from bigmodels.data import cleaning, csv_files
from bigmodels.data.cleaning import Frame, is_text, missing, number, rows_of, take
from bigmodels.data.sources import Dataset, Opening, held_out, in_memory
from bigmodels.errors import UserError, nearest

_SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
_CLEAN = (cleaning.drop_duplicates, cleaning.drop_constant, cleaning.fill_missing,
          cleaning.clip_outliers, cleaning.one_hot, cleaning.standardize)
_MOST_CLASSES = 100  # of numbers; more of them are a quantity


@dataclasses.dataclass(frozen=True)
class Table:
  """A CSV file: one column is the label, the others become features.

  The delimiter (`,` `;` tab `|`), and whether a column is numbers or text, are found
  in the file. Rows without a label are dropped. Everything fitted is fitted on the
  split 'train' and kept with the run: another file opened in it with the same
  settings, such as one of test rows, is cleaned the same way.

  Opened: `inputs` float32 `[rows, features]`, and `labels` `[rows]`.

  Attributes:
    path: the file.
    label: the column to predict.
    task: 'classification': labels are int32 indices of the sorted distinct values;
      'regression': they are float32 in the units of the file.
    threshold: makes two classes of a number: up to this one, and above it; 'median'
      takes that of the training labels.
    clean: the steps, in order; see `cleaning`.
    splits: name -> fraction.
    selected: the split that `open` gives.
    delimiter: of the file; this and the next four are found in it where they are None,
      see `csv_dialects.Reading`.
    decimal: the decimal mark, '.' or ','.
    thousands: what groups the digits of a number.
    missing: the words that are a missing value: a tuple, or with commas between them.
    encoding: of the file, by its name in Python.
  """

  path: str
  label: str
  _: dataclasses.KW_ONLY
  task: Literal['classification', 'regression']
  threshold: float | str | None = None
  clean: tuple[Callable[..., cleaning.Step], ...] = _CLEAN
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: _SPLITS)
  selected: str = 'train'
  delimiter: str | None = None
  decimal: Literal['.', ','] | None = None
  thousands: str | None = None
  missing: tuple[str, ...] | str | None = None
  encoding: str | None = None

  def __post_init__(self):
    # Absolute: a run goes on from whatever folder it is started in.
    path = pathlib.Path(self.path).expanduser().resolve()
    object.__setattr__(self, 'path', str(path))
    tasks = ('classification', 'regression')
    if self.task not in tasks:
      raise UserError(f'task: no task {self.task!r}{nearest(str(self.task), tasks)}')
    self._reading()  # refuses what cannot be
    if self.threshold is None:
      return
    if self.task == 'regression':
      raise UserError("threshold: makes classes, so it wants task='classification'")
    if self.threshold != 'median':
      # A number may come as text: an override of 'median' on the command line does.
      with contextlib.suppress(TypeError, ValueError):
        object.__setattr__(self, 'threshold', float(self.threshold))
      if not isinstance(self.threshold, float) or not math.isfinite(self.threshold):
        raise UserError(
          f"threshold: wants a number or 'median', got {self.threshold!r}")

  def _reading(self) -> csv_files.Reading:
    missing = self.missing if isinstance(self.missing, str | None) else (
      tuple(self.missing))
    return csv_files.Reading(self.delimiter, self.decimal, self.thousands, missing,
                             self.encoding)

  def split(self, name: str) -> 'Table':
    return dataclasses.replace(self, selected=name)

  def open(self, opening: Opening) -> Dataset:
    """Reads the file (once a process), and cleans the selected split.

    What the steps did is printed when they are fitted.

    Raises:
      UserError: if the file and the settings do not give labelled examples.
    """
    try:
      return self._open(opening)
    except UserError as error:
      raise UserError(f'{self.path}: {error}') from error

  def _open(self, opening: Opening) -> Dataset:
    path = pathlib.Path(self.path).expanduser()
    file = csv_files.read(path, self._reading())
    self._check_label(file)
    frame, lines = self._drop_rows(self._with_label(file))
    rows = {name: held_out(rows_of(frame), name, self.splits) for name in self.splits}
    if self.selected not in rows:
      raise UserError(f'no split {self.selected!r}{nearest(self.selected, rows)}')

    def fit():
      opening.say(f'{path.name}: {file.summary}')
      for line in file.lines:
        opening.say(f'  {line}')
      fitted = self._fit(frame, rows, lines)
      for line in lines:
        opening.say(f'  {line}')
      return fitted

    # Not named by the path: whoever evaluates on a new file wants the old fit.
    settings = f'{self.task}, {self.threshold}, {", ".join(map(_say, self.clean))}'
    fitted = opening.keep(f'table {self.label}: {settings}', fit)
    chosen = take(frame, rows[self.selected])
    features = _like(chosen, fitted['columns'])
    steps = [step for entry in self.clean if not (step := entry()).whole]
    for step, (_, parameters) in zip(steps, fitted['steps'], strict=True):
      features = step.apply(parameters, features)
    columns = {'inputs': _matrix(features),
               'labels': _encode(chosen[self.label], fitted['label'])}
    classes = fitted['label'].get('classes')
    return in_memory(columns, None if classes is None else tuple(classes))._replace(
      identity=f'{path.name} sha256 {file.digest}, split {self.selected!r} of '
               f'{dict(self.splits)}: {len(chosen[self.label]):,} rows')

  def _with_label(self, file: csv_files.File) -> Frame:
    """The columns; classes that would be the same number as another one are text."""
    if self.label in file.exact and (
      (self.task, self.threshold) == ('classification', None)):
      return file.frame | {self.label: file.exact[self.label]}
    return file.frame

  def _check_label(self, file: csv_files.File) -> None:
    if self.label not in file.frame:
      one = '; the file has one column, delimiter= says what parts its values' * (
        len(file.frame) == 1)
      raise UserError(f'no column {self.label!r}{nearest(self.label, file.frame)}{one}')
    column = file.frame[self.label]
    if not is_text(column) or (self.task, self.threshold) == ('classification', None):
      return
    row = csv_files.text_row(column)
    place = (f'line {file.line(row)}, column {self.label!r}: '
             f'{column[row]!r} is no number')
    if self.task == 'regression':
      raise UserError(f"{place}; task='classification' makes classes of text")
    raise UserError(f'{place}, so there is nothing to compare with the threshold')

  def _drop_rows(self, frame: Frame) -> tuple[Frame, list[str]]:
    """Rows with a label that pass the `whole` steps, and what was done."""
    labelled = take(frame, ~missing(frame[self.label]))
    gone = rows_of(frame) - rows_of(labelled)
    lines = [f'drop_unlabelled: {gone:,} of {rows_of(frame):,} rows dropped, '
             f'without a value of {self.label}'] if gone else []
    for entry in self.clean:
      step, before = entry(), labelled
      if step.whole:
        parameters = step.fit(before)
        labelled = step.apply(parameters, before)
        lines.append(f'{_name(entry)}: {step.tell(parameters, before, labelled)}')
    if not rows_of(labelled):
      raise UserError(f'no rows are left; {"; ".join(lines)}')
    return labelled, lines

  def _fit(self, frame: Frame, rows: Mapping[str, np.ndarray],
           lines: list[str]) -> dict[str, Any]:
    """Fits label and column steps on the split 'train'; adds what was done to lines."""
    if 'train' not in rows:
      raise UserError("splits: none is called 'train', to fit the cleaning steps on"
                      f'{nearest("train", rows)}')
    train = rows['train']
    lines.append(f'split: {", ".join(f"{n} {len(r):,}" for n, r in rows.items())} rows')
    label = self._fit_label(frame[self.label], train, lines)
    features = {n: c for n, c in frame.items() if n != self.label}
    columns = {n: 'text' if is_text(c) else 'numbers' for n, c in features.items()}
    steps = []
    for entry in self.clean:
      step, before = entry(), features
      if not step.whole:
        parameters = step.fit(take(before, train))
        features = step.apply(parameters, before)
        lines.append(f'{_name(entry)}: {step.tell(parameters, before, features)}')
        steps.append([_name(entry), parameters])
    if not features:
      raise UserError(f'no feature columns are left; {"; ".join(lines)}')
    return {'label': label, 'columns': columns, 'steps': steps,
            'features': list(features)}

  def _fit_label(self, column: np.ndarray, train: np.ndarray,
                 lines: list[str]) -> dict[str, Any]:
    if self.task == 'regression':
      lines.append(f'label: {self.label}, {number(column.min())} to '
                   f'{number(column.max())}')
      return {}
    if self.threshold is not None:
      at = self.threshold if self.threshold != 'median' else np.median(column[train])
      fitted = {'threshold': float(at), 'classes': [
        f'low (up to {number(at)})', f'high (above {number(at)})']}
    else:
      values = np.unique(column).tolist()
      text = is_text(column)
      if len(values) > (limit := len(column) // 2) or (
        not text and len(values) > min(limit, _MOST_CLASSES)):
        raise UserError(
          f'column {self.label!r} has {len(values):,} different values in '
          f'{len(column):,} rows, which are no classes' + (
            "; set threshold='median' or to a number for two classes, or "
            "task='regression'" if not text else ''))
      fitted = {'values': values,
                'classes': values if text else [_class_name(v) for v in values]}
    labels, classes = _encode(column, fitted), fitted['classes']
    for which, part in (('', labels), (' in the training split', labels[train])):
      if len(np.unique(part)) < 2:
        spread = '' if is_text(column) else (
          f' ({number(column.min())} to {number(column.max())})')
        raise UserError(f'column {self.label!r}{spread}: all {len(part):,} labels'
                        f'{which} are {classes[part[0]]!r}; two classes are needed')
    counts = np.bincount(labels, minlength=len(classes))
    lines.append(f'label: {self.label}, {len(classes)} classes: ' + cleaning.listed(
      f'{c} {n:,}' for c, n in zip(classes, counts, strict=True)))
    return fitted


def _class_name(value: float) -> str:
  """All digits of a number: 435, 12345678901, 0.25."""
  return str(int(value)) if value.is_integer() else repr(value)


def _name(entry) -> str:
  return getattr(entry, 'func', entry).__name__


def _say(entry) -> str:
  """A step with every setting: `one_hot(most=50)`."""
  parameters = inspect.signature(entry).parameters.items()
  return f'{_name(entry)}({", ".join(f"{n}={p.default!r}" for n, p in parameters)})'


def _encode(column: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
  """Labels `[rows]`: int32 class indices, or float32 targets."""
  if not fitted:
    return column.astype(np.float32)
  if 'threshold' in fitted:
    return (column > fitted['threshold']).astype(np.int32)
  index = {value: i for i, value in enumerate(fitted['values'])}
  try:
    return np.array([index[value] for value in column.tolist()], np.int32)
  except KeyError as error:
    raise UserError(f'the label {error} is none of the classes that the run was fitted '
                    f'to: {cleaning.listed(fitted["classes"])}') from None


def _like(frame: Frame, kinds: Mapping[str, str]) -> Frame:
  """The columns that the steps were fitted to; another file may lack some."""
  columns = {}
  for name, kind in kinds.items():
    if name not in frame:
      raise UserError(
        f'no column {name!r}, which the run was fitted to{nearest(name, frame)}')
    column = frame[name]
    if kind == 'text' and not is_text(column) and missing(column).all():
      column = np.full(len(column), '', object)
    if is_text(column) != (kind == 'text'):
      raise UserError(f'column {name!r} was {kind} when the run was fitted')
    columns[name] = column
  return columns


def _matrix(features: Frame) -> np.ndarray:
  """Float32 `[rows, features]`."""
  texts = [name for name, column in features.items() if is_text(column)]
  if texts:
    raise UserError(f'still text after cleaning: {cleaning.listed(texts)}; '
                    'cleaning.one_hot makes numbers of it')
  with np.errstate(over='ignore'):
    matrix = np.stack(list(features.values()), 1).astype(np.float32)
  for name, column in zip(features, matrix.T, strict=True):
    if bad := int((~np.isfinite(column)).sum()):
      raise UserError(f'column {name!r} has {bad:,} values that are missing or too '
                      'large after cleaning; cleaning.fill_missing fills them')
  return matrix

