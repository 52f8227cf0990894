"""CSV files as sources: read strictly, cleaned by steps that are fitted on train."""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest, one_line
from bigmodels.core.paths import resolved
from bigmodels.data import cleaning
from bigmodels.data.cleaning import Frame, is_text, missing, rows_of, take
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import DataContext, Dataset, held_out, in_memory
from bigmodels.data.tables import csv_files, table_fit
from bigmodels.data.tables.table_fit import (
  FEW,
  WARNING,
  class_name,
  step_name,
  step_text,
)

FITTED = 'table '  # prefix of the names of fitted tables in `DataContext.keep`
FILE = 'file of the table'  # name of the digest of the fitted file
_SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
_CLEAN = (cleaning.drop_constant, cleaning.fill_missing, cleaning.clip_outliers,
          cleaning.one_hot, cleaning.standardize)
_APART = ('label', 'task', 'threshold', 'clean', 'categories')


@dataclasses.dataclass(frozen=True)
class Table:
  """A CSV file: one column is the label, the others become features.

  The delimiter (`,` `;` tab `|`) and the types of columns, numbers or text, are
  inferred from the file. Rows without a label are dropped. Everything is fitted on the
  split 'train' and stored with the run, so that another file with the same settings,
  such as test rows, is cleaned in the same way. Whatever is inferred, dropped or
  changed is printed; a loss of more than 5 % of a column is a warning.

  Opened: `inputs` float32 `[rows, features]`, and `labels` `[rows]`.

  Attributes:
    path: the file.
    label: the column to predict.
    task: 'classification': labels are int32 indices of the sorted distinct values;
      'regression': they are float32 in the units of the file.
    threshold: splits a number into two classes, up to the threshold and above it;
      'median' is the median of the training labels.
    clean: the steps, in order; see `cleaning`.
    categories: columns of numbers that are categories, `a,b` or `('a', 'b')`: they are
      read as text. If the label is one, its values are classes, however many there are.
      Other numbers remain numbers: an order that is lost cannot be learned, whereas
      codes that are treated as numbers do little harm. Columns that may be codes are
      printed.
    duplicates: treatment of rows that are equal in all columns except the label.
      'keep': they are split like other rows. 'together': all of them are in one split.
      'drop': see `cleaning.drop_duplicates`. None chooses 'together' if they are at
      most 5 %, or if some column has a different value in more than half of the
      distinct rows: then equal rows are copies, and a test row that is a copy of a
      training row tests nothing. Otherwise it chooses 'keep': in a table of codes,
      equal rows are different cases, and new cases equal old ones just as often.
    splits: name -> fraction.
    selected: the split that `open` returns.
    delimiter: delimiter of the file; this and the next four are inferred if they are
      None, see `csv_dialects.Reading`.
    decimal: the decimal mark, '.' or ','.
    thousands: separator of groups of digits.
    missing: words for a missing value: a tuple, or separated by commas.
    encoding: Python name of the encoding.
  """

  path: str
  label: str
  _: dataclasses.KW_ONLY
  task: Literal['classification', 'regression']
  threshold: float | str | None = None
  clean: tuple[Callable[..., cleaning.Step], ...] = _CLEAN
  categories: str | tuple[str, ...] = ()
  duplicates: Literal['keep', 'together', 'drop'] | None = None
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: _SPLITS)
  selected: str = 'train'
  delimiter: str | None = None
  decimal: Literal['.', ','] | None = None
  thousands: str | None = None
  missing: tuple[str, ...] | str | None = None
  encoding: str | None = None

  def __post_init__(self):
    # Absolute, so that a run can be resumed from any folder.
    object.__setattr__(self, 'path', str(resolved(self.path, 'path')))
    tasks = ('classification', 'regression')
    if self.task not in tasks:
      raise UserError(f'task: no task {self.task!r}{nearest(str(self.task), tasks)}')
    self._reading()  # refuses invalid settings
    if isinstance(self.categories, str):
      object.__setattr__(self, 'categories', tuple(
        name.strip() for name in self.categories.split(',') if name.strip()))
    legal = ('keep', 'together', 'drop')
    if self.duplicates not in (None, *legal):
      raise UserError(f'duplicates: must be one of {", ".join(legal)} or None, got '
                      f'{self.duplicates!r}{nearest(str(self.duplicates), legal)}')
    if self.label in self.categories and (
      self.task == 'regression' or self.threshold is not None):
      what = "task='regression'" if self.task == 'regression' else 'a threshold'
      raise UserError(f'categories: contains the label {self.label!r}, whose values '
                      f'are not classes with {what}')
    if self.threshold is None:
      return
    if self.task == 'regression':
      raise UserError("threshold: makes classes, so it needs task='classification'")
    if self.threshold != 'median':
      # A number may be given as text, as in an override of 'median'.
      with contextlib.suppress(TypeError, ValueError):
        object.__setattr__(self, 'threshold', float(self.threshold))
      if not isinstance(self.threshold, float) or not math.isfinite(self.threshold):
        raise UserError(
          f"threshold: must be a number or 'median', got {self.threshold!r}")

  def _reading(self) -> csv_files.Reading:
    missing = self.missing if isinstance(self.missing, str | None) else (
      tuple(self.missing))
    return csv_files.Reading(self.delimiter, self.decimal, self.thousands, missing,
                             self.encoding)

  def split(self, name: str) -> 'Table':
    return dataclasses.replace(self, selected=name)

  @property
  def fit_name(self) -> str:
    """The name under which everything fitted is stored, the same for every file."""
    steps = ', '.join(map(step_text, self.clean))
    settings = f'{self.task}, {self.threshold}, {steps}'
    if self.categories:
      settings += f', categories {sorted(self.categories)}'
    return f'{FITTED}{self.label}: {settings}'

  def open(self, context: DataContext) -> Dataset:
    """Reads the file (once per process), and cleans the selected split.

    The effect of the steps is printed when they are fitted.

    Raises:
      UserError: if the file and the settings do not give labelled examples.
    """
    files.require_file(pathlib.Path(self.path))
    try:
      return self._open(context)
    except UserError as error:
      raise UserError(one_line(f'{self.path}: {error}')) from error

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new rows, cleaned by what the run keeps; see `readers`."""
    from bigmodels.data.readers.tables import TableReader

    fitted = context.kept[self.fit_name]
    steps = [entry for entry in self.clean if not entry().drops_rows]
    return TableReader(
      fitted['columns'], [
        (step_name(entry), entry(), parameters)
        for entry, (_, parameters) in zip(steps, fitted['steps'], strict=True)],
      self.label, fitted['label'], self._reading(), self.categories, context.say)

  def _open(self, context: DataContext) -> Dataset:
    path = pathlib.Path(self.path)
    file = csv_files.read(path, self._reading())
    self._check_label(file)
    whole = self._as_categories(self._with_label(file), file.exact)
    numbers, lines = self._drop_rows(whole)
    frame = take(whole, numbers)
    groups, equal = self._groups(frame)
    rows = {name: held_out(len(numbers), name, self.splits, groups)
            for name in self.splits}
    if self.selected not in rows:
      raise UserError(f'no split {self.selected!r}{nearest(self.selected, rows)}')

    def fit():
      context.keep(FILE, lambda: file.digest)
      found = [*lines, *equal]
      fitted = table_fit.fit(self, frame, rows, found)
      self._note(context, file, found)
      return fitted

    fitted = context.keep(self.fit_name, fit)
    chosen = take(frame, rows[self.selected])
    features = table_fit.features_like(chosen, fitted['columns'])
    found = []
    steps = [entry for entry in self.clean if not entry().drops_rows]
    another = context.kept.get(FILE) != file.digest
    for entry, (_, parameters) in zip(steps, fitted['steps'], strict=True):
      step, before = entry(), features
      features = step.apply(parameters, before)
      if another:  # the fit did not include these rows
        found += table_fit.losses(entry, parameters, before, features)
    if another:
      self._note(context, file, [*lines, f'{self.selected}: {rows_of(chosen):,} rows, '
                                 'cleaned like those the run was fitted to', *found])
    arrays = {'inputs': table_fit.matrix(features),
              'labels': table_fit.encode(chosen[self.label], fitted['label'])}
    classes = fitted['label'].get('classes')
    return in_memory(arrays, None if classes is None else tuple(classes))._replace(
      identity=f'{path.name} sha256 {file.digest}, split {self.selected!r} of '
               f'{dict(self.splits)}: {len(chosen[self.label]):,} rows',
      features=tuple(fitted['features']), target=self.label,
      origin=self._origin(file.digest, numbers[rows[self.selected]]))

  def _note(self, context: DataContext, file: csv_files.File, lines: list[str]) -> None:
    name = pathlib.Path(self.path).name
    context.note(f'{name}: {file.summary}')
    for line in [*file.lines, *lines]:
      context.note(f'warning: {name}: {line.removeprefix(WARNING)}'
                   if line.startswith(WARNING) else f'  {line}')

  def _origin(self, digest: str, rows: np.ndarray) -> Origin:
    """The rows of the file; for other files, fitted settings must be the same too."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
              if f.name not in ('path', 'selected')}
    fields |= {'clean': [*map(step_text, self.clean)], 'splits': dict(self.splits)}
    return Origin({f'the table {digest}': rows}, {
      name if name in _APART else f'{name} of {digest}': value
      for name, value in fields.items()})

  def _with_label(self, file: csv_files.File) -> Frame:
    """The columns; a label is text if its classes would be equal as numbers."""
    if self.label in file.exact and (
      (self.task, self.threshold) == ('classification', None)):
      return file.frame | {self.label: file.exact[self.label]}
    return file.frame

  def _as_categories(self, frame: Frame, exact: Frame) -> Frame:
    """The columns, with categories as text."""
    for name in self.categories:
      if name not in frame:
        raise UserError(f'categories: no column {name!r}{nearest(name, frame)}')
    return frame | {
      name: exact[name] if name in exact else np.array(
        ['' if np.isnan(v) else class_name(v) for v in frame[name].tolist()], object)
      for name in self.categories if name != self.label and not is_text(frame[name])}

  def _groups(self, frame: Frame) -> tuple[np.ndarray | None, list[str]]:
    """The group of every row, or None, and a line about equal rows."""
    features = {n: c for n, c in frame.items() if n != self.label}
    groups = cleaning.groups_of(features)
    count, firsts = len(groups), np.unique(groups, return_index=True)[1]
    if len(firsts) == count or not features:
      return None, []
    choice, found = self.duplicates, ''
    if choice not in ('keep', 'together'):
      few = count - len(firsts) <= FEW * count
      column = None if few else next((
        name for name, column in features.items()
        if len(set(column[firsts].tolist())) > max(9, len(firsts) // 2)), None)
      choice = 'keep' if column is None and not few else 'together'
      found = '' if few else (
        ', since no column has a different value in most rows, as in a table of codes'
        if column is None else f', since {column} has a different value in most rows, '
        'so that these are copies')
    result = {'keep': 'are split like other rows',
              'together': 'stay together in one split'}[choice]
    other = {'keep': 'together', 'together': 'keep'}[choice]
    line = (f'equal rows: {count - len(firsts):,} of {count:,} rows equal an earlier '
            f'one in all columns but {self.label}; they {result}{found} '
            f'(duplicates={other} or drop changes that)')
    return (groups if choice == 'together' else None), [line]

  def _check_label(self, file: csv_files.File) -> None:
    if self.label not in file.frame:
      one = '; the file has one column, delimiter= sets the separator of values' * (
        len(file.frame) == 1)
      raise UserError(f'no column {self.label!r}{nearest(self.label, file.frame)}{one}')
    column = file.frame[self.label]
    if not is_text(column) or (self.task, self.threshold) == ('classification', None):
      return
    row = csv_files.text_row(column)
    found = (f'line {file.line(row)}, column {self.label!r}: '
             f'{column[row]!r} is not a number')
    if self.task == 'regression':
      raise UserError(f"{found}; task='classification' turns text into classes")
    raise UserError(f'{found}, so it cannot be compared with the threshold')

  def _drop_rows(self, frame: Frame) -> tuple[np.ndarray, list[str]]:
    """The rows with a label that no step drops, and lines about dropped rows."""
    numbers = np.flatnonzero(~missing(frame[self.label]))
    count = rows_of(frame)
    lines = []
    if gone := count - len(numbers):
      lines.append(f'drop_unlabelled: {gone:,} of {count:,} rows dropped, without a '
                   f'value of {self.label}')
      if gone > FEW * count:
        lines.append(f'{WARNING}{gone:,} of {count:,} rows ({gone / count:.0%}) have '
                     f'no value of {self.label} and are dropped; with another label '
                     'they can be kept')
    labelled = take(frame, numbers)
    steps = [*([cleaning.drop_duplicates] if self.duplicates == 'drop' else []),
             *self.clean]
    for entry in steps:
      step, before = entry(), labelled
      if step.drops_rows:
        parameters = step.fit(before)
        kept = np.arange(rows_of(before))[step.keep(parameters, before)]
        numbers, labelled = numbers[kept], step.apply(parameters, before)
        lines.append(
          f'{step_name(entry)}: {step.describe(parameters, before, labelled)}')
        lines += table_fit.losses(entry, parameters, before, labelled)
    if not rows_of(labelled):
      raise UserError(f'no rows are left; {"; ".join(lines)}')
    return numbers, lines
