"""Batches: pure functions of (seed, step), resident on the device or streamed to it.

A split that fits is *resident*: it stays on the device and is gathered inside the
compiled step, many steps a dispatch. Any other is *streamed*: threads or processes read
and decode it, one step a dispatch. The batches are the same; augmentation and
normalisation run inside the step either way.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, as_user_error
from bigmodels.data.columns import check_finite
from bigmodels.data.sources import DataContext, Dataset, Source
from bigmodels.parallel.layout import Layout

RESIDENT_BYTES = 2 * 2**30
MOST_STEPS = 64  # in one dispatch: the rows that travel with it stay small


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
  """How an experiment reads a split.

  Attributes:
    source: a source's split: `Digits().split('train')`.
    batch_size: examples a step, over all devices; None takes the whole split, and
      pads it with masked examples to what can be cut over the devices. Or a
      function of the split, such as `at_most`.
    transforms: `(batch, key) -> batch` over a whole batch, in this order; they may
      lack `mean` and `std`, which are then fitted on the training split. Random
      numbers must be drawn in shapes `[batch, ...]`: these are the same however a
      batch is cut. One number for a batch, or a key split for each example, would
      differ between microbatches and between devices.
    resident: whether to keep the decoded split on the device; None decides by its size.
    workers: processes that read ahead when streamed; 0 reads in threads.
    corrupt: the most examples that may fail to decode before the run stops; these are
      masked. None allows one in a thousand of the split, but at least one. Each process
      of a streamed split counts what it reads itself.
  """

  source: Source
  batch_size: int | Callable[[int, int], int | None] | None
  transforms: tuple[Callable, ...] = ()
  resident: bool | None = None
  workers: int = 0
  corrupt: int | None = None

  def __post_init__(self):
    if self.batch_size is not None and not callable(self.batch_size) and (
      self.batch_size < 1):
      raise ValueError(f'batch_size: must be >= 1, got {self.batch_size}')
    if self.workers < 0:
      raise ValueError(f'workers: must be >= 0, got {self.workers}')
    if self.corrupt is not None and self.corrupt < 0:
      raise ValueError(f'corrupt: must be >= 0, got {self.corrupt}')


def at_most(length: int, cut: int, *, examples: int) -> int | None:
  """Returns a batch size for data of any length: small data gets small batches.

  `partial(at_most, examples=128)` is a `Batches.batch_size`.

  Args:
    length: examples of the split.
    cut: equal parts that a batch is cut into, over devices and microbatches.
    examples: the batch size if the split has as many; else it is an eighth of the
      split.

  Returns:
    A multiple of `cut`, at most `examples`; None, the whole split, if it has fewer.

  Raises:
    ValueError: if `examples` is below 1.
  """
  if examples < 1:
    raise ValueError(f'examples: must be >= 1, got {examples}')
  size = examples if length >= examples else max(1, length // (8 * cut)) * cut
  return size if size <= length else None


def size_of(batch_size: int | Callable | None, length: int, cut: int) -> int | None:
  """Returns the examples of a step, None for the whole split.

  Args:
    batch_size: see `Batches`.
    length, cut: see `at_most`.

  Raises:
    UserError: if `batch_size` is a function that fails.
  """
  if not callable(batch_size):
    return batch_size
  with as_user_error('batch_size'):
    return batch_size(length, cut)


def fits(dataset: Dataset) -> bool:
  """Returns whether a split is small enough to be resident by default."""
  return dataset.nbytes is not None and dataset.nbytes <= RESIDENT_BYTES


class Order(NamedTuple):
  """The rows of the batch of every step.

  Training reads one permutation after the other, each a function of (seed, epoch)
  alone; a batch may span the end of an epoch, so that every example is seen once an
  epoch whatever the batch size. Evaluation reads the split once, in order, and pads the
  last batch with -1.

  Attributes:
    length: examples of the split.
    batch_size: rows of a step.
    seed: of the permutations.
    shuffle: whether to train.
    padding: number of further rows of every batch; they are -1.
  """

  length: int
  batch_size: int
  seed: int
  shuffle: bool
  padding: int = 0

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
    """Returns seeds for what is drawn while a step is read, uint64 `[n, 2]`.

    They are functions of the seed of the order, the epoch and the row, so that an
    example is read in the same way wherever and however often its epoch is read.
    """
    rows, epochs = (x.astype(np.uint64) for x in (
      np.maximum(self.rows(step), 0), self.epochs(step)))
    # The first bit tells these apart from the keys of `permutation`.
    examples = np.uint64(1) << np.uint64(63) | epochs << np.uint64(32) | rows
    return np.stack([np.full_like(rows, self.seed), examples], 1)

  def _positions(self, step: int) -> np.ndarray:
    return np.arange(step * self.batch_size, (step + 1) * self.batch_size)

  def _rows(self, step: int) -> np.ndarray:
    positions = self._positions(step)
    if not self.shuffle:
      return np.where(positions < self.length, positions, -1).astype(np.int32)
    epochs, positions = positions // self.length, positions % self.length
    rows = np.empty(self.batch_size, np.int32)
    for epoch in range(epochs[0], epochs[-1] + 1):
      here = epochs == epoch
      rows[here] = permutation(self.length, self.seed, epoch)[positions[here]]
    return rows


@functools.lru_cache(maxsize=4)
def permutation(length: int, seed: int, epoch: int) -> np.ndarray:
  """Returns a permutation of rows, int32 `[length]`: one for each seed and epoch.

  It is the same on every machine and for every release of NumPy.

  Args:
    length: number of rows.
    seed: of the order.
    epoch: from 0.
  """
  raw = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(length)
  return np.argsort(raw, kind='stable').astype(np.int32)


class Loader(NamedTuple):
  """What hands the batches of an opened split to compiled code.

  Attributes:
    order: the rows of every step.
    dataset: the opened split.
    microbatches: number of parts that a batch is cut into, one after the other.
    resident: arrays that stay on the device; empty when streamed.
    host_batch: (first step, number of steps) -> arrays for one dispatch.
    batch: (resident, host_batch, index in the dispatch, a key for each microbatch) ->
      batch; traced. A batch has every column of the dataset; `mask` (float32, 0 for
      padding and for what cannot be decoded); `row` (int32, of the split, 0 where
      masked); and `epoch` (int32, from 0): each `[batch, ...]`, or `[microbatches,
      batch, ...]` if there are several.
    most: steps that one dispatch may take.
    close: stops workers.
    labels: those of a resident split that are not corrupt, on the host; None when
      streamed, and for data without labels.
  """

  order: Order
  dataset: Dataset
  microbatches: int
  resident: dict[str, jax.Array]
  host_batch: Callable[[int, int], dict[str, Any]]
  batch: Callable[..., dict[str, jax.Array]]
  most: int
  close: Callable[[], None]
  labels: np.ndarray | None = None


def open_loader(batches: Batches, name: str, context: DataContext, layout: Layout, *,
                dataset: Dataset, seed: int, shuffle: bool, steps: int,
                transforms: tuple, microbatches: int = 1) -> Loader:
  """Returns the loader of an opened split, resident or streamed.

  Args:
    batches: the settings.
    name: of the split in the experiment, for messages.
    context: prints lines, and knows the data that the run began with.
    layout: the devices that batches are cut over.
    dataset: the opened source.
    seed: of the order of examples.
    shuffle: whether to train (endless, shuffled) or to evaluate (once, in order).
    steps: number of steps of a shuffled loader.
    transforms: the completed `batches.transforms`.
    microbatches: see `Loader`.

  Raises:
    UserError: for other data than the run began with, a batch size that does not fit,
      or, of a resident split, examples that cannot be learned from.
  """
  context.check(name, dataset.identity)
  cut = layout.shape.data_shards * microbatches
  asked = size_of(batches.batch_size, dataset.length, cut)
  size = asked or dataset.length
  if not shuffle:
    size = -(-min(size, dataset.length) // cut) * cut
  elif size > dataset.length:
    raise UserError(f'--config.{name}.batch_size={size}: the split has only '
                    f'{dataset.length} examples; set it to at most that')
  elif asked:
    layout.check_batch(size, microbatches, name, dataset.length)
  order = Order(dataset.length, size, seed, shuffle, -size % cut)
  shape = (microbatches, (size + order.padding) // microbatches)
  resident = fits(dataset) if batches.resident is None else batches.resident
  path = name if shuffle else f'evals.{name}'
  say = context.say
  if not resident and jax.process_count() > 1:
    say = functools.partial(print, flush=True)  # each process reads rows of its own
  usable = _Usable(path, dataset, batches.corrupt, say)
  if resident:
    columns = dict(dataset.load())
    rows = usable.rows(columns, np.arange(dataset.length, dtype=np.int32))
    labels = columns.get('labels')
    if labels is not None and not (rows >= 0).all():
      labels = labels[rows >= 0]
    rows = np.append(rows, np.int32(-1))  # which is row -1
    arrays = {k: layout.replicate(v) for k, v in columns.items()}
    most = MOST_STEPS if shuffle else 1
    return Loader(order, dataset, microbatches, arrays,
                  functools.partial(_rows, order, rows, most, shape),
                  functools.partial(_gather, transforms, layout.shard_rows), MOST_STEPS,
                  lambda: None, labels)
  from bigmodels.data import stream  # here, as it costs 2 % of a start-up

  last = steps if shuffle else -(-dataset.length // size)
  positions = layout.local_positions(shape)
  workers = 0 if dataset.shapes_only else batches.workers
  reader = stream.Reader(path, order, dataset.read, last, workers, positions)

  def host_batch(step, count):
    assert count == 1, 'a streamed loader takes one step a dispatch'
    columns = reader.batch(step)
    columns['rows'] = usable.rows(columns, columns['rows'])
    return {k: layout.shard_batch(v, positions, shape) for k, v in columns.items()}

  return Loader(order, dataset, microbatches, {}, host_batch,
                functools.partial(_streamed, transforms), 1, reader.close)


class _Usable:
  """Finds the examples of a split that can be learned from; reports others once."""

  def __init__(self, path: str, dataset: Dataset, most: int | None,
               say: Callable[[str], None]):
    self._path, self._dataset, self._say = path, dataset, say
    self._most = max(1, dataset.length // 1000) if most is None else most
    self._corrupt: dict[int, None] = {}  # rows, in the order they were met
    self._finite = np.zeros(dataset.length, bool)  # rows that need no second look

  def rows(self, columns: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Returns the rows `[n]` of columns that were read, -1 for what is corrupt.

    Args:
      columns: `[n, ...]`; `corrupt` is taken out.
      rows: int32 `[n]`; -1 for padding.

    Raises:
      UserError: for more corrupt examples than are allowed, a label outside of the
        classes, or what is not finite.
    """
    corrupt = columns.pop('corrupt', None)
    if corrupt is not None:
      for row in rows[corrupt & (rows >= 0)].tolist():
        self._report(row)
      rows = np.where(corrupt, np.int32(-1), rows)
    if 'labels' in columns:
      self._check(np.asarray(columns['labels']), rows)
    kept = rows[rows >= 0]
    if not self._finite[kept].all():
      check_finite(self._path, columns, rows, self._dataset.describe)
      self._finite[kept] = True
    return rows

  def _report(self, row: int) -> None:
    if row in self._corrupt:
      return
    self._corrupt[row] = None
    found = f'row {row}{self._described(row)}'
    if len(self._corrupt) > self._most:
      others = ', '.join(map(str, [*self._corrupt][:20]))
      raise UserError(
        f'{self._path}: more corrupt examples than --config.{self._path}.corrupt '
        f'accepts, {self._most}: rows {others}; the last is {found}')
    self._say(f'{self._path}: skipped as corrupt: {found} '
              f'({len(self._corrupt)} so far, at most {self._most})')

  def _check(self, labels: np.ndarray, rows: np.ndarray) -> None:
    classes = self._dataset.classes
    if classes is None or labels.ndim != 1 or not np.issubdtype(
      labels.dtype, np.integer):
      return
    wrong = (rows >= 0) & ((labels < 0) | (labels >= len(classes)))
    if wrong.any():
      index = int(np.argmax(wrong))
      row = int(rows[index])
      raise UserError(
        f'{self._path}: the label of row {row} is {labels[index]}, must be 0 to '
        f'{len(classes) - 1} for {len(classes)} classes{self._described(row)}')

  def _described(self, row: int) -> str:
    describe = self._dataset.describe
    return f' ({describe(row)})' if describe else ''


