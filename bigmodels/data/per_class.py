"""Training batches of a few examples of each of some classes, for metric learning."""

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.order import Composition
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import DataContext, Dataset
from bigmodels.data.subset import known_labels, of_rows


@dataclasses.dataclass(frozen=True)
class PerClass:
  """A split with classes, whose training batches are P classes with K examples each.

  P is the batch size / K (Hermans et al., *In defense of the triplet loss*, 2017). The
  batch of a step is a function of (seed, step); see `order.Composition`.

  Attributes:
    source: a split with classes; all its labels are read.
    each: K, the number of examples of a class in a batch.
    min_examples: minimum number of examples of a class; others are left out. Those of a
      class with fewer than K are repeated in a batch, where transforms make them
      differ; with `min_examples=1` a single one, too.
  """

  source: Any
  each: int = 4
  min_examples: int = 2

  def __post_init__(self):
    for name in ('each', 'min_examples'):
      value = getattr(self, name)
      if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f'{name}: must be an integer >= 1, got {value!r}')

  @property
  def reader(self) -> Callable[[DataContext], Reader] | None:
    """Makes the other source's reader of new examples, if it has one."""
    return getattr(self.source, 'reader', None)

  def open(self, context: DataContext) -> Dataset:
    """Opens the other source and reads its labels; prints which classes are left out.

    Raises:
      UserError: if the data has no classes, or fewer than two that are kept.
    """
    whole = self.source.open(context)
    if whole.classes is None:
      raise UserError('PerClass: needs data with classes')
    if whole.shapes_only:
      count = min(len(whole.classes), whole.length)
      context.say(f'assumed: each of {count:,} classes has {self.min_examples} or more '
                  'examples')
      return whole._replace(composition=Composition(
        np.arange(whole.length) % count, self.each))
    labels = known_labels(whole, context, 'PerClass')
    counts = np.bincount(labels[labels >= 0], minlength=len(whole.classes))
    kept = np.flatnonzero(counts >= self.min_examples)
    if len(kept) < 2:
      raise UserError(f'PerClass: {len(kept)} of {len(whole.classes):,} classes '
                      f'{"has" if len(kept) == 1 else "have"} {self.min_examples} or '
                      'more examples; two or more are needed')
    if len(kept) < len(counts):
      few = np.count_nonzero((counts < self.min_examples) & (counts > 0))
      context.note(f'{few:,} of {len(counts):,} classes have fewer than '
                   f'{self.min_examples} examples and are left out, as are their '
                   f'{_sum(counts, kept):,} examples (min_examples=1 keeps all)')
    repeated = np.count_nonzero(counts[kept] < self.each)
    if repeated:
      context.note(f'{repeated:,} of the {len(kept):,} classes have fewer than '
                   f'{self.each} examples, which are repeated in a batch')
    rows = np.flatnonzero(np.isin(labels, kept))
    found = of_rows(whole, rows, [whole.classes[number] for number in kept])
    number = np.cumsum(counts >= self.min_examples) - 1
    return found._replace(
      composition=Composition(number[labels[rows]], self.each),
      identity=f'{whole.identity}: {len(rows)} rows of {len(kept)} classes with '
               f'{self.min_examples} or more')


def _sum(counts: np.ndarray, kept: np.ndarray) -> int:
  """The examples of the classes that are not kept."""
  return int(counts.sum() - counts[kept].sum())
