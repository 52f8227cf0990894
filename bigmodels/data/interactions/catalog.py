"""The users and items of a run, by number, and who had what."""

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError

PARTS = ('train', 'validation', 'test')  # in the order of time, if splits are by time
_SHRINKAGE = 5.0  # ratings of an average user or item that biases are drawn towards


class Known(NamedTuple):
  """The distinct items of every user.

  Attributes:
    starts: where the items of each user begin, int32 `[users + 1]`.
    items: sorted for each user, int32 `[n]`.
    parts: the first split that each is of, index in `PARTS`, int8 `[n]`.
    most: maximum number of items of a user.
  """

  starts: np.ndarray
  items: np.ndarray
  parts: np.ndarray
  most: int


class Catalog(NamedTuple):
  """The users and items of a run, and their interactions.

  Attributes:
    users, items: their names.
    user, item: of each interaction, by user and in the order of time, int32 `[n]`.
    part: its split, index in `PARTS`, int8 `[n]`.
    scale: the lowest and the highest rating, or None without ratings.
    biases: what ratings are without a model, float32: `mean` `[]`, `users` `[users]`
      and `items` `[items]`; or None. See `fit_biases`.
    features: `user_numbers` float32 `[users, k]`, `user_categories` int32 `[users, k]`,
      and the same of items; those that there are.
    num_categories: categories of all features.
  """

  users: tuple[str, ...]
  items: tuple[str, ...]
  user: np.ndarray
  item: np.ndarray
  part: np.ndarray
  scale: tuple[float, float] | None = None
  biases: dict[str, np.ndarray] | None = None
  features: dict[str, np.ndarray] = {}
  num_categories: int = 0

  def known(self, last: int = len(PARTS)) -> Known:
    """Returns the distinct items of every user in the splits up to the one `last`."""
    here = self.part <= last
    pair = self.user[here].astype(np.int64) * len(self.items) + self.item[here]
    order = np.lexsort((self.part[here], pair))
    pair, part = pair[order], self.part[here][order]
    first = np.append(True, pair[1:] != pair[:-1])[: len(pair)]
    user, item = np.divmod(pair[first], len(self.items))
    count = np.bincount(user, minlength=len(self.users))
    return Known(np.append(0, np.cumsum(count)).astype(np.int32), item.astype(np.int32),
                 part[first], int(count.max(initial=0)))

  @property
  def trained(self) -> tuple[np.ndarray, np.ndarray]:
    """Which users and which items have an interaction in training, bool `[n]` each."""
    here = self.part == 0
    return tuple(np.bincount(column[here], minlength=len(names)) > 0 for column, names
                 in ((self.user, self.users), (self.item, self.items)))

  @property
  def popularity(self) -> np.ndarray:
    """The number of interactions of each item in training, float32 `[items]`."""
    return np.bincount(self.item[self.part == 0],
                       minlength=len(self.items)).astype(np.float32)

  def kept(self) -> dict[str, Any]:
    """Returns everything as JSON."""
    arrays = {'user': self.user, 'item': self.item, 'part': self.part,
              **{f'biases {name}': x for name, x in (self.biases or {}).items()},
              **{f'features {name}': x for name, x in self.features.items()}}
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return {'users': [*self.users], 'items': [*self.items],
            'scale': self.scale and [*self.scale], 'categories': self.num_categories,
            'arrays': base64.b64encode(data.getvalue()).decode()}


def of_kept(kept: Mapping[str, Any]) -> Catalog:
  """Returns the catalog that `Catalog.kept` gave."""
  with np.load(io.BytesIO(base64.b64decode(kept['arrays']))) as file:
    arrays = {name: file[name] for name in file.files}

  def named(start):
    return {name.removeprefix(start): array for name, array in arrays.items()
            if name.startswith(start)}

  return Catalog(
    tuple(kept['users']), tuple(kept['items']), arrays['user'], arrays['item'],
    arrays['part'], kept['scale'] and tuple(kept['scale']), named('biases ') or None,
    named('features '), kept['categories'])


def provided(catalog: Catalog) -> dict[str, Any]:
  """Returns what a run supplies to its configs: the catalog and its sizes."""
  return {'catalog': lambda: catalog, 'num_users': lambda: len(catalog.users),
          'num_items': lambda: len(catalog.items),
          'num_categories': lambda: catalog.num_categories}


def fit_biases(user: np.ndarray, item: np.ndarray, rating: np.ndarray,
               sizes: tuple[int, int]) -> dict[str, np.ndarray]:
  """Fits the mean of all ratings, and what users and items differ from it.

  The baseline estimates of Koren, *Factor in the neighbors*, 2010, by alternating
  least squares: each bias is shrunk as if it had 5 more ratings without one.

  Args:
    user, item: int `[n]`.
    rating: `[n]`.
    sizes: numbers of users and of items.

  Returns:
    `mean` `[]`, `users` `[users]` and `items` `[items]`; 0 without a rating.
  """
  users, items = np.zeros(sizes[0]), np.zeros(sizes[1])
  rest = rating.astype(np.float64)
  mean = rest.mean()
  counts = [np.bincount(x, minlength=n) + _SHRINKAGE
            for x, n in zip((user, item), sizes, strict=True)]
  for _ in range(20):
    items = np.bincount(item, rest - mean - users[user], sizes[1]) / counts[1]
    users = np.bincount(user, rest - mean - items[item], sizes[0]) / counts[0]
  return {name: np.asarray(x, np.float32) for name, x in (
    ('mean', mean), ('users', users), ('items', items))}


