"""Real data that is included in scikit-learn, without a download."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Literal

import numpy as np

from bigmodels.core.errors import nearest
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, held_out, in_memory

_SPLITS = {'train': 0.8, 'test': 0.2}


@dataclasses.dataclass(frozen=True)
class Digits:
  """1,797 scanned handwritten digits, 8 x 8 pixels from 0 to 16, ten classes.

  The test set of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin
  and Kaynak, 1998), in random splits. Opened: `inputs` uint8 `[length, 8, 8, 1]`,
  `labels` int32 `[length]`.

  Attributes:
    selected: the split that `open` gives.
    splits: name -> fraction.
  """

  selected: str = 'train'
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: _SPLITS)

  def split(self, name: str) -> 'Digits':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    del context
    from sklearn import datasets

    digits = datasets.load_digits()
    rows = held_out(len(digits.target), self.selected, self.splits)
    columns = {
      'inputs': digits.images[rows, :, :, None].astype(np.uint8),
      'labels': digits.target[rows].astype(np.int32),
    }
    return in_memory(columns, tuple(str(n) for n in digits.target_names))._replace(
      origin=_origin('digits', rows, self.splits))


@dataclasses.dataclass(frozen=True)
class ScikitTable:
  """A table of numbers from scikit-learn, in random splits.

  Opened: `inputs` float32 `[length, features]`; `labels` `[length]`, int32 classes or
  float32 targets.

  Attributes:
    name: 'diabetes' (442 rows, regression), 'breast_cancer' (569, two classes),
      'iris' (150, three) or 'wine' (178, three).
    selected: the split that `open` gives.
    splits: name -> fraction.
  """

  name: Literal['diabetes', 'breast_cancer', 'iris', 'wine']
  selected: str = 'train'
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: _SPLITS)

  def __post_init__(self):
    names = typing.get_args(typing.get_type_hints(ScikitTable)['name'])
    if self.name not in names:
      raise ValueError(f'name: no table {self.name!r}{nearest(str(self.name), names)}')

  def split(self, name: str) -> 'ScikitTable':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    del context
    from sklearn import datasets

    table = getattr(datasets, f'load_{self.name}')()
    classes = getattr(table, 'target_names', None)
    classes = None if classes is None else tuple(str(c) for c in classes)
    rows = held_out(len(table.target), self.selected, self.splits)
    columns = {
      'inputs': table.data[rows].astype(np.float32),
      'labels': table.target[rows].astype(np.int32 if classes else np.float32),
    }
    return in_memory(columns, classes)._replace(
      features=tuple(map(str, table.feature_names)),
      origin=_origin(self.name, rows, self.splits))


def _origin(name: str, rows: np.ndarray, splits: Mapping[str, float]) -> Origin:
  source = f"scikit-learn's {name}"
  return Origin({source: rows}, {f'splits of {source}': dict(splits)})
