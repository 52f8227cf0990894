"""The order of examples: the rows of every batch, as functions of (seed, step)."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

_CANDIDATES = 64  # quantiles of lengths, among which those of buckets are chosen


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
  """The lengths to which batches are padded.

  Attributes:
    lengths: in increasing order; the last one is that of the longest example.
    of: the bucket of each example, int `[length]`: the first that is long enough.
  """

  lengths: tuple[int, ...]
  of: np.ndarray

  @classmethod
  def of_lengths(cls, lengths: np.ndarray, count: int) -> 'Buckets':
    """Returns at most `count` buckets that need the least padding.

    Args:
      lengths: int `[n]`, the length of each example.
      count: number of buckets.
    """
    edges = np.unique(np.quantile(
      lengths, np.linspace(0, 1, _CANDIDATES + 1), method='higher'))
    below = np.searchsorted(np.sort(lengths), edges, 'right')
    # cost[j]: least padded steps of the examples up to edge j, with so many buckets.
    cost, chosen = below * edges, [[edge] for edge in edges.tolist()]
    for _ in range(count - 1):
      added = (below - below[:, None]) * edges  # [i, j]: a bucket from edge i to j
      total = np.where(np.tri(len(edges), dtype=bool), np.inf, cost[:, None] + added)
      best = total.argmin(0)
      better = total[best, range(len(edges))] < cost
      chosen = [[*chosen[i], edge] if use else old for i, edge, use, old in zip(
        best, edges.tolist(), better, chosen, strict=True)]
      cost = np.minimum(cost, total[best, range(len(edges))])
    found = np.array(chosen[-1], int)
    return cls(tuple(found.tolist()), np.searchsorted(found, lengths))


@dataclasses.dataclass(frozen=True, eq=False)
class Composition:
  """Batches of a few examples of each of some classes, such as people.

  Every pass deals the classes into batches, in an order that is a function of (seed,
  pass); those that do not fill the last batch are left out of this pass. The examples
  of a class are dealt to its passes alike, in an order that is a function of (seed,
  round, class): those of a batch are distinct, and adjacent. If a class has fewer, they
  are repeated, each as often as another or once more.

  Attributes:
    of: the class of each example, int `[length]`: 0, 1, ..., each with examples.
    each: number of examples of a class in a batch.
  """

  of: np.ndarray
  each: int

  @functools.cached_property
  def members(self) -> tuple[np.ndarray, ...]:
    """The rows of each class, int32 `[n]`."""
    order = np.argsort(self.of, kind='stable').astype(np.int32)
    return tuple(np.split(order, np.cumsum(np.bincount(self.of))[:-1]))

  def rows(self, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Returns the rows of a step, int32 `[batch_size]`.

    Args:
      batch_size: a multiple of `each`, for at most as many classes as there are.
      seed: seed of the order.
      step: number of the step, from 0.
    """
    count, per_batch = len(self.members), batch_size // self.each
    number, place = divmod(step, count // per_batch)
    dealt = permutation(count, seed, number)[place * per_batch :][:per_batch]
    return np.concatenate([self._dealt(index, seed, number) for index in dealt])

  def _dealt(self, index: int, seed: int, number: int) -> np.ndarray:
    """The examples of a class in a pass."""
    members = self.members[index]
    number, place = divmod(number, max(1, len(members) // self.each))
    # The first bits distinguish these from the keys of `permutation` and `Order.seeds`.
    key = np.uint64(3) << np.uint64(62) | np.uint64(number) << np.uint64(31) | (
      np.uint64(index))
    raw = np.random.Philox(key=np.array([seed, key], np.uint64)).random_raw(
      len(members))
    dealt = members[np.argsort(raw, kind='stable')][place * self.each :]
    return np.resize(dealt, self.each)


class Order(NamedTuple):
  """The rows of the batch of every step.

  Training reads one permutation after another, each a function of (seed, epoch) only. A
  batch may span the end of an epoch, so that every example is seen once per epoch for
  any batch size. Evaluation reads the split once, in order, and pads the last batch
  with -1.

  Attributes:
    length: number of examples of the split.
    batch_size: number of rows per step.
    seed: seed of the permutations.
    shuffle: whether to shuffle, for training.
    padding: number of additional rows of every batch; they are -1.
    buckets: the lengths of batches; None for one length. Examples of a bucket then
      share batches in random composition and order. The batches in which an epoch ends
      have examples of all lengths.
    composition: of the batches; None for batches of any examples. With one, an epoch is
      as many batches as without, in which an example may be any number of times.
  """

  length: int
  batch_size: int
  seed: int
  shuffle: bool
  padding: int = 0
  buckets: 'Buckets | None' = None
  composition: 'Composition | None' = None

  @property
  def steps_per_epoch(self) -> float:
    return self.length / self.batch_size

  def rows(self, step: int) -> np.ndarray:
    """Returns the rows of a step, int32 `[batch_size + padding]`."""
    rows = np.full(self.batch_size + self.padding, -1, np.int32)
    rows[: self.batch_size] = self._rows(step)
    return rows

  def epochs(self, step: int) -> np.ndarray:
    """Returns the epoch of each row, from 0, int32 `[batch_size + padding]`."""
    epochs = np.zeros(self.batch_size + self.padding, np.int32)
    if self.shuffle:
      epochs[: self.batch_size] = self._positions(step) // self.length
    return epochs

  def seeds(self, step: int) -> np.ndarray:
    """Returns seeds for random numbers while a step is read, uint64 `[n, 2]`.

    They are functions of the order's seed, the epoch and the row, so that an example is
    read in the same way wherever and however often its epoch is read.
    """
    rows, epochs = (x.astype(np.uint64) for x in (
      np.maximum(self.rows(step), 0), self.epochs(step)))
    # The first bit distinguishes these from the keys of `permutation`.
    examples = np.uint64(1) << np.uint64(63) | epochs << np.uint64(32) | rows
    return np.stack([np.full_like(rows, self.seed), examples], 1)

  def _positions(self, step: int) -> np.ndarray:
    return np.arange(step * self.batch_size, (step + 1) * self.batch_size)

  def _rows(self, step: int) -> np.ndarray:
    positions = self._positions(step)
    if not self.shuffle:
      return np.where(positions < self.length, positions, -1).astype(np.int32)
    if self.composition is not None:
      return self.composition.rows(self.batch_size, self.seed, step)
    epochs, positions = positions // self.length, positions % self.length
    rows = np.empty(self.batch_size, np.int32)
    for epoch in range(epochs[0], epochs[-1] + 1):
      here = epochs == epoch
      rows[here] = self._epoch(int(epoch))[positions[here]]
    return rows

  def bucket(self, step: int) -> int:
    """Returns the bucket of the longest example of a step."""
    return int(self.buckets.of[self._rows(step)].max())

  def _epoch(self, epoch: int) -> np.ndarray:
    if self.buckets is None:
      return permutation(self.length, self.seed, epoch)
    return _by_bucket(self.length, self.batch_size, self.seed, epoch, self.buckets)


@functools.lru_cache(maxsize=4)
def permutation(length: int, seed: int, epoch: int) -> np.ndarray:
  """Returns the permutation of rows for a seed and an epoch, int32 `[length]`.

  It is the same on every machine and for every NumPy release.

  Args:
    length: number of rows.
    seed: seed of the order.
    epoch: number of the epoch, from 0.
  """
  raw = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(length)
  return np.argsort(raw, kind='stable').astype(np.int32)


@functools.lru_cache(maxsize=4)
def _by_bucket(length: int, batch_size: int, seed: int, epoch: int, buckets: Buckets
               ) -> np.ndarray:
  """The rows of an epoch, int32 `[length]`, with whole batches of one bucket."""
  rows = permutation(length, seed, epoch)
  first = min(-epoch * length % batch_size, length)  # they complete a batch
  whole = (length - first) // batch_size
  inside = rows[first : first + whole * batch_size]
  inside = inside[np.argsort(buckets.of[inside], kind='stable')]
  inside = inside.reshape(whole, batch_size)[permutation(whole, seed, epoch)]
  return np.concatenate([rows[:first], inside.reshape(-1),
                         rows[first + inside.size :]])
