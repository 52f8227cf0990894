"""Rankings of the items of a catalog, as tasks of recommendation share them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions.catalog import PARTS, Catalog, Known, Sampler

_CHUNK = 1024  # items that are scored at a time
_PACKED = 2**15  # scores that are counted in one sum


class Ranker(NamedTuple):
  """Ranks what users got next among the items that they did not have.

  Attributes:
    catalog: the users and items.
    known: the items that users have in all splits.
    sampler: draws other items; None if nothing is ranked.
    candidates: number of items to draw for each example.
    popularity: interactions of each item in training, float32 `[items]`.
    offered: bool `[items]`, which items may be recommended.
    top: number of items to recommend.
  """

  catalog: Catalog
  known: Known
  sampler: Sampler | None
  candidates: int
  popularity: np.ndarray
  offered: np.ndarray
  top: int

  def sampled(self, batch: dict[str, jax.Array], users: jax.Array) -> jax.Array:
    """The drawn items of each example, int32 `[batch, candidates]`.

    They depend only on the row of the example, so that every evaluation has the same.

    Args:
      batch: has the `row` of each example.
      users: int `[batch]`.
    """
    key = jax.random.key(0)
    return jax.vmap(lambda row, user: self.sampler.draw(
      jax.random.fold_in(key, row), user, self.candidates))(batch['row'], users)

  def outputs(self, scores: jax.Array, batch: dict[str, jax.Array], users: jax.Array,
              targets: jax.Array, drawn: jax.Array) -> dict[str, jax.Array]:
    """What `metrics.recommendation` reads, and what is recommended.

    Args:
      scores: of every item for each user, `[batch, items]`.
      batch: has `seen`, see `data.Interactions`.
      users: int `[batch]`.
      targets: the item that each user got, int `[batch]`.
      drawn: the sampled candidates, int `[batch, candidates]`; see `sampled`.
    """
    size = len(self.catalog.items)
    targets = jnp.maximum(targets, 0)
    had = catalogs.items_of(self.known, users, size, len(PARTS))
    had = jnp.where(had == targets[:, None], size, had)
    score = jnp.take_along_axis(scores, targets[:, None], 1)
    popularity, more, same = map(jnp.asarray, (
      self.popularity, *_counts_of_each(self.popularity)))

    def ranked(prefix, of, score, above, equal):
      """Counts among all items but those that users have, and among the drawn."""
      had_above, had_equal = counts(of(jnp.minimum(had, size - 1)), score, had < size)
      drawn_above, drawn_equal = counts(of(drawn), score)
      return {f'{prefix}above': above - had_above, f'{prefix}equal': equal - had_equal,
              f'{prefix}sampled_above': drawn_above,
              f'{prefix}sampled_equal': drawn_equal}

    above, equal = counts(scores, score)
    return {
      **ranked('', lambda items: jnp.take_along_axis(scores, items, 1), score, above,
               equal - (score == score)[:, 0]),
      **ranked('popularity_', lambda items: popularity[items],
               popularity[targets][:, None], more[targets], same[targets] - 1),
      **self.recommended(scores, batch, users), 'items': jnp.full(len(users), size)}

  def recommended(self, scores: jax.Array, batch: dict[str, jax.Array],
                  users: jax.Array) -> dict[str, jax.Array]:
    """The items with the highest scores among those that users do not have.

    Args:
      scores, batch, users: see `outputs`.

    Returns:
      `recommended` int32 `[batch, top]`, -1 where there is no other item, and their
      `scores` `[batch, top]`.
    """
    size = len(self.catalog.items)
    had = catalogs.items_of(self.known, users, size, batch['seen'])
    free = jnp.where(jnp.asarray(self.offered), scores, -jnp.inf).at[
      jnp.arange(len(users))[:, None], had].set(-jnp.inf, mode='drop')
    values, items = jax.lax.top_k(free, min(self.top, size))
    there = values > -jnp.inf
    return {'recommended': jnp.where(there, items, -1), 'scores': values}

  def nothing(self, count: int) -> dict[str, jax.Array]:
    """What `recommended` gives if there is no item, `[count, top]`."""
    shape = count, min(self.top, len(self.catalog.items))
    return {'recommended': jnp.full(shape, -1), 'scores': jnp.full(shape, -jnp.inf)}

  def answers(self, outputs: dict[str, np.ndarray]) -> dict[str, list]:
    """The recommended items by name, and their scores: a column for each place.

    Args:
      outputs: `recommended` and `scores`, both `[n, top]`.
    """
    items, scores = outputs['recommended'], outputs['scores']
    found = {}
    for place in range(items.shape[1]):
      found[f'item_{place + 1}'] = [
        self.catalog.items[item] if item >= 0 else None
        for item in items[:, place].tolist()]
      found[f'score_{place + 1}'] = [
        float(score) if item >= 0 else None
        for item, score in zip(items[:, place].tolist(), scores[:, place], strict=True)]
    return found


def ranker(catalog: Catalog, *, candidates: int | None = None, top: int,
           offered: np.ndarray | None = None) -> Ranker:
  """A ranker of the items of a catalog.

  Args:
    catalog: the users and items.
    candidates, top: see `Ranker`. If `candidates` are None, it recommends only.
    offered: bool `[items]`, which items may be recommended; all if None.

  Raises:
    ValueError: for a number below 1.
    UserError: if a user has all items, so that there are no candidates.
  """
  for name, value in (('candidates', candidates), ('top', top)):
    if value is not None and value < 1:
      raise ValueError(f'{name}: must be >= 1, got {value}')
  if offered is None:
    offered = np.ones(len(catalog.items), bool)
  sampler = None if candidates is None else catalogs.sampler(catalog)
  return Ranker(catalog, catalog.known(), sampler, candidates or 0, catalog.popularity,
                offered, top)


def counts(scores: jax.Array, score: jax.Array, counted: jax.Array | bool = True
           ) -> tuple[jax.Array, jax.Array]:
  """How many of the scores are above another, and how many equal it, int32 `[batch]`.

  If a score is NaN, nothing is below it.

  Args:
    scores: `[batch, n]`.
    score: `[batch, 1]`.
    counted: bool `[batch, n]`, which of the scores count; or True for all.
  """
  # Both counts in one sum: XLA takes ten times as long for two on a CPU.
  high, total = 2 * _PACKED, []
  both = (counted & ~(scores <= score)).astype(jnp.uint32) + high * (
    counted & (scores == score)).astype(jnp.uint32)
  for start in range(0, scores.shape[1], _PACKED):
    total.append(both[:, start : start + _PACKED].sum(1))
  return tuple(sum((each.astype(jnp.int32) for each in parts),
                   jnp.zeros(len(scores), jnp.int32))
               for parts in ([x % high for x in total], [x // high for x in total]))


def _counts_of_each(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """How many of the values are above each, and how many equal it, int32 `[n]`."""
  ordered = np.sort(values)
  above = len(values) - np.searchsorted(ordered, values, 'right')
  equal = len(values) - np.searchsorted(ordered, values, 'left') - above
  return above.astype(np.int32), equal.astype(np.int32)


def in_chunks(score: Callable[[jax.Array], jax.Array], size: int) -> jax.Array:
  """Scores of all items, `[batch, size]`, of some at a time, which saves memory.

  Args:
    score: items int `[k]` -> scores `[batch, k]`.
    size: number of items.
  """
  if size <= _CHUNK:
    return score(jnp.arange(size))
  count = -(-size // _CHUNK)
  items = jnp.minimum(jnp.arange(count * _CHUNK), size - 1).reshape(count, _CHUNK)
  parts = jax.lax.map(score, items)  # [count, batch, chunk]
  return jnp.moveaxis(parts, 0, 1).reshape(parts.shape[1], -1)[:, :size]
