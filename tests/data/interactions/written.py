"""Files of interactions, and what is read from them."""

import numpy as np

from bigmodels import data
from tests.data.given import context


def write(folder, text, name='events.csv'):
  path = folder / name
  path.write_text(text)
  return str(path)


def drawn(folder, users=30, items=20, count=400, seed=0, name='events.csv'):
  """Distinct pairs with a rating and a time, in random order."""
  rng = np.random.default_rng(seed)
  pairs = rng.choice(users * items, count, replace=False)
  lines = ['user,item,rating,time']
  for place, pair in enumerate(pairs):
    user, item = divmod(int(pair), items)
    lines.append(f'u{user},i{item},{rng.integers(1, 6)},{(place * 7919) % 100_003}')
  return write(folder, '\n'.join(lines) + '\n', name)


def opened(path, split='train', said=None, **settings):
  """A split and the catalog that it provides."""
  found = context()
  dataset = data.Interactions(path, **settings).split(split).open(found)
  if said is not None:
    said += found.said
  return dataset.load(), dataset.provides['catalog']()
