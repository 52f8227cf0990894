"""Fits the label and the cleaning steps of a table, and warns of losses."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest, number
from bigmodels.data import cleaning, columns
from bigmodels.data.frames import (
  BOOLEANS,
  Frame,
  booleans_of,
  is_text,
  missing,
  rows_of,
  take,
)

WARNING = 'warning: '
FEW = 0.05  # of the values of a column, or of all rows; losing more is a warning
_MOST_CLASSES = 100  # of numbers; with more of them the label is a quantity
_MOST_CODES = 20  # maximum number of values of integers that may be codes


def fit(table: Any, frame: Frame, rows: Mapping[str, np.ndarray], how: str,
        lines: list[str]) -> dict[str, Any]:
  """Fits the label and the cleaning steps of columns on the split 'train'.

  Args:
    table: a `table.Table`, for its settings.
    frame: the rows of all splits, after the steps that drop rows.
    rows: split -> its rows, int `[n]`.
    how: how they were split, to print.
    lines: descriptions of the steps are appended to these.

  Returns:
    The state that a run stores, as JSON: `label`, `columns` (name -> 'text' or
    'numbers'), `steps` (name and parameters of each) and `features` (names).

  Raises:
    UserError: if there is no such split, no feature is left, or the label has no
      classes.
  """
  if 'train' not in rows:
    raise UserError("splits: none is called 'train', to fit the cleaning steps on"
                    f'{nearest("train", rows)}')
  train = rows['train']
  lines.append(f'split: {", ".join(f"{n} {len(r):,}" for n, r in rows.items())} rows' +
               f'; {how}' * bool(how))
  label = {}
  if table.label is None:
    lines.append('label: none, all columns are features (label=, drop= and id= change '
                 'that)')
  else:
    label = _fit_label(table, frame[table.label], rows, lines)
  features = {n: c for n, c in frame.items() if n != table.label}
  if codes := [f'{name} ({count} values)' for name, column in features.items()
               if (count := _codes(column[train]))]:
    lines.append(f'numbers that may be codes: {listed(codes)}; '
                 'types=A:text,B:text treats columns A and B as categories')
  kinds = {n: 'text' if is_text(c) else 'numbers' for n, c in features.items()}
  steps = []
  for entry in table.clean:
    step, before = entry(), features
    if not step.drops_rows:
      parameters = step.fit(take(before, train))
      features = step.apply(parameters, before)
      lines.append(f'{step_name(entry)}: {step.describe(parameters, before, features)}')
      lost = step.losses(parameters, before, features)
      for name, kind in table.types.items():
        if kind == 'text' and lost.get(name) == rows_of(frame):
          raise UserError(f'types: column {name!r} is lost as text in '
                          f'{step_text(entry)}: {step.loss_note}')
      lines += losses(entry, parameters, before, features)
      steps.append([step_name(entry), parameters])
  if not features:
    raise UserError(f'no feature columns are left; {"; ".join(lines)}')
  targets = {table.label: frame[table.label]} if table.task == 'regression' else {}
  lines += _rounded_lines(features | targets)
  return {'label': label, 'columns': kinds, 'steps': steps,
          'features': list(features)}


def _fit_label(table: Any, column: np.ndarray, rows: Mapping[str, np.ndarray],
               lines: list[str]) -> dict[str, Any]:
  """The classes of a label, or the threshold between two; {} for regression."""
  train = rows['train']
  if table.task == 'regression':
    few = _codes(column) or len(np.unique(column)) == 2
    lines.append(f'label: {table.label}, {number(column.min())} to '
                 f'{number(column.max())}' + (
                   '; task=classification turns its few values into classes'
                   if few else ''))
    return {}
  if table.threshold is not None:
    at = table.threshold if table.threshold != 'median' else np.median(column[train])
    fitted = {'threshold': float(at), 'classes': [
      f'low (up to {number(at)})', f'high (above {number(at)})']}
  else:
    values = _sorted(np.unique(column).tolist())
    text = is_text(column)
    if table.types.get(table.label) != 'text' and (
      len(values) > (limit := len(column) // 2) or (
        not text and len(values) > min(limit, _MOST_CLASSES))):
      raise UserError(
        f'column {table.label!r} has {len(values):,} different values in '
        f'{len(column):,} rows, which are not classes; set ' + (
          "threshold='median' or to a number for two classes, task='regression', or "
          if not text else '') + f'types={table.label}:text if they are classes')
    fitted = {'values': values,
              'classes': values if text else [class_name(v) for v in values]}
  labels, classes = encode(column, fitted), fitted['classes']
  if len(np.unique(labels)) < 2:
    spread = '' if is_text(column) else (
      f' ({number(column.min())} to {number(column.max())})')
    raise UserError(f'column {table.label!r}{spread}: all {len(labels):,} labels are '
                    f'{classes[labels[0]]!r}; two classes are needed')
  counts = np.bincount(labels, minlength=len(classes))
  lines.append(f'label: {table.label}, {len(classes)} classes: ' + listed(
    f'{c} {n:,}' for c, n in zip(classes, counts, strict=True)))
  for name, part in rows.items():
    there = np.bincount(labels[part], minlength=len(classes))
    if absent := [c for c, n in zip(classes, there, strict=True) if not n]:
      lines.append(
        f'{WARNING * (name == "train")}split {name}: no row of {len(absent):,} of '
        f'{len(classes):,} classes: {listed(absent)}')
  return fitted


def _sorted(values: list[Any]) -> list[Any]:
  """Distinct values; integers as text are sorted as numbers."""
  numbers = all(isinstance(v, str) and re.fullmatch('-?[0-9]+', v) for v in values)
  return sorted(values, key=lambda v: (int(v), v)) if numbers else values


def class_name(value: float) -> str:
  """Returns all digits of a number: 435, 12345678901, 0.25."""
  return str(int(value)) if value.is_integer() else repr(value)


def step_name(entry: Callable[..., cleaning.Step]) -> str:
  """Returns the name of a step: `one_hot`."""
  return getattr(entry, 'func', entry).__name__


def step_text(entry: Callable[..., cleaning.Step]) -> str:
  """Returns a step with every setting: `one_hot(max_categories=50)`."""
  parameters = inspect.signature(entry).parameters.items()
  return f'{step_name(entry)}({", ".join(f"{n}={p.default!r}" for n, p in parameters)})'


def losses(entry: Callable[..., cleaning.Step], parameters: cleaning.Parameters,
           before: Frame, after: Frame) -> list[str]:
  """Returns a warning if a step loses more than 5 % of a column, or of all rows.

  Args:
    entry: makes the step.
    parameters: its fitted parameters.
    before, after: all rows before and after the step.
  """
  step, rows = entry(), max(rows_of(before), 1)
  lost = {name: count for name, count in step.losses(
    parameters, before, after).items() if count > FEW * rows}
  return [f'{WARNING}{step_name(entry)}: ' + listed(
    f'{name} ({count:,} of {rows:,}, {count / rows:.0%})'
    for name, count in lost.items()) + f': {step.loss_note}'] if lost else []


def _rounded_lines(frame: Frame) -> list[str]:
  """A warning for every column with large rounding errors in float32."""
  numeric = {name: column for name, column in frame.items() if not is_text(column)}
  names, values = list(numeric), list(numeric.values())
  step = columns.sample_step(rows_of(frame))
  found = columns.rounded(np.stack([v[::step] for v in values], 1), values.__getitem__)
  lines = [f'{WARNING}column {names[i]!r} ranges from {number(low)} to '
           f'{number(high)}: float32 rounds it by up to {number(error)}; subtract a '
           'constant from it in the file' for i, low, high, error in found[:8]]
  more = [f'{WARNING}{len(found) - 8:,} more columns have such rounding errors']
  return [*lines, *(more if len(found) > 8 else [])]


def _codes(column: np.ndarray) -> int:
  """The number of values of a column of integers that may be codes, else 0."""
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


def respelled_label(name: str, column: np.ndarray, fitted: Mapping[str, Any]
                    ) -> tuple[np.ndarray, list[str]]:
  """Spells true and false in a label as its classes do; see `respelled`.

  Args:
    name: of the label.
    column: the label, `[rows]`.
    fitted: the result of `fit` for the label.

  Returns:
    The column, and a line for each spelling that was changed.
  """
  known, lines = BOOLEANS.intersection(fitted.get('values', ())), []
  for value in sorted(booleans_of(column) - known) if known else ():
    same = [x for x in known if x.lower() == value.lower()]
    if len(same) == 1:
      column = column.copy()
      column[column == value] = same[0]
      lines.append(f'{name}: {value!r} is read as {same[0]!r}')
  return column, lines


def encode(column: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
  """Returns labels `[rows]`: int32 class indices, or float32 targets.

  Args:
    column: the label column, `[rows]`.
    fitted: the result of `fit` for the label.

  Raises:
    UserError: for a label that is not one of the classes.
  """
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


def features_like(frame: Frame, kinds: Mapping[str, str]) -> Frame:
  """Returns the columns that the steps were fitted to.

  Args:
    frame: columns of any file.
    kinds: name -> 'text' or 'numbers'.

  Raises:
    UserError: if a column is missing, or has another type.
  """
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


def respelled(features: Frame,
              steps: Sequence[tuple[cleaning.Step, cleaning.Parameters]]
              ) -> tuple[Frame, list[str]]:
  """Spells true and false as in training; typed files, CSV and NumPy differ.

  Args:
    features: the columns that the steps were fitted to.
    steps: the steps and their parameters.

  Returns:
    The columns, and a line for each spelling that was changed.
  """
  suspects = {name for name, column in features.items() if booleans_of(column)}
  lines = []
  for step, parameters in steps if suspects else ():
    there = {name: p for name, p in parameters.items() if name in suspects}
    for name, values in step.unseen(there, features).items():
      for value in sorted(BOOLEANS.intersection(values)):
        same = [x for x in sorted(BOOLEANS) if x.lower() == value.lower()]
        unseen = step.unseen({name: there[name]}, {name: np.array(same, object)})
        known = [x for x in same if x not in unseen[name]]
        if len(known) == 1:
          column = features[name].copy()
          column[column == value] = known[0]
          features = {**features, name: column}
          lines.append(f'{name}: {value!r} is read as {known[0]!r}')
  return features, lines


def matrix(features: Frame) -> np.ndarray:
  """Returns cleaned columns as inputs, float32 `[rows, features]`.

  Raises:
    UserError: for text, and for values that are missing or beyond float32.
  """
  texts = [name for name, column in features.items() if is_text(column)]
  if texts:
    raise UserError(f'still text after cleaning: {listed(texts)}; '
                    'cleaning.one_hot converts it to numbers')
  with np.errstate(over='ignore'):
    found = np.stack(list(features.values()), 1).astype(np.float32)
  for name, column in zip(features, found.T, strict=True):
    if bad := int((~np.isfinite(column)).sum()):
      raise UserError(f'column {name!r} has {bad:,} values that are missing or too '
                      'large after cleaning; cleaning.fill_missing fills them')
  return found
