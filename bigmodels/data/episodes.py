"""Episodes of an environment as a source: a row is one that is going to be played."""

import dataclasses
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, in_memory

_SPLITS = ('train', 'validation', 'test')
_MOST = 2**24  # episodes of a split


@dataclasses.dataclass(frozen=True)
class Episodes:
  """What agents act in, and are judged by.

  In training each row is an environment of those that are acted in side by side; an
  evaluation plays each row once, always the same, another split other ones.
  Classes are the actions; `inputs` are zeros of the shape of an observation.

  Attributes:
    environment: such as `environments.Gymnax('CartPole-v1')`.
    count: of episodes.
    selected: 'train', 'validation' or 'test'.
  """

  environment: Any
  count: int
  selected: str = 'train'

  def __post_init__(self):
    if not 1 <= self.count <= _MOST:
      raise ValueError(f'count: wants 1 to {_MOST:,}, got {self.count}')
    if self.selected not in _SPLITS:
      raise ValueError(f'selected: wants one of {", ".join(_SPLITS)}, got '
                       f'{self.selected!r}')

  def split(self, name: str, count: int | None = None) -> 'Episodes':
    """Episodes of another split, and so many."""
    return dataclasses.replace(self, selected=name, count=count or self.count)

  def open(self, context: DataContext) -> Dataset:
    del context
    if not hasattr(self.environment, 'open'):
      raise UserError("Episodes: wants an environment such as environments.Gymnax("
                      f"'CartPole-v1'), got {self.environment!r}")
    world = self.environment.open()
    seen = world.observation
    first = _SPLITS.index(self.selected) * _MOST
    zeros = np.broadcast_to(np.zeros((), seen.dtype), (self.count, *seen.shape))
    columns = {'inputs': zeros, 'labels': np.zeros(self.count, np.int32),
               'episode': np.arange(first, first + self.count, dtype=np.int32)}
    return in_memory(columns, world.actions)._replace(
      origin=Origin({f'the episodes of {self.environment}': range(
        first, first + self.count)}))
