"""Captioned pictures that tests write, as those of Flickr8k lie."""

import csv
import pathlib

from tests.data.folders import written

COUNTS = {'train': 20, 'validation': 8, 'test': 8}
_COLOURS = ('red', 'blue', 'green')
_THINGS = ('dog', 'cat', 'child', 'car')


def write(folder: pathlib.Path, counts: dict | None = None, *, shape=(32, 32)) -> None:
  """Writes `captions.csv` and the pictures that it names, with two or three captions.

  Args:
    folder: to write to.
    counts: split -> number of pictures.
    shape: height and width of the pictures.
  """
  rows, start = [], 0
  for split, count in (counts or COUNTS).items():
    names = [f'{split}{index}.png' for index in range(count)]
    written.write(folder / 'images', names, start, shape=shape)
    start += count
    for index, name in enumerate(names):
      colour, thing = _COLOURS[index % 3], _THINGS[index % 4]
      rows += [(name, split, f'a {colour} {thing} .'),
               (name, split, f'{thing} number {index} that is {colour}')]
      rows += [(name, split, f'the {thing}')] * (index % 2)
  table(folder / 'captions.csv', rows)


def table(path: pathlib.Path, rows, header=('file', 'split', 'caption')) -> None:
  """Writes a CSV file."""
  with path.open('w', newline='') as file:
    csv.writer(file).writerows([header, *rows])
