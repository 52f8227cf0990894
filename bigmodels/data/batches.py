"""Batches: pure functions of (seed, step), resident on the device or streamed to it.

A split that fits is *resident*: it is kept on the device, and batches are gathered
inside the compiled step, with many steps per dispatch. Other splits are *streamed*:
threads or processes read and decode them, with one step per dispatch. Both give the
same batches. Augmentation and normalization always run inside the step.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, as_user_error
from bigmodels.data.columns import check_finite
from bigmodels.data.order import Composition, Order
from bigmodels.data.sources import DataContext, Dataset, Source
from bigmodels.parallel.layout import Layout

RESIDENT_BYTES = 2 * 2**30
MOST_STEPS = 64  # in one dispatch, so that the rows sent with it are small


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
  """How an experiment reads a split.

  Attributes:
    source: the split of a source, such as `Digits().split('train')`.
    batch_size: examples per step, over all devices; or a function of the split, such as
      `at_most`. None takes the whole split, padded with masked examples so that it can
      be divided over the devices.
    transforms: `(batch, key) -> batch` over a whole batch, in this order. They may omit
      `mean` and `std`, which are then computed from the training split. Random numbers
      must have shapes `[batch, ...]`, which are the same however a batch is divided. A
      single number for a batch, or a key split for each example, would differ between
      microbatches and between devices.
    resident: whether to keep the decoded split on the device; None decides by its size.
    workers: number of processes that read ahead when streamed; 0 reads in threads.
    corrupt: maximum number of examples that may fail to decode before the run stops;
      these are masked. None allows one in a thousand of the split, but at least one.
      Each process counts the examples of a streamed split that it reads.
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
  """Returns a batch size that is smaller for small data.

  `partial(at_most, examples=128)` is a `Batches.batch_size`.

  Args:
    length: number of examples of the split.
    cut: number of equal parts of a batch, over devices and microbatches.
    examples: maximum batch size; for small splits it is an eighth of the split.

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
  """Returns the number of examples per step, None for the whole split.

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