def _rows(order: Order, known: np.ndarray, most: int, shape: tuple, step: int,
          count: int) -> dict[str, np.ndarray]:
  rows = np.full((most, math.prod(shape)), -1, np.int32)
  epochs = np.zeros_like(rows)
  for index in range(count):
    rows[index] = known[order.rows(step + index)]
    epochs[index] = order.epochs(step + index)
  return {'rows': rows.reshape(most, *shape), 'epochs': epochs.reshape(most, *shape)}


def _gather(transforms, shard, resident, host_batch, index, keys):
  rows, epochs = (shard(host_batch[name][index]) for name in ('rows', 'epochs'))
  batch = {k: v[jnp.maximum(rows, 0)] for k, v in resident.items()}
  return _transform(transforms, batch, rows, epochs, keys)


def _streamed(transforms, resident, host_batch, index, keys):
  del resident, index
  batch = dict(host_batch)
  rows, epochs = batch.pop('rows'), batch.pop('epochs')
  return _transform(transforms, batch, rows, epochs, keys)


def _transform(transforms, batch, rows, epochs, keys):
  batch['mask'] = (rows >= 0).astype(jnp.float32)
  batch['row'], batch['epoch'] = jnp.maximum(rows, 0), epochs

  def of_microbatch(batch, key):
    for index, transform in enumerate(transforms):
      batch = transform(batch, jax.random.fold_in(key, index))
    return batch

  if len(rows) == 1:
    return of_microbatch({k: v[0] for k, v in batch.items()}, keys[0])
  return jax.vmap(of_microbatch)(batch, keys)
