"""Folds of cross-validation: the ways to cut a training split, and its parts."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, nearest

HELD_OUT = 'held_out'  # the name of the split that a fold holds out
ROW = 'row'  # the `Dataset.ids` with the numbers of examples in the training split


class Rows(NamedTuple):
  """What folds of examples may depend on.

  Attributes:
    length: number of examples.
    column: name -> a column `[length]` that is not an input, such as a patient's
      number; raises a `UserError` for a name that there is not.
    classes: the class of each, int `[length]`, -1 where it is not known; None without
      classes.
    groups: int `[length]`: those with the same number stay together; None if each is
      on its own.
    times: float `[length]`, if the splits of the data are by time.
  """

  length: int
  column: Callable[[str], np.ndarray]
  classes: np.ndarray | None = None
  groups: np.ndarray | None = None
  times: np.ndarray | None = None


class Folds(NamedTuple):
  """The folds of some examples.

  Attributes:
    parts: of each fold, the rows that are trained on and those that are held out, int
      `[n]`.
    how: how they were cut, such as 'stratified by class'.
  """

  parts: Sequence[tuple[np.ndarray, np.ndarray]]
  how: str


# (examples, number of folds) -> the folds.
Folding = Callable[[Rows, int], Folds]


def shuffled(rows: Rows, count: int, *, seed: int = 0, stratified: bool | None = None,
             group: str | None = None) -> Folds:
  """Cuts examples at random, so that each is held out once.

  The folds are those of scikit-learn with `shuffle=True` and `random_state=seed`:
  `StratifiedKFold`, or `KFold` without classes; `StratifiedGroupKFold` and `GroupKFold`
  for examples in groups.

  Args:
    rows: the examples.
    count: number of folds, >= 2.
    seed: of the random order.
    stratified: whether every fold has its share of each class; None if there are
      classes.
    group: a column whose equal values are held out together, besides what the data
      keeps together.

  Raises:
    UserError: for more folds than examples or groups, of all or of a class; for data
      whose splits are by time.
  """
  from sklearn import model_selection  # slow to import

  if not 0 <= seed < 2**32:
    raise UserError(f'folding.seed: must be >= 0 and < 2**32, got {seed}')
  if rows.times is not None:
    raise UserError('folding: the splits of this data are by time, which folds at '
                    'random are not; use bigmodels.data.folds.chronological')
  if stratified and rows.classes is None:
    raise UserError('folding.stratified: the data has no classes to stratify by')
  classes = rows.classes if stratified in (None, True) else None
  groups = rows.groups if group is None else codes_of(rows.column(group))
  if group is not None and rows.groups is not None:
    groups = united(groups, rows.groups)
  _check_count(count, classes, np.arange(rows.length) if groups is None else groups)
  name = ('Stratified' * (classes is not None) + 'Group' * (groups is not None)
          + 'KFold')
  splitter = getattr(model_selection, name)(count, shuffle=True, random_state=seed)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of classes that `_check_count` lets pass
    parts = [*splitter.split(np.zeros(rows.length), classes, groups)]
  how = ['at random'] if classes is None else ['stratified by class']
  if groups is not None:
    how.append(f'in {len(np.unique(groups)):,} groups that stay together')
  return Folds(parts, ', '.join(how))


def chronological(rows: Rows, count: int, *, time: str | None = None) -> Folds:
  """Cuts examples in order: each fold is trained on all that is before it.

  The folds are those of scikit-learn's `TimeSeriesSplit`: `count` parts of equal size
  at the end are held out, one after the other, and the rest of the beginning never is.

  Args:
    rows: the examples.
    count: number of folds, >= 2.
    time: a column of numbers to sort by; None for the times that the splits of the data
      are by, or for the order of the examples. Training examples at the time at which
      those held out begin are left out.

  Raises:
    UserError: for more folds than examples allow, or a column that is not of numbers.
  """
  from sklearn.model_selection import TimeSeriesSplit

  if count >= rows.length:
    raise UserError(f'folds: must be < {rows.length:,}, the number of training '
                    f'examples, got {count}')
  times = rows.times if time is None else _numbers(time, rows.column(time))
  how = 'in the order of the examples' if times is None else (
    'by time' if time is None else f'by {time}')
  times = np.arange(rows.length) if times is None else times
  order = np.argsort(times, kind='stable')
  parts = []
  for fold, (before, held) in enumerate(TimeSeriesSplit(count).split(order)):
    before, held = np.sort(order[before]), np.sort(order[held])
    before = before[times[before] < times[held].min()]
    if not len(before):
      raise UserError(f'folds: no example is before those of fold {fold} of {count}: '
                      'their times are equal; a smaller number of folds may do')
    parts.append((before, held))
  return Folds(parts, f'chronological, {how}')


@dataclasses.dataclass(frozen=True)
class Fold:
  """One fold of several.

  Attributes:
    number: from 0.
    count: number of folds.
    by: cuts the examples.
  """

  number: int
  count: int
  by: Folding

  def cut(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns the rows that are trained on, and those held out; and a line.

    Returns:
      int `[n]`, sorted; int `[m]`, sorted; what to print of them.

    Raises:
      UserError: if there are no such folds.
    """
    parts, how = self.by(rows, self.count)
    train, held = parts[self.number]
    return train, held, (
      f'fold {self.number} of {self.count} holds out {len(held):,} of '
      f'{len(train) + len(held):,} training examples, {how}')


def codes_of(column: np.ndarray) -> np.ndarray:
  """Returns a number for each value, int `[n]`: the same for equal values."""
  return np.unique(np.asarray(column).astype(str), return_inverse=True)[1]


def united(*groups: np.ndarray) -> np.ndarray:
  """Returns groups of rows that any of several groupings connects, int `[rows]`."""
  from scipy import sparse
  from scipy.sparse import csgraph

  rows, links = len(groups[0]), []
  offset = rows
  for codes in groups:
    links.append(codes + offset)
    offset += int(codes.max()) + 1
  ends = np.concatenate(links)
  starts = np.tile(np.arange(rows), len(groups))
  graph = sparse.coo_array((np.ones(len(ends), bool), (starts, ends)), (offset, offset))
  return csgraph.connected_components(graph, directed=False)[1][:rows]


def no_column(name: str, names: Sequence[str]) -> UserError:
  """Returns the error for a column that examples do not have."""
  return UserError(f'folding: there is no column {name!r}{nearest(name, names)}')


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
  try:
    found = np.asarray(column).astype(np.float64)
  except (TypeError, ValueError) as error:
    raise UserError(f'folding.time: the column {name!r} must be of numbers: {error}'
                    ) from None
  if np.isnan(found).any():
    raise UserError(f'folding.time: the column {name!r} lacks a value in example '
                    f'{int(np.argmax(np.isnan(found)))}')
  return found


def _check_count(count: int, classes: np.ndarray | None, groups: np.ndarray) -> None:
  """Refuses more folds than groups, of all or of a class: a fold would have none."""
  alone = len(np.unique(groups)) == len(groups)
  what = 'training examples' if alone else 'groups of examples that stay together'
  if (least := len(np.unique(groups))) < count:
    raise UserError(f'folds: must be <= {least:,}, the number of {what}, got {count}')
  if classes is None:
    return
  known = classes >= 0
  pairs = np.unique(np.stack([classes[known], groups[known]]), axis=1)[0]
  present, counts = np.unique(pairs, return_counts=True)
  if len(counts) and (least := int(counts.min())) < count:
    raise UserError(
      f'folds: must be <= {least:,}, the number of {what} of class '
      f'{present[counts.argmin()]}, got {count}; with '
      '--config.folding.stratified=False a fold may lack it')
