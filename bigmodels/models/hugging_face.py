"""Where the parameters of a model are in the files of Hugging Face's `transformers`.

A model that is published there has a method `hugging_face() -> Published`; what reads
files knows no more of models than that.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Place(NamedTuple):
  """Where one parameter is.

  Attributes:
    name: of the array, without the prefix of its model. `{}` stands for the number of a
      block: the arrays of all blocks are stacked on a leading axis.
    transposed: whether it is `[out, in]`, as in PyTorch's `Linear`.
    part: which part of the last axis, after that, is meant.
    parts: of how many equal ones.
    axes: which of its axes comes first, second, ...: (2, 3, 1, 0) for the kernel of a
      convolution, [out, in, height, width] in PyTorch; () leaves them as they are.
    merged: how many axes, the first ones after that, become one.
  """

  name: str
  transposed: bool = False
  part: int = 0
  parts: int = 1
  axes: tuple[int, ...] = ()
  merged: int = 1


class Published(NamedTuple):
  """How a family of models is written down.

  Attributes:
    family: its name, for messages.
    places: the name of a parameter, such as 'norm/scale', -> where it is.
    rename: the name of an array in a file -> the one that `places` means.
    copies: name -> name of an array that has the same values, as tied layers have;
      either may be left out of a file, and two that differ are refused.
    buffers: regular expression of arrays that are constants, no parameters.
    other: regular expression of arrays of known parts that this model has not.
    config: what `config.json` may say of a model that computes
      the same, name -> values.
  """

  family: str
  places: Mapping[str, Place]
  rename: Callable[[str], str]
  copies: Mapping[str, str]
  buffers: str
  other: str
  config: Mapping[str, tuple[Any, ...]]


def dense(ours: str, theirs: str, *, transposed: bool, part: int = 0,
          parts: int = 1) -> dict[str, Place]:
  """The kernel and bias of a dense layer."""
  return {f'{ours}/kernel': Place(f'{theirs}.weight', transposed, part, parts),
          f'{ours}/bias': Place(f'{theirs}.bias', False, part, parts)}


def norm(ours: str, theirs: str) -> dict[str, Place]:
  """The scale and bias of a layer normalisation."""
  return {f'{ours}/scale': Place(f'{theirs}.weight'),
          f'{ours}/bias': Place(f'{theirs}.bias')}
