"""Texts that tests give, and a context that keeps what is printed."""

import dataclasses

from bigmodels.data.sources import DataContext
from bigmodels.data.texts import Documents

SPECIAL = ('pad', 'begin', 'end')  # of translation


@dataclasses.dataclass(frozen=True)
class Given:
  """Texts that are given, by split."""

  splits: dict
  name: str = 'given'

  def read(self, split, context):
    return self.splits[split]


def given(**splits):
  return Given({name: Documents(list(t)) for name, t in splits.items()})


def context(**kept):
  said = []
  made = DataContext(None, None, kept, said.append)
  made.said = said
  return made
