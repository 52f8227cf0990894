"""A split as `data.json` tells of it: its shapes, without its examples.

A run that only writes needs no more, so it goes on where its data is not.
"""

import dataclasses
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.sources import DataContext, Dataset, zeros


def record(dataset: Dataset) -> dict[str, Any]:
  """What is kept of the training split; JSON."""
  columns = dataset.read(np.zeros(1, int))
  return {'length': dataset.length,
          'classes': None if dataset.classes is None else list(dataset.classes),
          'named': dataset.named,
          'features': None if dataset.features is None else list(dataset.features),
          'target': dataset.target,
          'columns': {name: [array.dtype.name, list(array.shape[1:])]
                      for name, array in columns.items() if name != 'corrupt'}}


@dataclasses.dataclass(frozen=True)
class Recorded:
  """The training split of a run, from what is kept with it; every example is zeros.

  Attributes:
    environment: of a split of episodes.
  """

  environment: Any = None

  def open(self, context: DataContext) -> Dataset:
    """A dataset with the length, classes and tokenizer that the run had.

    Raises:
      UserError: if nothing of this is kept, as by older versions.
    """
    kept = context.kept
    try:
      length, classes, columns = (
        kept['train'][name] for name in ('length', 'classes', 'columns'))
      identity = kept['identity train']
    except (KeyError, TypeError):
      raise UserError('the data.json of this run tells nothing of the training split: '
                      'an older version wrote it; begin the run anew') from None

    return zeros(
      columns, length, classes, identity, named=kept['train']['named'],
      target=kept['train'].get('target'),
      features=tuple(kept['train'].get('features') or ()) or None,
      tokenizer=tokenizers.load(kept['tokenizer']) if 'tokenizer' in kept else None)
