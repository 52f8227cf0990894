"""Episodes of an environment as a source: a row is an episode, to be run later."""

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
  """Episodes that agents are trained and evaluated on.

  In training, rows are environments that run in parallel. An evaluation runs each row
  once; a row is always the same episode, and splits share no episodes. Opened: `inputs`
  are zeros of the shape of an observation, `episode` is the number of the episode,
  int32, and the classes are the actions. There are no labels.

  Attributes:
    environment: environment such as `environments.Gymnax('CartPole-v1')`.
    count: number of episodes.
    selected: 'train', 'validation' or 'test'.
  """

  environment: Any
  count: int
  selected: str = 'train'

  def __post_init__(self):
    if not 1 <= self.count <= _MOST:
      raise ValueError(f'count: must be 1 to {_MOST:,}, got {self.count}')
    if self.selected not in _SPLITS:
      raise ValueError(f'selected: must be one of {", ".join(_SPLITS)}; got '
                       f'{self.selected!r}')

  def split(self, name: str, count: int | None = None) -> 'Episodes':
    """Returns another split, with `count` episodes or the same number as here."""
    return dataclasses.replace(self, selected=name, count=count or self.count)

  def open(self, context: DataContext) -> Dataset:
    """Opens the environment for its shapes and actions.

    Raises:
      UserError: if it is not an environment.
    """
    del context
    if not hasattr(self.environment, 'open'):
      raise UserError('Episodes: needs an environment such as environments.Gymnax('
                      f"'CartPole-v1'), got {self.environment!r}")
    opened = self.environment.open()
    like, first = opened.observation, _SPLITS.index(self.selected) * _MOST
    zeros = np.broadcast_to(np.zeros((), like.dtype), (self.count, *like.shape))
    columns = {'inputs': zeros,
               'episode': np.arange(first, first + self.count, dtype=np.int32)}
    return in_memory(columns, opened.actions)._replace(
      provides={'environment': lambda: self.environment},
      origin=Origin({f'the episodes of {self.environment}': range(
        first, first + self.count)}))
