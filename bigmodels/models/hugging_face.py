"""Where the parameters of a model are in the files of Hugging Face's `transformers`.

A model that is published there has a method `hugging_face() -> Published`; what reads
files knows no more of models than that.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Place(NamedTuple):
  """Where one parameter, or batch statistic, is.

  Attributes:
    name: of the array, without the prefix of its model. `{}` stands for the number of a
      block: the arrays of all blocks are stacked on a leading axis.
    transposed: whether its axes are as PyTorch has them: `[out, in]` of a dense layer,
      `[out, in, height, width]` of a convolution.
    part: which part of the last axis, after that, is meant.
    parts: of how many equal ones.
    merged: sizes of the axes, the first ones after that, that become one.
  """

  name: str
  transposed: bool = False
  part: int = 0
  parts: int = 1
  merged: tuple[int, ...] = ()


class Setting(NamedTuple):
  """What a key of `config.json` may say of a model that computes the same.

  Attributes:
    legal: the values; floats are compared to one part in a million.
    default: what `transformers` takes where the key is absent.
    alias: another key of the same meaning, read where the first is absent.
    of: regular expression of our names: the key matters where one of them is taken.
  """

  legal: tuple[Any, ...]
  default: Any
  alias: str = ''
  of: str = '.*'


class Published(NamedTuple):
  """How a family of models is written down.

  Attributes:
    family: its name, for messages.
    model_type: what `config.json` calls it.
    architecture: what the names of its classes in `architectures` begin with.
    places: the name of a parameter or batch statistic, such as 'norm/scale' or
      'norm/mean', -> where it is.
    rename: the name of an array in a file -> the one that `places` means.
    copies: name -> name of an array that has the same values, as tied layers have;
      either may be left out of a file, and two that differ are refused.
    buffers: regular expression of arrays that are nothing that is wanted: constants,
      counters.
    other: regular expression of arrays of known parts that this model has not.
    config: key of `config.json` -> what it may say. Sizes that the shapes of arrays
      show are not among them.
    unpublished: regular expression of our names that no file has -> why.
  """

  family: str
  model_type: str
  architecture: str
  places: Mapping[str, Place]
  rename: Callable[[str], str]
  copies: Mapping[str, str]
  buffers: str
  other: str
  config: Mapping[str, Setting]
  unpublished: Mapping[str, str] = {}


# Names in `transformers` of the GELU by `erf` and of the one by `tanh`.
GELU = ('gelu', 'gelu_python')
GELU_TANH = ('gelu_new', 'gelu_pytorch_tanh', 'gelu_python_tanh', 'gelu_fast',
             'gelu_accurate')
BLOCKS = r'(.*/)?blocks/.*'


def dense(ours: str, theirs: str, *, transposed: bool, part: int = 0,
          parts: int = 1) -> dict[str, Place]:
  """The kernel and bias of a dense layer."""
  return {f'{ours}/kernel': Place(f'{theirs}.weight', transposed, part, parts),
          f'{ours}/bias': Place(f'{theirs}.bias', False, part, parts)}


def norm(ours: str, theirs: str) -> dict[str, Place]:
  """The scale and bias of a normalisation."""
  return {f'{ours}/scale': Place(f'{theirs}.weight'),
          f'{ours}/bias': Place(f'{theirs}.bias')}


def conv_norm(ours: str, theirs: str) -> dict[str, Place]:
  """The filters of a `ConvNorm`, and the scale, bias and statistics of its norm."""
  theirs_norm = f'{theirs}.normalization'
  return {f'{ours}/conv/kernel': Place(f'{theirs}.convolution.weight', transposed=True),
          **norm(f'{ours}/norm', theirs_norm),
          f'{ours}/norm/mean': Place(f'{theirs_norm}.running_mean'),
          f'{ours}/norm/var': Place(f'{theirs_norm}.running_var')}
