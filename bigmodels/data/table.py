"""Any CSV file as a source: read strictly, cleaned by named steps, fitted on train."""

import contextlib
import dataclasses
import inspect
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.core.paths import resolved
from bigmodels.data import cleaning, columns, csv_files
from bigmodels.data.cleaning import Frame, is_text, missing, number, rows_of, take
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, held_out, in_memory

FITTED = 'table '  # begins the names under which `DataContext.keep` has what is fitted
FILE = 'file of the table'  # there too: the digest of the file it was fitted to
_SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
_CLEAN = (cleaning.drop_constant, cleaning.fill_missing, cleaning.clip_outliers,
          cleaning.one_hot, cleaning.standardize)
_MOST_CLASSES = 100  # of numbers; more of them are a quantity
_MOST_CODES = 20  # values of a column of whole numbers that may be codes
_SHARE = 0.05  # of the values of a column: when more are lost, that is a warning
_APART = ('label', 'task', 'threshold', 'clean', 'categories')


@dataclasses.dataclass(frozen=True)
class Table:
  """A CSV file: one column is the label, the others become features.

  The delimiter (`,` `;` tab `|`), and whether a column is numbers or text, are found
  in the file. Rows without a label are dropped. Everything fitted is fitted on the
  split 'train' and kept with the run: another file opened in it with the same
  settings, such as one of test rows, is cleaned the same way. Whatever is guessed, and
  whatever is dropped or changed, is printed; more than 5 % of a column is a warning.

  Opened: `inputs` float32 `[rows, features]`, and `labels` `[rows]`.

  Attributes:
    path: the file.
    label: the column to predict.
    task: 'classification': labels are int32 indices of the sorted distinct values;
      'regression': they are float32 in the units of the file.
    threshold: makes two classes of a number: up to this one, and above it; 'median'
      takes that of the training labels.
    clean: the steps, in order; see `cleaning`.
    categories: columns of numbers that are categories, `a,b` or `('a', 'b')`: they are
      read as texts. Of the label: its values are classes, however many there are.
      Otherwise numbers are numbers, for an order lost cannot be learned, while codes
      taken for numbers cost a little; columns that may be codes are printed.
    duplicates: what becomes of rows that are equal in all columns but the label.
      'keep': they fall to the splits as all rows do. 'together': they all fall to one
      split. 'drop': see `cleaning.drop_duplicates`. None finds it: 'together' if they
      are at most 5 %, or if a column has another value in more than half of the
      different rows: equal rows are copies then, and a copy in the test split of a row
      that was learned by heart tests nothing. Else 'keep': in a table of codes equal
      rows are different cases, and new cases will equal old ones just as often.
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
    # Absolute: a run goes on from whatever folder it is started in.
    object.__setattr__(self, 'path', str(resolved(self.path, 'path')))
    tasks = ('classification', 'regression')
    if self.task not in tasks:
      raise UserError(f'task: no task {self.task!r}{nearest(str(self.task), tasks)}')
    self._reading()  # refuses what cannot be
    if isinstance(self.categories, str):
      object.__setattr__(self, 'categories', tuple(
        name.strip() for name in self.categories.split(',') if name.strip()))
    ways = ('keep', 'together', 'drop')
    if self.duplicates not in (None, *ways):
      raise UserError(f'duplicates: must be one of {", ".join(ways)} or None, got '
                      f'{self.duplicates!r}{nearest(str(self.duplicates), ways)}')
    if self.label in self.categories and (
      self.task == 'regression' or self.threshold is not None):
      what = "task='regression'" if self.task == 'regression' else 'a threshold'
      raise UserError(f'categories: has the label {self.label!r}, whose values are '
                      f'not classes with {what}')
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

  @property
  def fit_name(self) -> str:
    """What everything that is fitted is kept under: every file has the same."""
    settings = f'{self.task}, {self.threshold}, {", ".join(map(_say, self.clean))}'
    if self.categories:
      settings += f', categories {sorted(self.categories)}'
    return f'{FITTED}{self.label}: {settings}'

  def open(self, context: DataContext) -> Dataset:
    """Reads the file (once a process), and cleans the selected split.

    What the steps did is printed when they are fitted.

    Raises:
      UserError: if the file and the settings do not give labelled examples.
    """
    files.require_file(pathlib.Path(self.path))
    try:
      return self._open(context)
    except UserError as error:
      raise UserError(one_line(f'{self.path}: {error}')) from error

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
      fitted = self._fit(frame, rows, found)
      self._note(context, file, found)
      return fitted

    fitted = context.keep(self.fit_name, fit)
    chosen = take(frame, rows[self.selected])
    features = _like(chosen, fitted['columns'])
    found = []
    steps = [entry for entry in self.clean if not entry().whole]
    another = context.kept.get(FILE) != file.digest
    for entry, (_, parameters) in zip(steps, fitted['steps'], strict=True):
      step, before = entry(), features
      features = step.apply(parameters, before)
      if another:  # what the fit has not seen
        found += _told(entry, parameters, before, features)
    if another:
      self._note(context, file, [*lines, f'{self.selected}: {rows_of(chosen):,} rows, '
                                 'cleaned as those that the run was fitted to', *found])
    arrays = {'inputs': _matrix(features),
              'labels': _encode(chosen[self.label], fitted['label'])}
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
      context.note(f'warning: {name}: {line.removeprefix(_WARNING)}'
                   if line.startswith(_WARNING) else f'  {line}')

  def _origin(self, digest: str, rows: np.ndarray) -> Origin:
    """Rows of the file; of other files, what is fitted must be the same as well."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
              if f.name not in ('path', 'selected')}
    fields |= {'clean': [*map(_say, self.clean)], 'splits': dict(self.splits)}
    return Origin({f'the table {digest}': rows}, {
      name if name in _APART else f'{name} of {digest}': value
      for name, value in fields.items()})

  def _with_label(self, file: csv_files.File) -> Frame:
    """The columns; classes that would be the same number as another one are text."""
    if self.label in file.exact and (
      (self.task, self.threshold) == ('classification', None)):
      return file.frame | {self.label: file.exact[self.label]}
    return file.frame

  def _as_categories(self, frame: Frame, exact: Frame) -> Frame:
    """The columns, those of numbers that are categories as texts."""
    for name in self.categories:
      if name not in frame:
        raise UserError(f'categories: no column {name!r}{nearest(name, frame)}')
    return frame | {
      name: exact[name] if name in exact else np.array(
        ['' if np.isnan(v) else _class_name(v) for v in frame[name].tolist()], object)
      for name in self.categories if name != self.label and not is_text(frame[name])}

  def _groups(self, frame: Frame) -> tuple[np.ndarray | None, list[str]]:
    """Which rows stay in one split, None for any, and a line about equal ones."""
    features = {n: c for n, c in frame.items() if n != self.label}
    groups = cleaning.groups_of(features)
    count, firsts = len(groups), np.unique(groups, return_index=True)[1]
    if len(firsts) == count or not features:
      return None, []
    way, found = self.duplicates, ''
    if way not in ('keep', 'together'):
      few = count - len(firsts) <= _SHARE * count
      column = None if few else next((
        name for name, column in features.items()
        if len(set(column[firsts].tolist())) > max(9, len(firsts) // 2)), None)
      way = 'keep' if column is None and not few else 'together'
      found = '' if few else (
        ', since no column has another value in most rows, as in a table of codes'
        if column is None else f', since {column} has another value in most rows, so '
        'that these are copies')
    fate = {'keep': 'fall to the splits as all rows do',
            'together': 'stay together in one split'}[way]
    other = {'keep': 'together', 'together': 'keep'}[way]
    line = (f'equal rows: {count - len(firsts):,} of {count:,} rows equal an earlier '
            f'one in all columns but {self.label}; they {fate}{found} '
            f'(duplicates={other} or drop changes that)')
    return (groups if way == 'together' else None), [line]

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

  def _drop_rows(self, frame: Frame) -> tuple[np.ndarray, list[str]]:
    """Rows with a label that pass the `whole` steps, and what was done."""
    numbers = np.flatnonzero(~missing(frame[self.label]))
    count = rows_of(frame)
    lines = []
    if gone := count - len(numbers):
      lines.append(f'drop_unlabelled: {gone:,} of {count:,} rows dropped, without a '
                   f'value of {self.label}')
      if gone > _SHARE * count:
        lines.append(f'{_WARNING}{gone:,} of {count:,} rows ({gone / count:.0%}) have '
                     f'no value of {self.label} and are dropped; with another label '
                     'they can be kept')
    labelled = take(frame, numbers)
    steps = [*([cleaning.drop_duplicates] if self.duplicates == 'drop' else []),
             *self.clean]
    for entry in steps:
      step, before = entry(), labelled
      if step.whole:
        parameters = step.fit(before)
        kept = np.arange(rows_of(before))[step.keep(parameters, before)]
        numbers, labelled = numbers[kept], step.apply(parameters, before)
        lines.append(f'{_name(entry)}: {step.tell(parameters, before, labelled)}')
        lines += _told(entry, parameters, before, labelled)
    if not rows_of(labelled):
      raise UserError(f'no rows are left; {"; ".join(lines)}')
    return numbers, lines

  def _fit(self, frame: Frame, rows: Mapping[str, np.ndarray],
           lines: list[str]) -> dict[str, Any]:
    """Fits label and column steps on the split 'train'; adds what was done to lines."""
    if 'train' not in rows:
      raise UserError("splits: none is called 'train', to fit the cleaning steps on"
                      f'{nearest("train", rows)}')
    train = rows['train']
    lines.append(f'split: {", ".join(f"{n} {len(r):,}" for n, r in rows.items())} rows')
    label = self._fit_label(frame[self.label], rows, lines)
    features = {n: c for n, c in frame.items() if n != self.label}
    if codes := [f'{name} ({count} values)' for name, column in features.items()
                 if (count := _codes(column[train]))]:
      lines.append(f'numbers that may be codes: {listed(codes)}; '
                   'categories=A,B makes categories of columns A and B')
    kinds = {n: 'text' if is_text(c) else 'numbers' for n, c in features.items()}
    steps = []
    for entry in self.clean:
      step, before = entry(), features
      if not step.whole:
        parameters = step.fit(take(before, train))
        features = step.apply(parameters, before)
        lines.append(f'{_name(entry)}: {step.tell(parameters, before, features)}')
        lost = step.loses(parameters, before, features)
        for name in self.categories:
          if lost.get(name) == rows_of(frame):
            raise UserError(f'categories: column {name!r} is lost in '
                            f'{_say(entry)}: {step.lost}')
        lines += _told(entry, parameters, before, features)
        steps.append([_name(entry), parameters])
    if not features:
      raise UserError(f'no feature columns are left; {"; ".join(lines)}')
    targets = {self.label: frame[self.label]} if self.task == 'regression' else {}
    lines += _rounded_lines(features | targets)
    return {'label': label, 'columns': kinds, 'steps': steps,
            'features': list(features)}

  def _fit_label(self, column: np.ndarray, rows: Mapping[str, np.ndarray],
                 lines: list[str]) -> dict[str, Any]:
    train = rows['train']
    if self.task == 'regression':
      few = _codes(column) or len(np.unique(column)) == 2
      lines.append(f'label: {self.label}, {number(column.min())} to '
                   f'{number(column.max())}' + (
                     '; of its few values task=classification makes classes'
                     if few else ''))
      return {}
    if self.threshold is not None:
      at = self.threshold if self.threshold != 'median' else np.median(column[train])
      fitted = {'threshold': float(at), 'classes': [
        f'low (up to {number(at)})', f'high (above {number(at)})']}
    else:
      values = np.unique(column).tolist()
      text = is_text(column)
      if self.label not in self.categories and (
        len(values) > (limit := len(column) // 2) or (
          not text and len(values) > min(limit, _MOST_CLASSES))):
        raise UserError(
          f'column {self.label!r} has {len(values):,} different values in '
          f'{len(column):,} rows, which are not classes; set ' + (
            "threshold='median' or to a number for two classes, task='regression', or "
            if not text else '') + f'categories={self.label} if they are classes')
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
    lines.append(f'label: {self.label}, {len(classes)} classes: ' + listed(
      f'{c} {n:,}' for c, n in zip(classes, counts, strict=True)))
    for name, part in rows.items():
      there = np.bincount(labels[part], minlength=len(classes))
      if lacking := [c for c, n in zip(classes, there, strict=True) if not n]:
        lines.append(
          f'{_WARNING * (name == "train")}split {name}: no row of {len(lacking):,} of '
          f'{len(classes):,} classes: {listed(lacking)}')
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


_WARNING = 'warning: '


def _told(entry, parameters: cleaning.Parameters, before: Frame, after: Frame
          ) -> list[str]:
  """A warning for what loses more of a column, or of all rows, than a little."""
  step, rows = entry(), max(rows_of(before), 1)
  lost = {name: count for name, count in step.loses(
    parameters, before, after).items() if count > _SHARE * rows}
  return [f'{_WARNING}{_name(entry)}: ' + listed(
    f'{name} ({count:,} of {rows:,}, {count / rows:.0%})'
    for name, count in lost.items()) + f': {step.lost}'] if lost else []


def _rounded_lines(frame: Frame) -> list[str]:
  """A warning for each column of numbers that float32 rounds by much of its range."""
  numeric = {name: column for name, column in frame.items() if not is_text(column)}
  names, values = list(numeric), list(numeric.values())
  step = columns.sample_step(rows_of(frame))
  found = columns.rounded(np.stack([v[::step] for v in values], 1), values.__getitem__)
  lines = [f'{_WARNING}column {names[i]!r} lies between {number(low)} and '
           f'{number(high)}: float32 rounds it by up to {number(error)}; subtract a '
           'constant from it in the file' for i, low, high, error in found[:8]]
  more = [f'{_WARNING}float32 rounds {len(found) - 8:,} more columns as much']
  return [*lines, *(more if len(found) > 8 else [])]


def _codes(column: np.ndarray) -> int:
  """How many values a column of whole numbers has if they may be codes, else 0."""
  if is_text(column):
    return 0
  start = column[:1000]
  start = start[~missing(start)]
  if (start != np.floor(start)).any() or len(np.unique(start)) > _MOST_CODES:
    return 0
  values = column[~missing(column)]
  found = np.unique(values)
  few = 2 < len(found) <= _MOST_CODES and 5 * len(found) <= len(values)
  return len(found) if few and (found == np.floor(found)).all() else 0


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
    raise UserError(f'the label {error} is not one of the classes that the run was '
                    f'fitted to: {listed(fitted["classes"])}') from None


def _like(frame: Frame, kinds: Mapping[str, str]) -> Frame:
  """The columns that the steps were fitted to; another file may lack some."""
  found = {}
  for name, kind in kinds.items():
    if name not in frame:
      raise UserError(
        f'no column {name!r}, which the run was fitted to{nearest(name, frame)}')
    column = frame[name]
    if kind == 'text' and not is_text(column) and missing(column).all():
      column = np.full(len(column), '', object)
    if is_text(column) != (kind == 'text'):
      raise UserError(f'column {name!r} was {kind} when the run was fitted')
    found[name] = column
  return found


def _matrix(features: Frame) -> np.ndarray:
  """Float32 `[rows, features]`."""
  texts = [name for name, column in features.items() if is_text(column)]
  if texts:
    raise UserError(f'still text after cleaning: {listed(texts)}; '
                    'cleaning.one_hot makes numbers of it')
  with np.errstate(over='ignore'):
    matrix = np.stack(list(features.values()), 1).astype(np.float32)
  for name, column in zip(features, matrix.T, strict=True):
    if bad := int((~np.isfinite(column)).sum()):
      raise UserError(f'column {name!r} has {bad:,} values that are missing or too '
                      'large after cleaning; cleaning.fill_missing fills them')
  return matrix

