"""Tables of recordings that tests write, and how they are opened."""

import csv

import numpy as np

from bigmodels import data
from bigmodels.data import tokenizers

CHARACTERS = tokenizers.Characters(special=('pad',))


def table(path, rows):
  """Writes a CSV file of mappings."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, [*rows[0]])
    writer.writeheader()
    writer.writerows(rows)
  return path


def features(folder, counts=(5, 3, 4), texts=('AB', 'B', 'A A'), name='train'):
  """Writes an array of frames that have their number, and a table of recordings."""
  starts = np.cumsum([0, *counts])
  frames = np.arange(starts[-1], dtype=np.float32)[:, None] + [[0.0, 0.5]]
  folder.mkdir(parents=True, exist_ok=True)
  np.save(folder / f'{name}.npy', frames.astype(np.float16))
  table(folder / f'{name}.csv', [
    {'id': f'{name}{i}', 'speaker': f's{i // 2}', 'start': start, 'frames': count,
     'text': text} for i, (start, count, text) in enumerate(
       zip(starts, counts, texts, strict=False))])
  return str(folder)


def speech(documents, **settings):
  return data.Speech(documents, CHARACTERS, **settings)
