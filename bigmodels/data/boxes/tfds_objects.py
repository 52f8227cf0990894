"""Datasets of TFDS with a feature `objects`, such as `bccd` and `coco`."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, nearest
from bigmodels.data import image_decoding
from bigmodels.data.boxes import annotations
from bigmodels.data.boxes.annotations import Annotations, Example, Objects
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext
from bigmodels.data.tfds import builders, descriptions, tfds_examples


@dataclasses.dataclass(frozen=True)
class TfdsObjects:
  """Annotated pictures of tensorflow-datasets, in the `array_record` format.

  The feature `objects` is a sequence of `bbox`, top, left, bottom and right in
  fractions of the picture, and `label`; perhaps with `is_crowd` and `area`.

  Attributes:
    name: name of the dataset in TFDS, perhaps with a configuration, `coco/2017`.
    splits: split -> its name in TFDS, where that is another.
  """

  name: str
  splits: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def read(self, split: str, context: DataContext) -> Annotations:
    """Opens a split; reads no example.

    Raises:
      UserError: if the dataset is not prepared, or lacks the split or `objects`.
    """
    info = builders.prepared(self.name, context).info
    base, first, last = self._rows(split, info.splits)
    classes = self._classes(info)
    root = str(builders.root(context.data_dir))
    files = [(path.name, path.stat().st_size) for path in map(
      pathlib.Path, info.splits[base].filepaths)]
    return Annotations(
      self.name, last - first, classes,
      functools.partial(_example, self.name, root, base, first),
      functools.partial(_where, self.name, base, first),
      f'{info.full_name} {split}, {digests.of_json([files, list(classes)])}',
      origin=Origin({f'{info.full_name} {base}': range(first, last)}))

  def described(self, split: str, context: DataContext
                ) -> tuple[int, tuple[str, ...], str]:
    """Returns the length, classes and identity of a split that may not be there.

    Raises:
      UserError: if the dataset is not known, or lacks `objects`.
    """
    info, _ = builders.described(self.name, context)
    lengths = {name: each.num_examples for name, each in info.splits.items()}
    length = lengths.get(self.splits.get(split, split)) or descriptions.LENGTH
    return length, self._classes(info), f'{info.full_name} {split}'

  def _rows(self, split: str, splits: Any) -> tuple[str, int, int]:
    return descriptions.rows(
      _Selected(self.name, self.splits.get(split, split)), splits)

  def _classes(self, info: Any) -> tuple[str, ...]:
    for feature in ('image', 'objects'):
      if feature not in info.features:
        raise UserError(f'{self.name} has no feature {feature!r}'
                        f'{nearest(feature, info.features)}')
    objects = getattr(info.features['objects'], 'feature', {})
    for feature in ('bbox', 'label'):
      if feature not in objects:
        raise UserError(f'{self.name}: its objects have no feature {feature!r}'
                        f'{nearest(feature, objects)}')
    label = objects['label']
    return annotations.check_classes(
      tuple(label.names or map(str, range(label.num_classes))), self.name)


@dataclasses.dataclass(frozen=True)
class _Selected:
  """What `descriptions.rows` and `tfds_examples.data_source` need of a source."""

  name: str
  selected: str


def _where(name: str, base: str, first: int, row: int) -> str:
  return f'{name} {base}, example {first + row}'


def _example(name: str, root: str, base: str, first: int, row: int) -> Example:
  found = tfds_examples.data_source(name, root, base)[int(first + row)]
  where = _where(name, base, first, row)
  data, objects = found['image'], found['objects']
  try:
    height, width, _ = image_decoding.header(data)
  except (ValueError, OSError):
    return Example(data, (0, 0), Objects(np.zeros((0, 4)), np.zeros(0, np.int32)))
  boxes = annotations.of_fractions(
    np.asarray(objects['bbox'], np.float64), (height, width), where)
  crowd, areas = (objects.get(key) for key in ('is_crowd', 'area'))
  return Example(data, (height, width), Objects(
    boxes, np.asarray(objects['label'], np.int32).reshape(-1),
    None if crowd is None else np.asarray(crowd, bool).reshape(-1),
    None if areas is None else np.asarray(areas, np.float64).reshape(-1)))
