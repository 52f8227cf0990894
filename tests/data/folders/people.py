"""Pictures of people that tests write, as those of LFW lie."""

import io
import pathlib

import numpy as np
from PIL import Image


def write(folder: pathlib.Path, size: int = 16, counts: dict | None = None) -> None:
  """Writes `index.csv`, `pairs_test.csv` and the pictures that they name.

  The pictures of a person are a pattern of their own and noise.

  Args:
    folder: to write to.
    size: side of the pictures.
    counts: split -> pictures of each of its people.
  """
  rng = np.random.default_rng(0)
  counts = counts or {'train': [3, 4, 2, 6, 3, 1, 5, 4], 'validation': [3] * 4,
                      'test': [3, 2, 1, 3]}
  lines, of = ['file,person,split'], {}
  for split, people in counts.items():
    (folder / split).mkdir(parents=True)
    for person, count in enumerate(people):
      pattern = rng.integers(30, 220, (4, 4, 3)).repeat(size // 4, 0).repeat(
        size // 4, 1)
      for number in range(count):
        name, noise = f'{split}/P{person}_{number}.png', rng.integers(
          -20, 21, pattern.shape)
        (folder / name).write_bytes(_png((pattern + noise).astype(np.uint8)))
        lines.append(f'{name},{split} {person},{split}')
        of.setdefault(split, []).append((name, person))
  (folder / 'index.csv').write_text('\n'.join(lines))
  test = of.get('test', [])
  pairs = [f'{a},{b},{int(i == j)}' for k, (a, i) in enumerate(test)
           for b, j in test[k + 1 :]]
  (folder / 'pairs_test.csv').write_text('\n'.join(['a,b,same', *pairs]))


def _png(image):
  Image.fromarray(image).save(file := io.BytesIO(), 'PNG')
  return file.getvalue()
