"""The description of the training split in `data.json`: shapes, without examples.

A run that only generates needs nothing else, so it works without its data.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.sources import DataContext, Dataset, zeros


def record(dataset: Dataset, evaluated: Dataset | None = None) -> dict[str, Any]:
  """Returns the description of the training split, as JSON.

  Args:
    dataset: the training split.
    evaluated: the first evaluation, which may have other columns; None for none.
  """
  return {'length': dataset.length,
          'classes': None if dataset.classes is None else list(dataset.classes),
          'named': dataset.named,
          'features': None if dataset.features is None else list(dataset.features),
          'target': dataset.target,
          'columns': _columns(dataset),
          'evaluated': None if evaluated is None else _columns(evaluated)}


def _columns(dataset: Dataset) -> dict[str, list]:
  """Column -> dtype and shape of an example."""
  return {name: [array.dtype.name, list(array.shape[1:])]
          for name, array in dataset.read(np.zeros(1, int)).items()
          if name != 'corrupt'}


@dataclasses.dataclass(frozen=True)
class Recorded:
  """The training split of a run, from its description; all examples are zeros.

  Its columns are those of an evaluation.

  Attributes:
    environment: environment of a split of episodes; None for other data.
    recorded: what the source provides without its data; see `sources.Source`.
  """

  environment: Any = None
  recorded: Callable[[Mapping[str, Any]], Mapping[str, Callable]] | None = None

  def open(self, context: DataContext) -> Dataset:
    """Returns a dataset with the length, classes and tokenizer of the run.

    Raises:
      UserError: if there is no description.
    """
    kept = context.kept
    try:
      length, classes, columns = (
        kept['train'][name] for name in ('length', 'classes', 'columns'))
      identity = kept['identity train']
    except (KeyError, TypeError):
      raise UserError('the data.json of this run does not describe the training split: '
                      'an older version wrote it; start the run again') from None
    columns = kept['train'].get('evaluated') or columns
    provides = {}
    if 'tokenizer' in kept:
      provides = tokenizers.provided(tokenizers.load(kept['tokenizer']))
    if self.environment is not None:
      provides['environment'] = lambda: self.environment
    if self.recorded is not None:
      provides |= self.recorded(kept)
    return zeros(
      columns, length, classes, identity, named=kept['train']['named'],
      target=kept['train'].get('target'),
      features=tuple(kept['train'].get('features') or ()) or None, provides=provides)
