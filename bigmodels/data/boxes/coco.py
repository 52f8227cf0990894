"""Boxes in COCO's JSON."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, one_line
from bigmodels.data.boxes import annotations
from bigmodels.data.boxes import files as picture_files
from bigmodels.data.boxes.annotations import Annotations, Objects
from bigmodels.data.boxes.files import Picture
from bigmodels.data.folders.listing import counted
from bigmodels.data.sources import FRACTIONS, DataContext, check_fractions


@dataclasses.dataclass(frozen=True)
class Coco:
  """Pictures with a JSON file in the format of COCO.

    Coco({'train': 'annotations/instances_train2017.json',
          'validation': 'annotations/instances_val2017.json'},
         {'train': 'train2017', 'validation': 'val2017'})

  The file has `images` (`id`, `file_name`, `width`, `height`), `categories` (`id`,
  `name`) and `annotations` (`image_id`, `category_id`, `bbox`: left, top, width and
  height in pixels; perhaps `area` and `iscrowd`).

  Attributes:
    path: the file; or split -> file.
    images: folder of the pictures; or split -> folder; None for that of the file.
    splits: split -> fraction, if there is one file.
  """

  path: str | Mapping[str, str]
  images: str | Mapping[str, str] | None = None
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: FRACTIONS)

  def __post_init__(self):
    for name in ('path', 'images'):
      if getattr(self, name) is not None:
        object.__setattr__(self, name, picture_files.absolute(
          getattr(self, name), name))
    check_fractions(self.splits)

  def read(self, split: str, context: DataContext) -> Annotations:
    """Reads the file of a split.

    Raises:
      UserError: if it is not as above, or a picture is missing.
    """
    path = files.find(picture_files.of_split(split, self.path, 'path'),
                      context.data_dir)
    folder = path.parent if self.images is None else files.find(
      picture_files.of_split(split, self.images, 'images'), context.data_dir)
    found = picture_files.read_as(path, json.loads, 'JSON')
    pictures, classes, notes = _pictures(found, path, folder)
    if isinstance(self.path, str):
      pictures, line = picture_files.divided(pictures, split, self.splits, str(path))
      notes.append(line)
    return picture_files.annotated(path.name, pictures, classes, notes)


def _pictures(found: Any, path: pathlib.Path, folder: pathlib.Path
              ) -> tuple[list[Picture], list[str], list[str]]:
  """The pictures of a file, the names of its classes, and lines."""
  if not isinstance(found, dict):
    raise UserError(f'{path}: must be an object with images, categories and '
                    f'annotations, got a {type(found).__name__}')
  for name in ('images', 'categories', 'annotations'):
    if not isinstance(found.get(name), list):
      raise UserError(f'{path}: has no list {name!r}; COCO has images, categories and '
                      'annotations')
  try:
    classes = [str(name) if type(name := each['name']) is int else name
               for each in found['categories']]
    numbers = {each['id']: index for index, each in enumerate(found['categories'])}
    if len(numbers) < len(classes):
      raise UserError(f'{path}: two categories have one id')
    of = collections.defaultdict(list)
    for each in found['annotations']:
      of[each['image_id']].append(each)
    images = {each['id']: each for each in found['images']}
    if len(images) < len(found['images']):
      number, count = collections.Counter(
        each['id'] for each in found['images']).most_common(1)[0]
      raise UserError(f'{path}: {count} images have the id {number!r}')
    names = [str(each['file_name']) for each in images.values()]
    lost = [each for each in of if each not in images]
    if lost:
      raise UserError(f'{path}: annotations are of the image {lost[0]!r}, which is '
                      'none of its images')
    paths = picture_files.located(names, folder, str(path),
                                  'images= sets where they are')
    pictures = []
    for name, file, (number, image) in zip(names, paths, images.items(), strict=True):
      where = f'{path.name}, {one_line(name)}'
      size = int(image['height']), int(image['width'])
      pictures.append(Picture(file, _objects(of[number], numbers, where), size, where))
  except (KeyError, TypeError, ValueError, OverflowError) as error:
    what = f'no {error}' if isinstance(error, KeyError) else str(error)
    raise UserError(f'{path}: an entry is not as COCO has it: {what}') from None
  crowds = sum(int(each.objects.crowd.sum()) for each in pictures)
  notes = [f'{counted(crowds, "group")} of objects, learned as background and ignored '
           'in evaluations'] if crowds else []
  return pictures, classes, notes


def _objects(given: list[dict], numbers: Mapping[Any, int], where: str) -> Objects:
  """The objects of a picture."""
  for each in given:
    if each['category_id'] not in numbers:
      raise UserError(f'{where}: the category {each["category_id"]!r} is none of its '
                      'categories')
    for name, fits, what in (
      ('bbox', lambda box: isinstance(box, list) and len(box) == 4,
       'four numbers: left, top, width and height'),
      ('iscrowd', lambda crowd: crowd in (0, 1, None), '0 or 1'),
      ('area', lambda area: area is None or (
        type(area) in (int, float) and 0 <= area < np.inf), 'a number >= 0')):
      if not fits(each[name] if name == 'bbox' else each.get(name)):
        raise UserError(f'{where}: the {name} of an annotation must be {what}, got '
                        f'{one_line(repr(each[name]), 60)}')
  boxes = np.array([each['bbox'] for each in given], np.float64).reshape(-1, 4)
  left, top, width, height = boxes.T
  boxes = annotations.in_pixels(
    np.stack([top, left, top + height, left + width], -1), where)
  areas = np.array([each.get('area') or np.nan for each in given], np.float64)
  return Objects(
    boxes, np.array([numbers[each['category_id']] for each in given], np.int32),
    np.array([bool(each.get('iscrowd')) for each in given], bool),
    np.where(np.isnan(areas), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), areas))
