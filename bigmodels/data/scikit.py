"""Real data that is included in scikit-learn, without a download.

Its files are read directly: importing scikit-learn takes longer than a small run.
"""

import dataclasses
import importlib.util
import pathlib
import typing
from collections.abc import Mapping
from typing import Literal

import numpy as np

from bigmodels.core.errors import nearest
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, held_out, in_memory

_SPLITS = {'train': 0.8, 'test': 0.2}
_FEATURES = {name: tuple(text.split(', ')) for name, text in {
  'breast_cancer':
    'mean radius, mean texture, mean perimeter, mean area, mean smoothness, mean '
    'compactness, mean concavity, mean concave points, mean symmetry, mean '
    'fractal dimension, radius error, texture error, perimeter error, area error, '
    'smoothness error, compactness error, concavity error, concave points error, '
    'symmetry error, fractal dimension error, worst radius, worst texture, worst '
    'perimeter, worst area, worst smoothness, worst compactness, worst concavity, '
    'worst concave points, worst symmetry, worst fractal dimension',
  'diabetes':
    'age, sex, bmi, bp, s1, s2, s3, s4, s5, s6',
  'iris':
    'sepal length (cm), sepal width (cm), petal length (cm), petal width (cm)',
  'wine':
    'alcohol, malic_acid, ash, alcalinity_of_ash, magnesium, total_phenols, '
    'flavanoids, nonflavanoid_phenols, proanthocyanins, color_intensity, hue, '
    'od280/od315_of_diluted_wines, proline',
}.items()}


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
    table = _read('digits.csv.gz')
    rows = held_out(len(table), self.selected, self.splits)
    columns = {
      'inputs': table[rows, :-1].reshape(-1, 8, 8, 1).astype(np.uint8),
      'labels': table[rows, -1].astype(np.int32),
    }
    return in_memory(columns, tuple(map(str, range(10))))._replace(
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
    inputs, targets, classes = _table(self.name)
    rows = held_out(len(targets), self.selected, self.splits)
    columns = {
      'inputs': inputs[rows].astype(np.float32),
      'labels': targets[rows].astype(np.int32 if classes else np.float32),
    }
    return in_memory(columns, classes)._replace(
      features=_FEATURES[self.name],
      origin=_origin(self.name, rows, self.splits))


def _read(file: str, skip: int = 0) -> np.ndarray:
  """The numbers of a file of scikit-learn, `[rows, columns]`."""
  return np.loadtxt(_folder() / file, delimiter=',', skiprows=skip, ndmin=2)


def _folder() -> pathlib.Path:
  """The folder of its data; scikit-learn is not imported."""
  spec = importlib.util.find_spec('sklearn')
  return pathlib.Path(spec.submodule_search_locations[0]) / 'datasets' / 'data'


def _table(name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None]:
  """Inputs `[rows, features]`, targets `[rows]` and the classes of a table."""
  if name == 'diabetes':
    inputs = np.loadtxt(_folder() / 'diabetes_data_raw.csv.gz')
    # As `sklearn.datasets.load_diabetes`: every column has mean 0 and norm 1.
    inputs = (inputs - inputs.mean(0)) / inputs.std(0) / len(inputs) ** 0.5
    return inputs, np.loadtxt(_folder() / 'diabetes_target.csv.gz'), None
  file = 'wine_data.csv' if name == 'wine' else f'{name}.csv'
  with open(_folder() / file, encoding='utf-8') as lines:
    classes = tuple(next(lines).strip().split(',')[2:])  # after rows and features
  table = _read(file, skip=1)
  return table[:, :-1], table[:, -1], classes


def _origin(name: str, rows: np.ndarray, splits: Mapping[str, float]) -> Origin:
  source = f"scikit-learn's {name}"
  return Origin({source: rows}, {f'splits of {source}': dict(splits)})
