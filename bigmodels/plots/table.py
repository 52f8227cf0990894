"""A table among the plots of a split, for examples that are text or sounds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.plots.sounds import Sound


class Table(NamedTuple):
  """Some examples of a split in words and sounds.

  Attributes:
    columns: names of the columns.
    rows: the cells of each row; a sound can be listened to.
  """

  columns: Sequence[str]
  rows: Sequence[Sequence[str | Sound]]


class Inputs(NamedTuple):
  """Reads the inputs of examples of a split.

  Attributes:
    read: rows `[k]` -> raw inputs `[k, ...]`.
    words: rows `[k]` -> for each example name -> text for people; None for data
      without words, such as images.
    features: names along the last axis of the inputs, or None.
  """

  read: Callable[[np.ndarray], np.ndarray]
  words: Callable[[np.ndarray], Sequence[dict[str, str]]] | None = None
  features: Sequence[str] | None = None

  def __call__(self, rows: np.ndarray) -> np.ndarray:
    """Returns raw inputs, `[k, ...]`, of rows `[k]`."""
    return self.read(rows)


def ending(text: str, longest: int) -> str:
  """The last words of a text, at most `longest` letters; a longer one is marked."""
  if len(text) <= longest:
    return text
  kept = text[-longest:]
  _, space, words = kept.partition(' ')
  return f'… {words if space and words else kept}'


def spread(count: int, most: int) -> np.ndarray:
  """Returns at most `most` of the rows 0 to `count` - 1, int `[k]`, evenly spread."""
  return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
