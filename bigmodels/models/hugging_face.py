"""Where the parameters of a model are in the files of Hugging Face's `transformers`.

A published model has a method `hugging_face() -> Published`: one table, by which
`storage.published` reads such files and `export.safetensors` writes them.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Location(NamedTuple):
  """Where one parameter, or batch statistic, is in a file.

  Attributes:
    name: name of the array, without the prefix of its model. `{}` is the number of a
      block; the arrays of all blocks are stacked on a leading axis.
    transposed: whether its axes are in PyTorch's order: `[out, in]` in a dense layer,
      `[out, in, height, width]` in a convolution.
    part: index of the part of the last axis, after transposition, to take.
    parts: number of equal parts of that axis.
    merged: sizes of leading axes, after that, that are merged into one.
  """

  name: str
  transposed: bool = False
  part: int = 0
  parts: int = 1
  merged: tuple[int, ...] = ()


class Setting(NamedTuple):
  """The values of a key of `config.json` that our model implements.

  Attributes:
    legal: the values; the first is written. Floats are compared to a relative error of
      1e-6.
    default: the value that `transformers` assumes if the key is absent.
    alias: another key with the same meaning, read if the first is absent.
    of: regular expression of our names; the key is checked if one of them is loaded.
  """

  legal: tuple[Any, ...]
  default: Any
  alias: str = ''
  of: str = '.*'


class Published(NamedTuple):
  """How files store a family of models.

  Attributes:
    family: its name, for messages.
    model_type: its name in `config.json`.
    architecture: common prefix of its class names in `architectures`.
    head: rest of the class name of a model with this head.
    pipeline: what the Hub calls the task of that class; '' for a model without a head.
    locations: name of a parameter or batch statistic, such as 'norm/scale' or
      'norm/mean', -> where it is.
    prefix: of the names in the files of models with a head; the names in `locations`
      have none.
    unprefixed: regular expression of names without the prefix: those of the head.
    copies: name -> name of an array with the same values, as in tied layers. A file may
      have only one of them; if they differ, the file is refused.
    buffers: regular expression of arrays that are not parameters: constants, counters.
    other: regular expression of arrays of known parts that this model does not have.
    config: key of `config.json` -> legal values.
    unchecked: key of `config.json` -> the value that is written. It is not checked when
      it is read: shapes of arrays determine it, or it matters only in training.
    spellings: part of an array's name in the oldest files -> the same part since.
    unpublished: regular expression of our names that no file has -> the reason.
    unlike: why `transformers` computes something else with the same parameters, so that
      they can be read but not written; '' if it does not.
  """

  family: str
  model_type: str
  architecture: str
  head: str
  pipeline: str
  locations: Mapping[str, Location]
  prefix: str
  unprefixed: str
  copies: Mapping[str, str]
  buffers: str
  other: str
  config: Mapping[str, Setting]
  unchecked: Mapping[str, Any]
  spellings: Mapping[str, str] = {}
  unpublished: Mapping[str, str] = {}
  unlike: str = ''

  def without_prefix(self, name: str) -> str:
    """The name in `locations` of an array in a file."""
    name = name.removeprefix(self.prefix)
    for old, new in self.spellings.items():
      name = name.replace(old, new)
    return name

  def with_prefix(self, name: str) -> str:
    """The name in a file of an array in `locations`; inverts `without_prefix`."""
    bare = not self.pipeline or re.fullmatch(self.unprefixed, name)
    return name if bare else self.prefix + name


# Names in `transformers` of the GELU with `erf` and of the GELU with `tanh`.
GELU = ('gelu', 'gelu_python')
GELU_TANH = ('gelu_new', 'gelu_pytorch_tanh', 'gelu_python_tanh', 'gelu_fast',
             'gelu_accurate')
BLOCKS = r'(.*/)?blocks/.*'


def dense(ours: str, theirs: str, *, transposed: bool, part: int = 0,
          parts: int = 1) -> dict[str, Location]:
  """Where the kernel and bias of a dense layer are.

  Args:
    ours: our name of the layer.
    theirs: name of the layer in the file.
    transposed: see `Location`.
    part: see `Location`.
    parts: see `Location`.
  """
  return {f'{ours}/kernel': Location(f'{theirs}.weight', transposed, part, parts),
          f'{ours}/bias': Location(f'{theirs}.bias', False, part, parts)}


def norm(ours: str, theirs: str) -> dict[str, Location]:
  """Where the scale and bias of a normalization are."""
  return {f'{ours}/scale': Location(f'{theirs}.weight'),
          f'{ours}/bias': Location(f'{theirs}.bias')}


def conv_norm(ours: str, theirs: str) -> dict[str, Location]:
  """Where the filters of a `ConvNorm`, and the arrays of its norm, are."""
  theirs_norm = f'{theirs}.normalization'
  filters = Location(f'{theirs}.convolution.weight', transposed=True)
  return {f'{ours}/conv/kernel': filters,
          **norm(f'{ours}/norm', theirs_norm),
          f'{ours}/norm/mean': Location(f'{theirs_norm}.running_mean'),
          f'{ours}/norm/var': Location(f'{theirs_norm}.running_var')}
