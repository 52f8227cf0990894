"""Tables in files as sources: read strictly, cleaned by steps fitted on train."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, nearest, one_line
from bigmodels.data import cleaning, frames
from bigmodels.data.folds import ROW, Fold
from bigmodels.data.frames import Frame, is_text, missing, rows_of, take
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import FRACTIONS, DataContext, Dataset, in_memory
from bigmodels.data.tables import (
  csv_numbers,
  settings,
  table_files,
  table_fit,
  table_splits,
)
from bigmodels.data.tables.settings import names_of, types_of
from bigmodels.data.tables.table_fit import FEW, WARNING, step_name, step_text

FITTED = 'table '  # prefix of the names of fitted tables in `DataContext.keep`
FILE = 'file of the table'  # name of the digest of the fitted file
_CLEAN = (cleaning.drop_constant, cleaning.fill_missing, cleaning.clip_outliers,
          cleaning.one_hot, cleaning.standardize)
# Settings that must agree between splits, whatever file each is read from.
_SAME = ('label', 'task', 'threshold', 'clean', 'columns', 'drop', 'types')
_IGNORED = ('path', 'test', 'selected', 'id')


@dataclasses.dataclass(frozen=True)
class Table:
  """A table in files: one column may be the label, others become features.

  The files are CSV, Parquet (`.parquet`), or JSON with one object a line (`.jsonl`),
  and may be compressed (`.gz`, `.zst`). The delimiter of CSV (`,` `;` tab `|`) and
  the types of its columns, numbers or text, are inferred; Parquet and JSON have
  types: bools and dates are text. Rows without a label are dropped. Everything is
  fitted on the split 'train' and stored with the run, so that another file with the
  same settings is cleaned in the same way. Whatever is inferred, dropped or changed
  is printed; a loss of more than 5 % of a column is a warning.

  Opened: `inputs` float32 `[rows, features]`, `labels` `[rows]` if there is a `label`,
  and `weights` float32 `[rows]` if there is a `weight`.

  Attributes:
    path: a file, a pattern such as 'data/*.csv', or several of these: files with the
      same columns, in any order. A relative path is also looked up under `--data_dir`.
    label: the column to predict; None for rows without labels.
    task: None without a label. 'classification': labels are int32 indices of the sorted
      distinct values; 'regression': they are float32 in the units of the file.
    threshold: splits a number into two classes, up to the threshold and above it;
      'median' is the median of the training labels.
    clean: the steps, in order; see `cleaning`.
    columns: the columns to use as features, `a,b` or `('a', 'b')`; none means all
      that have no other use.
    drop: columns that are not used.
    id: columns that name the rows: no features, but kept for predictions.
    types: column -> 'text' or 'numbers', or text such as `zip:text,age:numbers`, where
      the type that is inferred is not wanted. Numbers that are codes are 'text', so
      that they become categories: an order that is lost cannot be learned, whereas
      codes that are treated as numbers do little harm. Columns that may be codes are
      printed. If the label is text, its values are classes, however many there are.
    weight: column with the weight of each row in the loss and metrics, >= 0.
    duplicates: treatment of rows that are equal in all features. 'keep': they are split
      like other rows. 'together': all of them are in one split. 'drop': see
      `cleaning.drop_duplicates`. None chooses 'together' if they are at most 5 %, or if
      some column has a different value in more than half of the distinct rows: then
      equal rows are copies, and a test row that is a copy of a training row tests
      nothing. Otherwise it chooses 'keep': in a table of codes, equal rows are
      different cases, and new cases equal old ones just as often. Where a file, a
      column or `time` decides the splits, copies in two of them are refused, or dropped
      by 'drop'.
    splits: name -> fraction, or the name of a column with the split of each row, where
      `val`, `valid` and `dev` name 'validation'.
    stratified: whether each split has its fraction of each class. None: if a random
      split would have no row of some class.
    fold: cuts the split 'train' into 'train' and 'held_out', before anything is fitted;
      an experiment with `folds` sets it.
    group: column whose equal values are in one split, such as a patient.
    time: column of numbers or ISO dates: the earliest rows are the first split, the
      latest the last one; equal times are in one split.
    test: file, pattern or several, whose rows are the split 'test'.
    selected: the split that `open` returns.
    delimiter: delimiter of the file; this and the next four are inferred if they are
      None, see `csv_dialects.Reading`.
    decimal: the decimal mark, '.' or ','.
    thousands: separator of groups of digits.
    missing: words for a missing value: a tuple, or separated by commas.
    encoding: Python name of the encoding.
  """

  path: str | tuple[str, ...]
  label: str | None = None
  _: dataclasses.KW_ONLY
  task: Literal['classification', 'regression'] | None = None
  threshold: float | str | None = None
  clean: tuple[Callable[..., cleaning.Step], ...] = _CLEAN
  columns: str | tuple[str, ...] = ()
  drop: str | tuple[str, ...] = ()
  id: str | tuple[str, ...] = ()
  types: str | Mapping[str, str] = dataclasses.field(default_factory=dict)
  weight: str | None = None
  duplicates: Literal['keep', 'together', 'drop'] | None = None
  splits: str | Mapping[str, float] = dataclasses.field(
    default_factory=lambda: FRACTIONS)
  stratified: bool | None = None
  fold: Fold | None = None
  group: str | None = None
  time: str | None = None
  test: str | tuple[str, ...] | None = None
  selected: str = 'train'
  delimiter: str | None = None
  decimal: Literal['.', ','] | None = None
  thousands: str | None = None
  missing: tuple[str, ...] | str | None = None
  encoding: str | None = None

  def __post_init__(self):
    for field in ('path', 'test'):  # absolute, so that a run resumes from any folder
      object.__setattr__(self, field, _absolute(getattr(self, field), field))
    for field in ('columns', 'drop', 'id'):
      object.__setattr__(self, field, names_of(getattr(self, field)))
    object.__setattr__(self, 'types', types_of(self.types))
    self.reading()  # refuses invalid settings
    legal = ('keep', 'together', 'drop')
    if self.duplicates not in (None, *legal):
      raise UserError(f'duplicates: must be one of {", ".join(legal)} or None, got '
                      f'{self.duplicates!r}{nearest(str(self.duplicates), legal)}')
    settings.check_roles(self)
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

  def reading(self, text: tuple[str, ...] = ()) -> table_files.Reading:
    """Returns how the files are read; `text` are more columns that are text."""
    missing = self.missing if isinstance(self.missing, str | None) else (
      tuple(self.missing))
    kinds = {kind: [n for n, k in self.types.items() if k == kind]
             for kind in ('text', 'numbers')}
    texts = (*kinds['text'], *settings.texts(self), *text)
    numbers = (*kinds['numbers'], *([self.weight] if self.weight else []))
    return table_files.Reading(
      self.delimiter, self.decimal, self.thousands, missing, self.encoding,
      tuple(dict.fromkeys(texts)), tuple(dict.fromkeys(numbers)))

  def split(self, name: str) -> 'Table':
    return dataclasses.replace(self, selected=name)

  def in_fold(self, fold: Fold) -> 'Table':
    return dataclasses.replace(self, fold=fold)

  @property
  def fit_name(self) -> str:
    """The name under which everything fitted is stored, the same for every file."""
    steps = ', '.join(map(step_text, self.clean))
    fields = f'{self.task}, {self.threshold}, {steps}'
    for name in ('columns', 'drop', 'id', 'types', 'weight', 'group', 'time'):
      if value := getattr(self, name):
        fields += f', {name} {sorted(value.items()) if name == "types" else value}'
    if isinstance(self.splits, str):
      fields += f', splits {self.splits}'
    return f'{FITTED}{self.label or "without a label"}: {fields}'

  def open(self, context: DataContext) -> Dataset:
    """Reads the files (once per process), and cleans the selected split.

    The effect of the steps is printed when they are fitted.

    Raises:
      UserError: if the files and the settings do not give labelled examples.
    """
    shown = self.path if isinstance(self.path, str) else ', '.join(self.path[:2])
    try:
      return self._open(context)
    except UserError as error:
      raise UserError(one_line(f'{shown}: {error}')) from error

  def inherited(self, kept: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Returns what a table takes of what another run keeps, and a line to print."""
    if self.fit_name in kept:
      names = (self.fit_name, FILE, 'targets')
      return {name: kept[name] for name in names if name in kept}, (
        'also using what was fitted to its table: columns and classes are found by '
        'their names')
    if any(name.startswith(FITTED) for name in kept):
      return {}, 'its table had other settings than this one, which is fitted again'
    return {}, ''

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new rows, cleaned by what the run keeps; see `readers`."""
    from bigmodels.data.readers.tables import TableReader

    fitted = context.kept[self.fit_name]
    steps = [entry for entry in self.clean if not entry().drops_rows]
    return TableReader(
      fitted['columns'], [
        (step_name(entry), entry(), parameters)
        for entry, (_, parameters) in zip(steps, fitted['steps'], strict=True)],
      self.label, fitted['label'], self.reading(tuple(
        name for name, kind in fitted['columns'].items() if kind == 'text')),
      self.weight, self.id, (*self.drop, *settings.others(self)),
      context.kept.get(FILE, ''), context.say)

  def _open(self, context: DataContext) -> Dataset:
    paths = table_files.found(self.path, context.data_dir)
    of_test = table_files.found(self.test, context.data_dir) if self.test else ()
    shown = table_files.listed_names((*paths, *of_test))
    file = self._read((*paths, *of_test), context.kept.get(self.fit_name))
    names = settings.features(self, file)
    if self.label is not None:
      self._check_label(file)
    labels = settings.names(self.label)
    whole = {n: file.frame[n] for n in (*names, *labels)}
    if self.label in file.exact and (
      (self.task, self.threshold) == ('classification', None)):
      whole[self.label] = file.exact[self.label]  # floats would make classes equal
    numbers, lines = self._drop_rows(whole)
    frame = take(whole, numbers)
    others = take({n: file.frame[n] for n in settings.others(self)}, numbers)
    test_rows = sum(rows for _, rows in file.parts[len(paths):])

    def where(row: int) -> str:
      return file.where(int(numbers[row]))

    splits = table_splits.assign(self, table_splits.Rows(
      {n: frame[n] for n in names}, frame[self.label] if labels else None, others,
      numbers >= rows_of(whole) - test_rows, where))
    rows = splits.rows
    table_splits.check_selected(self.selected, rows)
    if 'train' in rows and self.weight:
      weights = table_splits.weights(self.weight, others[self.weight], rows['train'],
                                     where)

    def fit():
      context.keep(FILE, lambda: file.digest)
      found = [*lines, *splits.lines]
      fitted = table_fit.fit(self, frame, rows, splits.how, found)
      self._note(context, shown, file, found)
      return fitted

    fitted = context.keep(self.fit_name, fit)
    mine = rows[self.selected]
    chosen = take(frame, mine)
    features = table_fit.features_like(chosen, fitted['columns'])
    found = []
    steps = [entry for entry in self.clean if not entry().drops_rows]
    another = context.kept.get(FILE) != file.digest
    if another:
      features, respelled = table_fit.respelled(features, [
        (entry(), parameters) for entry, (_, parameters) in zip(
          steps, fitted['steps'], strict=True)])
      found += respelled
      for name in labels:
        label, of_label = table_fit.respelled_label(name, chosen[name], fitted['label'])
        chosen = {**chosen, name: label}
        found += of_label
    for entry, (_, parameters) in zip(steps, fitted['steps'], strict=True):
      step, before = entry(), features
      features = step.apply(parameters, before)
      if another:  # the fit did not include these rows
        found += table_fit.losses(entry, parameters, before, features)
    if another:
      self._note(context, shown, file, [
        *lines, f'{self.selected}: {len(mine):,} rows, cleaned like those the run was '
        'fitted to', *found])
    arrays = {'inputs': table_fit.matrix(features)}
    if self.label is not None:
      arrays['labels'] = table_fit.encode(chosen[self.label], fitted['label'])
    if self.weight:
      arrays['weights'] = weights[mine]
    classes = fitted['label'].get('classes')
    how = f', {splits.how}' * bool(splits.how)
    return in_memory(arrays, None if classes is None else tuple(classes))._replace(
      identity=f'{shown} sha256 {file.digest}, split {self.selected!r} of '
               f'{self.splits if isinstance(self.splits, str) else dict(self.splits)}'
               f'{how}: {len(mine):,} rows',
      features=tuple(fitted['features']), target=self.label,
      describe=lambda row: f'{where(mine[row])}' + f' of {shown}' * (not of_test),
      ids={name: others[name][mine] for name in self.id} | (
        {ROW: numbers[mine].astype(str).astype(object)} if self.fold else {}),
      words=lambda index: frames.words({**take(others, mine), **chosen}, index),
      origin=self._origin(file, numbers[mine])._replace(keys=frames.hashes_of(
        table_fit.features_like(chosen, fitted['columns'])) if splits.copies else None))

  def _read(self, paths: tuple, fitted: dict | None) -> table_files.File:
    """Reads the files; columns that the run was fitted to as text are text again."""
    file = table_files.read(paths, self.reading())
    again = tuple(n for n, kind in (fitted or {}).get('columns', {}).items() if (
      kind == 'text' and n in file.frame and not is_text(file.frame[n])))
    return table_files.read(paths, self.reading(again)) if again else file

  def _note(self, context: DataContext, name: str, file: table_files.File,
            lines: list[str]) -> None:
    context.note(f'{name}: {file.summary}')
    for line in [*file.lines, *lines]:
      context.note(f'warning: {name}: {line.removeprefix(WARNING)}'
                   if line.startswith(WARNING) else f'  {line}')

  def _origin(self, file: table_files.File, rows: np.ndarray) -> Origin:
    """The rows of each file; other files must agree in what is fitted."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
              if f.name not in _IGNORED}
    fields |= {'clean': [*map(step_text, self.clean)], 'types': dict(self.types)}
    if not isinstance(self.splits, str):
      fields['splits'] = dict(self.splits)
    found, start = {}, 0
    for digest, count in file.parts:
      found[f'the table {digest}'] = (
        rows[(rows >= start) & (rows < start + count)] - start)
      start += count
    return Origin(found, {
      key: value for name, value in fields.items()
      for key in ([name] if name in _SAME else [
        f'{name} of {digest}' for digest, _ in file.parts])})

  def _check_label(self, file: table_files.File) -> None:
    if self.label not in file.frame:
      one = '; the file has one column, delimiter= sets the separator of values' * (
        len(file.frame) == 1)
      raise UserError(f'no column {self.label!r}{nearest(self.label, file.frame)}{one}')
    column = file.frame[self.label]
    if not is_text(column) or (self.task, self.threshold) == ('classification', None):
      return
    row = csv_numbers.text_row(column)
    found = (f'{file.where(row)}, column {self.label!r}: '
             f'{column[row]!r} is not a number')
    if self.task == 'regression':
      raise UserError(f"{found}; task='classification' turns text into classes")
    raise UserError(f'{found}, so it cannot be compared with the threshold')

  def _drop_rows(self, frame: Frame) -> tuple[np.ndarray, list[str]]:
    """The rows with a label that no step drops, and lines about dropped rows."""
    count = rows_of(frame)
    numbers = np.arange(count) if self.label is None else (
      np.flatnonzero(~missing(frame[self.label])))
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


def _absolute(path: str | tuple[str, ...] | None, field: str):
  if path is None and field == 'test':
    return None
  if not path or not all([path] if isinstance(path, str) else path):
    raise UserError(f'{field}: must be the path of a file, or several, got {path!r}')
  if isinstance(path, str):
    return files.absolute(path, field)
  return tuple(files.absolute(each, field) for each in path)
