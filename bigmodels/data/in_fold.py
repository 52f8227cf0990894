"""A training split in a fold of a cross-validation."""

import dataclasses
import zlib
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import folds, subset
from bigmodels.data.folds import ROW, Fold, Rows
from bigmodels.data.sources import DataContext, Dataset

_KEPT = ('notes', 'identity ')  # what sources keep that is not fitted


@dataclasses.dataclass(frozen=True)
class InFold:
  """A training split in one fold: the examples to train on, or those held out.

  What another source fits when it is opened, such as a tokenizer, is fitted to all of
  its examples. A source that must not do that, such as `Table`, has a method
  `in_fold(fold)`, which gives itself with the splits `train` and `held_out` of a fold.

  Attributes:
    source: the training split.
    fold: the fold.
    selected: 'train' or 'held_out'.
  """

  source: Any
  fold: Fold
  selected: str = 'train'

  @property
  def reader(self) -> Any:
    """Of the source; see `sources.Source`."""
    return self.source.reader

  @property
  def recorded(self) -> Any:
    """Of the source; see `sources.Source`."""
    return self.source.recorded

  @property
  def inherited(self) -> Any:
    """Of the source; see `sources.Source`."""
    return self.source.inherited

  def split(self, name: str) -> 'InFold':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Opens the split, and takes the examples of the fold.

    Raises:
      UserError: for examples that cannot be cut into folds.
    """
    before = {*context.kept}
    whole = self.source.open(context)
    _check_apart(whole)
    train, held, line = self.fold.cut(_rows(whole, context))
    if self.selected == 'train':
      context.note(line)
      fitted = [name for name in context.kept if name not in before
                and not name.startswith(_KEPT)]
      if fitted:
        context.note(f'what is fitted when the data is opened ({", ".join(fitted)}) is '
                     'fitted to all training examples, with those held out')
      if whole.origin is not None and whole.origin.keys is not None:
        keys = whole.origin.keys
        if again := int(np.isin(keys[held], keys[train]).sum()):
          context.note(f'warning: {again:,} of {len(held):,} examples held out equal '
                       'one that is trained on in all features')
    mine = train if self.selected == 'train' else held
    found = subset.taken(
      whole, mine, f'of fold {self.fold.number} of {self.fold.count}, crc32 '
      f'{zlib.crc32(mine.astype(np.int64)):08x}')
    return found._replace(ids={**found.ids, ROW: mine.astype(str).astype(object)})


def in_fold(source: Any, fold: Fold) -> Any:
  """Returns a training split in a fold; `split('held_out')` gives its other part."""
  own = getattr(source, 'in_fold', None)
  return InFold(source, fold) if own is None else own(fold)


def _check_apart(whole: Dataset) -> None:
  """Refuses examples that are no cases of their own.

  Raises:
    UserError: for episodes, and for parts of one source that may overlap.
  """
  if 'environment' in whole.provides:
    raise UserError('folds: an environment has no examples to hold out')
  if whole.composition is not None:
    raise UserError('folds: batches of several examples of each class cannot be held '
                    'out example by example')
  origin = whole.origin
  counts = () if origin is None else {len(rows) for rows in origin.rows.values()}
  if whole.compact is not None or {*counts} - {whole.length}:
    raise UserError('folds: the examples cannot be told apart by the rows of their '
                    'source, as windows of a series or texts of several files cannot, '
                    'so folds might share rows')


def _rows(whole: Dataset, context: DataContext) -> Rows:
  def column(name):
    if name not in whole.ids:
      raise folds.no_column(name, [*whole.ids])
    return whole.ids[name]

  groups = []
  for numbers in () if whole.origin is None else whole.origin.rows.values():
    if len(numbers) == whole.length > len(np.unique(numbers)):
      groups.append(folds.codes_of(numbers))  # examples of one row of the source
  return Rows(whole.length, column, _classes(whole, context),
              folds.united(*groups) if groups else None)


def _classes(whole: Dataset, context: DataContext) -> np.ndarray | None:
  """The class of each example; None for labels of another kind."""
  if whole.classes is None or whole.shapes_only:
    return None
  if whole.labels is None and np.ndim(whole.load().get('labels')) != 1:
    return None
  return subset.known_labels(whole, context, 'folds')
