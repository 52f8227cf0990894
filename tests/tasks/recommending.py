"""Small catalogs, batches and models for tests of tasks of recommendation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions.catalog import Catalog

USERS, ITEMS = 12, 30


def catalog(ratings=False, seed=0) -> Catalog:
  """Users with 5 to 14 items: the last is to test, the one before it to validate."""
  rng = np.random.default_rng(seed)
  user, item, part = [], [], []
  for number in range(USERS):
    found = rng.choice(ITEMS, rng.integers(5, 15), replace=False)
    user += [number] * len(found)
    item += found.tolist()
    part += [0] * (len(found) - 2) + [1, 2]
  made = Catalog(
    tuple(f'u{n}' for n in range(USERS)), tuple(f'i{n}' for n in range(ITEMS)),
    np.array(user, np.int32), np.array(item, np.int32), np.array(part, np.int8))
  if not ratings:
    return made
  rating = rng.integers(1, 6, len(user)).astype(np.float32)
  train = made.part == 0
  return made._replace(scale=(1.0, 5.0), biases=catalogs.fit_biases(
    made.user[train], made.item[train], rating[train], (USERS, ITEMS)))


def batch(found: Catalog, part: int, padding: int = 0, **columns):
  """The interactions of a split, and rows that do not count."""
  at = found.part == part
  made = {'users': found.user[at], 'items': found.item[at],
          'seen': np.full(at.sum(), max(0, part - 1)), **columns}
  count = int(at.sum())
  made = {name: np.concatenate([x, np.zeros((padding, *x.shape[1:]), x.dtype)])
          for name, x in made.items()}
  return {**{name: jnp.asarray(x) for name, x in made.items()},
          'mask': jnp.asarray((np.arange(count + padding) < count), jnp.float32),
          'row': jnp.arange(count + padding) * (jnp.arange(count + padding) < count)}


def had(found: Catalog, user: int, last: int = 2) -> set:
  return {*found.item[(found.user == user) & (found.part <= last)].tolist()}


def ranks(scores, target, candidates) -> tuple[int, int]:
  """How many candidates are above and equal, by a plain loop."""
  above = sum(bool(scores[item] > scores[target]) for item in candidates)
  return above, sum(bool(scores[item] == scores[target]) for item in candidates)


KEY = jax.random.PRNGKey(0)


def parameters(task, example, seed=0):
  """Parameters that are all drawn, without compiling anything."""
  shapes, state = jax.eval_shape(task.init, KEY, example)
  assert state == {}
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


def score(task, params, batch, train=False, key=KEY):
  """The loss, the metrics and the outputs, compiled once for each task and shape."""
  value, (_, metrics, outputs) = _compiled(task, train)(params, batch, key)
  return float(value), metrics, {name: np.asarray(x) for name, x in outputs.items()}


@functools.cache
def _compiled(task, train):
  return jax.jit(lambda params, batch, key: task.loss(
    params, {}, batch, key, train=train))