class Loader(NamedTuple):
  """Passes the batches of an opened split to compiled code.

  Attributes:
    order: the rows of every step.
    dataset: the opened split.
    microbatches: number of microbatches of a batch, processed one after another.
    resident: arrays that are kept on the device; empty when streamed.
    host_batch: (first step, number of steps) -> arrays for one dispatch.
    batch: (resident, host_batch, index in the dispatch, a key for each microbatch,
      length=None) -> batch; traced. Inputs are cut to the length. A batch has every
      column of the dataset; `mask` (float32, 0 for padding and for corrupt examples);
      `row` (int32, row of the split, 0 where masked); and `epoch` (int32, from 0): each
      `[batch, ...]`, or `[microbatches, batch, ...]` if there are several.
    most: maximum number of steps of a dispatch.
    close: stops workers.
    labels: labels of the examples of a resident split that are not corrupt, on the
      host; None when streamed, and for data without labels.
    others: `host_batch` of the other members of a population, each with its own order
      of examples; empty for one run.
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
  others: tuple[Callable[[int, int], dict[str, Any]], ...] = ()

  @property
  def lengths(self) -> tuple[int, ...]:
    """The lengths of batches, if there are several."""
    return self.order.buckets.lengths if self.order.buckets else ()

  def bucket(self, host_batch: dict[str, jax.Array], index: jax.Array) -> jax.Array:
    """Which of `lengths` a batch of a dispatch has, a scalar; traced."""
    found = host_batch['buckets']  # the same on all devices
    return jnp.max(found[index] if self.resident else found)


def open_loader(batches: Batches, name: str, context: DataContext, layout: Layout, *,
                dataset: Dataset, seed: int | Sequence[int], shuffle: bool, steps: int,
                transforms: tuple, microbatches: int = 1) -> Loader:
  """Returns the loader of an opened split, resident or streamed.

  Args:
    batches: the settings.
    name: name of the split in the experiment, for messages.
    context: prints lines, and identifies the data that the run began with.
    layout: the devices over which batches are divided.
    dataset: the opened source.
    seed: seed of the order of examples; several for the members of a population.
    shuffle: whether to train (endless, shuffled) or to evaluate (once, in order).
    steps: number of steps of a shuffled loader.
    transforms: the completed `batches.transforms`.
    microbatches: see `Loader`.

  Raises:
    UserError: if the data has changed since the run began, the batch size does not fit,
      or a resident split has examples that cannot be learned from.
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
  if shuffle and dataset.composition is not None:
    _check_composition(dataset.composition, size, microbatches, name)
  orders = [Order(dataset.length, size, each, shuffle, -size % cut,
                  *((dataset.buckets, dataset.composition) if shuffle else ()))
            for each in ([seed] if isinstance(seed, int) else seed)]
  order = orders[0]
  shape = (microbatches, (size + order.padding) // microbatches)
  resident = fits(dataset) if batches.resident is None else batches.resident
  path = name if shuffle else f'evals.{name}'
  say = context.say
  if not resident and jax.process_count() > 1:
    say = functools.partial(print, flush=True)  # each process reads its own rows
  usable = _Usable(path, dataset, batches.corrupt, say)
  transform = functools.partial(_transform, transforms, name)
  if resident:
    rows, gather = np.arange(dataset.length, dtype=np.int32), _take
    if dataset.compact:
      columns, gather = dataset.compact.load(), dataset.compact.gather
    else:
      columns = dict(dataset.load())
      rows = usable.rows(columns, rows)
    labels = columns.get('labels')
    if labels is not None and not (rows >= 0).all():
      labels = labels[rows >= 0]
    rows = np.append(rows, np.int32(-1))  # which becomes row -1
    arrays = {k: layout.replicate(v) for k, v in columns.items()}
    most = MOST_STEPS if shuffle else 1
    first, *others = (functools.partial(_rows, each, rows, most, shape)
                      for each in orders)
    return Loader(order, dataset, microbatches, arrays, first,
                  functools.partial(_gather, gather, transform, layout.shard_rows),
                  MOST_STEPS, lambda: None, labels, tuple(others))
  from bigmodels.data import stream  # imported here: it takes 2 % of the startup time

  last = steps if shuffle else -(-dataset.length // size)
  positions = layout.local_positions(shape)
  workers = 0 if dataset.shapes_only else batches.workers
  readers = [stream.Reader(path, each, dataset.read, last, workers, positions)
             for each in orders]

  def host_batch(order, reader, step, count):
    assert count == 1, 'a streamed loader takes one step per dispatch'
    columns = reader.batch(step)
    columns['rows'] = usable.rows(columns, columns['rows'])
    if order.buckets:
      columns['buckets'] = np.full_like(columns['rows'], order.bucket(step))
    return {k: layout.shard_batch(v, positions, shape) for k, v in columns.items()}

  def close():
    for reader in readers:
      reader.close()

  first, *others = (functools.partial(host_batch, *each)
                    for each in zip(orders, readers, strict=True))
  return Loader(order, dataset, microbatches, {}, first,
                functools.partial(_streamed, transform), 1, close,
                others=tuple(others))


def _check_composition(composition: Composition, size: int, microbatches: int,
                       name: str) -> None:
  """Refuses batches whose microbatches cannot be composed of whole classes."""
  count, each = len(composition.members), composition.each * microbatches
  most = count * composition.each // each * each
  if size % each or size > most:
    why = f'of {microbatches} microbatches, ' * (microbatches > 1)
    near = min(most, max(each, round(size / each) * each))
    raise UserError(
      f'--config.{name}.batch_size={size}: must be a multiple of {each} ({why}'
      f'{composition.each} examples of a class), and at most {most} for {count:,} '
      'classes; ' + (f'the nearest is {near}' if most else 'there are too few classes'))


class _Usable:
  """Selects the examples of a split that can be learned from; reports the others."""

  def __init__(self, path: str, dataset: Dataset, most: int | None,
               say: Callable[[str], None]):
    self._path, self._dataset, self._say = path, dataset, say
    self._most = max(1, dataset.length // 1000) if most is None else most
    self._corrupt: dict[int, None] = {}  # rows, in the order they were read
    self._finite = np.zeros(dataset.length, bool)  # rows that were checked

  def rows(self, columns: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Returns the rows `[n]` of columns that were read, -1 for corrupt examples.

    Args:
      columns: `[n, ...]`; `corrupt` is removed.
      rows: int32 `[n]`; -1 for padding.

    Raises:
      UserError: for more corrupt examples than allowed, a label that is not a class, or
        values that are not finite.
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
        f'allows, {self._most}: rows {others}; the last is {found}')
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
  found = {'rows': rows, 'epochs': epochs}
  if order.buckets:
    found['buckets'] = np.zeros_like(rows)
    for index in range(count):
      found['buckets'][index] = order.bucket(step + index)
  return {name: array.reshape(most, *shape) for name, array in found.items()}


def _take(columns, rows):
  return {name: column[rows] for name, column in columns.items()}


def _gather(gather, transform, shard, resident, host_batch, index, keys, length=None):
  rows, epochs = (shard(host_batch[name][index]) for name in ('rows', 'epochs'))
  batch = gather(resident, jnp.maximum(rows, 0))
  return transform(batch, rows, epochs, keys, length)


def _streamed(transform, resident, host_batch, index, keys, length=None):
  del resident, index
  batch = dict(host_batch)
  batch.pop('buckets', None)
  rows, epochs = batch.pop('rows'), batch.pop('epochs')
  return transform(batch, rows, epochs, keys, length)


def _transform(transforms, name, batch, rows, epochs, keys, length):
  if length is not None:  # of [microbatches, batch, length, ...]
    batch['inputs'] = batch['inputs'][:, :, :length]
  batch['mask'] = (rows >= 0).astype(jnp.float32)
  batch['row'], batch['epoch'] = jnp.maximum(rows, 0), epochs

  def of_microbatch(batch, key):
    for index, transform in enumerate(transforms):
      with as_user_error(f'the transforms of {name!r}'):
        batch = transform(batch, jax.random.fold_in(key, index))
    return batch

  if len(rows) == 1:
    return of_microbatch({k: v[0] for k, v in batch.items()}, keys[0])
  return jax.vmap(of_microbatch)(batch, keys)