class Sampler(NamedTuple):
  """Draws items that a user does not have, each with the same probability.

  A draw is a number below the count of such items; the item is found by bisection
  among those that the user has, so that nothing is drawn twice.

  Attributes:
    starts: see `Known`.
    shifted: for the items of `Known`, how many others of the user are below each.
    size: number of all items.
    most: see `Known`.
  """

  starts: np.ndarray
  shifted: np.ndarray
  size: int
  most: int

  def draw(self, key: jax.Array, users: jax.Array, count: int) -> jax.Array:
    """Returns items, int32 `[..., count]`, drawn with replacement.

    Args:
      key: PRNG key.
      users: int `[...]`; of a negative one, any item is drawn.
      count: number of items for each.
    """
    first, last = (end[..., None] for end in _ends(self.starts, users))
    drawn = jax.random.randint(
      key, (*users.shape, count), 0, self.size - (last - first))
    return drawn + _up_to(self.shifted, first, last, drawn, self.most)


def has(known: Known, users: jax.Array, items: jax.Array) -> jax.Array:
  """Returns whether each user has each item, bool `[batch, n]`.

  Args:
    known: the items of every user.
    users: int `[batch]`; a negative one has none.
    items: int `[n]`.
  """
  first, last = (end[:, None] for end in _ends(known.starts, users))
  count = _up_to(known.items, first, last, items[None], known.most)
  if not known.most:
    return count > 0
  found = jnp.asarray(known.items)[jnp.maximum(first + count - 1, 0)]
  return (count > 0) & (found == items)


def _ends(starts: np.ndarray, users: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Where the items of users begin and end, int32 `[...]`."""
  starts, row = jnp.asarray(starts), jnp.maximum(users, 0)
  return starts[row], jnp.where(users >= 0, starts[row + 1], starts[row])


def _up_to(ordered: np.ndarray, first: jax.Array, last: jax.Array, value: jax.Array,
           most: int) -> jax.Array:
  """How many numbers of a part are <= a value, int32, by bisection.

  Args:
    ordered: `[n]`, sorted within each part.
    first, last: ends of the parts, which broadcast with the values.
    value: `[...]`.
    most: maximum length of a part.
  """
  shape = jnp.broadcast_shapes(first.shape, value.shape)
  low, high = (jnp.broadcast_to(end, shape) for end in (first, last))
  for _ in range(most.bit_length()):
    middle = (low + high) // 2
    below = (low < high) & (jnp.asarray(ordered)[middle] <= value)
    low, high = jnp.where(below, middle + 1, low), jnp.where(
      below | (low >= high), high, middle)
  return low - first


def sampler(catalog: Catalog, last: int = len(PARTS)) -> Sampler:
  """Returns a sampler of the items that a user does not have.

  Args:
    catalog: the users and items.
    last: the items of the splits up to this one are those that a user has.

  Raises:
    UserError: if a user has all items.
  """
  known = catalog.known(last)
  counts = np.diff(known.starts)
  if known.most >= len(catalog.items):
    name = catalog.users[int(np.argmax(counts))]
    raise UserError(f'user {name!r} has all {len(catalog.items):,} items, so that no '
                    'negative can be drawn; leave this user out')
  place = np.arange(len(known.items)) - np.repeat(known.starts[:-1], counts)
  return Sampler(known.starts, (known.items - place).astype(np.int32),
                 len(catalog.items), known.most)


def items_of(known: Known, users: jax.Array, size: int, last: jax.Array | int
             ) -> jax.Array:
  """Returns the items of users, int32 `[batch, most]`, `size` where there is none.

  Args:
    known: the items of every user.
    users: int `[batch]`; a negative one has none.
    size: number of all items.
    last: index of the last split that counts, for each int `[batch]`, or for all.
  """
  if not known.most:
    return jnp.full((len(users), 0), size)
  starts = jnp.asarray(known.starts)
  row = jnp.maximum(users, 0)
  place = starts[row][:, None] + jnp.arange(known.most)
  there = (place < starts[row + 1][:, None]) & (users >= 0)[:, None]
  place = jnp.where(there, place, 0)
  last = jnp.broadcast_to(last, users.shape)[:, None]
  there &= jnp.asarray(known.parts)[place] <= last
  return jnp.where(there, jnp.asarray(known.items)[place], size)


def numbers_of(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
  """Returns the number of each name, int32 `[n]`; -1 for one that is not known."""
  index = _index(tuple(known))
  return np.array([index.get(name, -1) for name in names], np.int32)


@functools.lru_cache(maxsize=4)
def _index(known: tuple[str, ...]) -> dict[str, int]:
  return {name: number for number, name in enumerate(known)}
