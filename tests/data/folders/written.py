"""Folders of images that tests write, and a context that keeps what is printed."""

import io

import numpy as np
from PIL import Image

from bigmodels.data.sources import DataContext


def picture(value, shape=(8, 8), *, channels=3):
  """An image with a different color for every value; it has no two equal pixels."""
  rng = np.random.default_rng(value)
  size = shape if channels == 1 else (*shape, channels)
  return Image.fromarray(rng.integers(0, 256, size).astype(np.uint8))


def encoded(image, kind='PNG', **options):
  image.save(file := io.BytesIO(), kind, **options)
  return file.getvalue()


def write(root, names, start=0, **options):
  """Writes a different PNG under each name; returns name -> its pixels."""
  found = {}
  for value, name in enumerate(names, start):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(value, **options)
    path.write_bytes(encoded(image))
    found[name] = np.asarray(image)
  return found


def many(classes, count, prefix=''):
  """Names of files, `count` in each class."""
  return [f'{prefix}{name}/{index:03}.png'
          for name in classes for index in range(count)]


def context(folder, **kept):
  """A context whose lines are in `said`."""
  said = []
  made = DataContext(str(folder), folder / 'cache', kept, said.append)
  made.said = said
  return made
