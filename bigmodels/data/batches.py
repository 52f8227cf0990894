"""A batch is a pure function of (seed, step), by two roads with one meaning.

What fits stays *resident*: on the device, gathered inside the compiled step, many
steps a dispatch. What does not is *streamed*: threads or processes read and decode, one
step a dispatch. Augmentation and normalisation run inside the step on either road.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, blamed
from bigmodels.data.columns import check_finite
from bigmodels.data.sources import Columns, DataContext, Dataset, intact

RESIDENT_BYTES = 2 * 2**30
MOST_STEPS = 64  # in one dispatch: the rows that travel with it stay small


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
  """How a split is read, as an experiment says it.

  Attributes:
    source: a source's split: `Digits().split('train')`.
    batch_size: examples a step, over all devices; None takes the whole split, and
      fills it up with masked examples to what can be cut over the devices. Or a
      function of the split, such as `at_most`.
    transforms: `(batch, key) -> batch` over a whole batch, in this order; they may
      lack `mean` and `std`, which are then fitted on the training split. Draw in
      shapes `[batch, ...]`: that comes out the same however a batch is cut; one number
      for a batch, or a key split for each example, differs from part to part.
    resident: keep the decoded split on the device; None decides by its size.
    workers: processes that read ahead when streamed; 0 reads in threads.
    corrupt: examples that cannot be decoded, and are masked, before the run stops;
      None for one in a thousand of the split, but at least one. A streamed split is
      counted from the start of each process, over what it reads.
  """

  source: Any
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
  """A `Batches.batch_size` for data of any length: small data gets small batches.

  Args:
    length: examples of the split.
    cut: parts that a batch is cut into.
    examples: of a batch, if the split has as many; else an eighth of the split.

  Returns:
    a multiple of `cut` below `examples`; None, the whole split, if it has fewer.

  Raises:
    ValueError: if `examples` is not at least 1.
  """
  if examples < 1:
    raise ValueError(f'examples: must be >= 1, got {examples}')
  size = examples if length >= examples else max(1, length // (8 * cut)) * cut
  return size if size <= length else None


def size_of(batch_size: int | Callable | None, length: int, cut: int) -> int | None:
  """The examples of a step, None for the whole split; see `Batches.batch_size`.

  Raises:
    UserError: if it is a function, and fails.
  """
  if not callable(batch_size):
    return batch_size
  with blamed('batch_size'):
    return batch_size(length, cut)


class Order(NamedTuple):
  """Which rows make up the batch of a step.

  Training (`shuffle`) goes through one permutation after the other, each a function
  of (seed, epoch) alone; batches go on across the ends of epochs, so that every
  example is seen once an epoch whatever the batch size. Evaluation goes through the
  split once, and -1 fills up the last batch. `filling` more are -1 in every batch.
  """

  length: int
  batch_size: int
  seed: int
  shuffle: bool
  filling: int = 0

  @property
  def steps_per_epoch(self) -> float:
    return self.length / self.batch_size

  def rows(self, step: int) -> np.ndarray:
    """The rows of a step, int32 `[batch_size + filling]`."""
    rows = np.full(self.batch_size + self.filling, -1, np.int32)
    rows[: self.batch_size] = self._rows(step)
    return rows

  def epochs(self, step: int) -> np.ndarray:
    """The pass over the split that each row of a step is in, from 0, int32."""
    epochs = np.zeros(self.batch_size + self.filling, np.int32)
    if self.shuffle:
      epochs[: self.batch_size] = self._places(step) // self.length
    return epochs

  def seeds(self, step: int) -> np.ndarray:
    """What to seed draws with while the rows of a step are read, uint64 `[n, 2]`.

    The seed of the order, and the pass and row: so that an example is read in the same
    way wherever, and whenever again, its pass is gone through.
    """
    rows, epochs = (x.astype(np.uint64) for x in (
      np.maximum(self.rows(step), 0), self.epochs(step)))
    # The first bit tells these apart from the keys of `permutation`.
    places = np.uint64(1) << np.uint64(63) | epochs << np.uint64(32) | rows
    return np.stack([np.full_like(rows, self.seed), places], 1)

  def _places(self, step: int) -> np.ndarray:
    return np.arange(step * self.batch_size, (step + 1) * self.batch_size)

  def _rows(self, step: int) -> np.ndarray:
    places = self._places(step)
    if not self.shuffle:
      return np.where(places < self.length, places, -1).astype(np.int32)
    epochs, places = places // self.length, places % self.length
    rows = np.empty(self.batch_size, np.int32)
    for epoch in range(epochs[0], epochs[-1] + 1):
      here = epochs == epoch
      rows[here] = permutation(self.length, self.seed, epoch)[places[here]]
    return rows


@functools.lru_cache(maxsize=4)
def permutation(length: int, seed: int, epoch: int) -> np.ndarray:
  """A permutation of `length` rows, the same on every machine and NumPy release."""
  raw = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(length)
  return np.argsort(raw, kind='stable').astype(np.int32)


class Loader(NamedTuple):
  """An opened split on its way into compiled code.

  Attributes:
    order: which rows make up which step.
    dataset: what was opened.
    microbatches: parts of a batch that follow one another in a step.
    resident: arrays that stay on the device; empty when streamed.
    host_batch: (first step, number of steps) -> arrays for one dispatch.
    batch: (resident, host_batch, index in the dispatch, a key for each part) -> batch;
      traced. A batch has `inputs`, `labels`, `mask` (float32, 0 for what only fills up
      or cannot be decoded), `row` (int32, of the split, 0 where masked) and `epoch`
      (int32, the pass over the split that the example is in, from 0), each `[batch,
      ...]`, or `[microbatches, batch, ...]` if there are several.
    most: steps that one dispatch may take.
    close: stops workers.
    labels: those of a resident split that can be learned from, on the host; None when
      streamed.
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


def open_loader(batches: Batches, name: str, context: DataContext, layout: Any, *,
              dataset: Dataset, seed: int, shuffle: bool, steps: int,
              transforms: tuple, microbatches: int = 1) -> Loader:
  """Puts an opened split on its road.

  Args:
    batches: the recipe.
    name: of the split in the experiment, for messages.
    context: see there.
    layout: a `parallel.layout.Layout`.
    dataset: the opened source.
    seed: of the order of examples.
    shuffle: whether to train (endless, shuffled) or to evaluate (once, in order).
    steps: how many a shuffled loader goes on for.
    transforms: the completed `batches.transforms`.
    microbatches: see `Loader`.
  """
  context.check(name, dataset.identity)
  cut = layout.shape.parts * microbatches
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
  shape = (microbatches, (size + order.filling) // microbatches)
  fits = dataset.nbytes is not None and dataset.nbytes <= RESIDENT_BYTES
  resident = fits if batches.resident is None else batches.resident
  path = name if shuffle else f'evals.{name}'
  say = context.say
  if not resident and jax.process_count() > 1:
    say = functools.partial(print, flush=True)  # each process reads rows of its own
  sound = _Sound(path, dataset, batches.corrupt, say)
  if resident:
    columns = dict(dataset.load())
    rows = sound.rows(columns, np.arange(dataset.length, dtype=np.int32))
    labels = columns['labels'] if (rows >= 0).all() else columns['labels'][rows >= 0]
    rows = np.append(rows, np.int32(-1))  # which is row -1
    arrays = {k: layout.everywhere(v) for k, v in columns.items()}
    most = MOST_STEPS if shuffle else 1
    return Loader(order, dataset, microbatches, arrays,
                functools.partial(_rows, order, rows, most, shape),
                functools.partial(_gather, transforms, layout.share), MOST_STEPS,
                lambda: None, labels)
  from bigmodels.data import stream

  last = steps if shuffle else -(-dataset.length // size)
  positions = layout.positions(shape)
  workers = 0 if dataset.shapes_only else batches.workers
  reader = stream.Reader(path, order, dataset.read, last, workers, positions)

  def host_batch(step, count):
    assert count == 1, 'the streamed road takes one step a dispatch'
    columns = reader.batch(step)
    columns['rows'] = sound.rows(columns, columns['rows'])
    return {k: layout.cut(v, positions, shape) for k, v in columns.items()}

  return Loader(order, dataset, microbatches, {}, host_batch,
              functools.partial(_streamed, transforms), 1, reader.close)


class _Sound:
  """Which examples of a split can be learned from; of the others it tells once."""

  def __init__(self, path: str, dataset: Dataset, most: int | None,
               say: Callable[[str], None]):
    self._path, self._dataset, self._say = path, dataset, say
    self._most = max(1, dataset.length // 1000) if most is None else most
    self._corrupt: dict[int, None] = {}  # rows, in the order they were met
    self._finite = np.zeros(dataset.length, bool)  # rows that need no second look

  def rows(self, columns: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The rows `[n]` of columns as they were read, -1 for what cannot be decoded.

    Args:
      columns: `[n, ...]`; `corrupt` is taken out.
      rows: int32 `[n]`; -1 for what only fills up.

    Raises:
      UserError: for more corrupt examples than are allowed, a label outside of the
        classes, or what is not finite.
    """
    corrupt = columns.pop('corrupt', None)
    if corrupt is not None:
      for row in rows[corrupt & (rows >= 0)].tolist():
        self._tell(row)
      rows = np.where(corrupt, np.int32(-1), rows)
    self._check(np.asarray(columns['labels']), rows)
    kept = rows[rows >= 0]
    if not self._finite[kept].all():
      check_finite(self._path, columns, rows, self._dataset.describe)
      self._finite[kept] = True
    return rows

  def _tell(self, row: int) -> None:
    if row in self._corrupt:
      return
    self._corrupt[row] = None
    found = f'row {row}{self._described(row)}'
    if len(self._corrupt) > self._most:
      others = ', '.join(map(str, [*self._corrupt][:20]))
      raise UserError(
        f'{self._path}: more corrupt examples than --config.{self._path}.corrupt puts '
        f'up with, {self._most}: rows {others}; the last is {found}')
    self._say(f'{self._path}: left out as corrupt: {found} '
              f'({len(self._corrupt)} so far, at most {self._most})')

  def _check(self, labels: np.ndarray, rows: np.ndarray) -> None:
    classes = self._dataset.classes
    if classes is None or labels.ndim != 1 or not np.issubdtype(
      labels.dtype, np.integer):
      return
    wrong = (rows >= 0) & ((labels < 0) | (labels >= len(classes)))
    if wrong.any():
      place = int(np.argmax(wrong))
      row = int(rows[place])
      raise UserError(
        f'{self._path}: the label of row {row} is {labels[place]}, wants 0 to '
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


def _gather(transforms, share, resident, host_batch, index, keys):
  rows, epochs = (share(host_batch[name][index]) for name in ('rows', 'epochs'))
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

  def part(batch, key):
    for index, transform in enumerate(transforms):
      batch = transform(batch, jax.random.fold_in(key, index))
    return batch

  if len(rows) == 1:
    return part({k: v[0] for k, v in batch.items()}, keys[0])
  return jax.vmap(part)(batch, keys)


def deviations(mean: np.ndarray, std: np.ndarray) -> list[float]:
  """Deviations to divide by: 1 for what never changes but for rounding."""
  changes = std > np.finfo(np.float32).eps * np.abs(mean)
  return np.where(changes, std, 1.0).tolist()


def check_train(dataset: Dataset, columns: Columns) -> None:
  """Refuses columns of the training split that are not finite, before a fit to them."""
  rows = np.full(dataset.length, -1)
  rows[intact(columns)] = intact(columns)
  check_finite('train', columns, rows, dataset.describe)


def channel_statistics(dataset: Dataset) -> tuple[list[float], list[float]]:
  """Mean and standard deviation of the inputs over all but the last axis, float64.

  A channel that never changes gets a deviation of 1, so that it becomes 0.
  """
  if dataset.nbytes is None or dataset.nbytes > RESIDENT_BYTES:
    raise UserError('mean and std of a split this large are not worked out before '
                    'training: give them in the experiment')
  columns = dataset.load()
  check_train(dataset, columns)
  inputs, rows = columns['inputs'], intact(columns)
  parts = np.array_split(rows, max(1, min(len(rows), inputs.nbytes // 2**24)))
  if inputs.dtype == np.uint8:
    return _byte_statistics(inputs, parts)
  axes = tuple(range(inputs.ndim - 1))
  total = np.zeros(inputs.shape[-1])
  squares = np.zeros(inputs.shape[-1])
  count = len(rows) * math.prod(inputs.shape[1:-1])
  for part in parts:
    total += inputs[part].astype(np.float64).sum(axes)
  mean = total / count
  for part in parts:
    centred = inputs[part].astype(np.float64) - mean
    squares += (centred**2).sum(axes)
  std = np.sqrt(squares / count)
  return mean.tolist(), deviations(mean, std)


def _byte_statistics(inputs: np.ndarray, parts: list[np.ndarray]
                     ) -> tuple[list[float], list[float]]:
  """`channel_statistics` by how often each byte is there: a tenth of the time."""
  counts = np.zeros((inputs.shape[-1], 256), np.int64)
  for part in parts:
    values = inputs[part].reshape(-1, inputs.shape[-1])
    for channel, of_channel in enumerate(counts):
      of_channel += np.bincount(values[:, channel], minlength=256)
  values, total = np.arange(256.0), counts.sum(1)
  mean = counts @ values / total
  std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / total)
  return mean.tolist(), deviations(mean, std)


def whitening(dataset: Dataset, mean: Sequence[float], std: Sequence[float], *,
              window: int = 2, images: int = 5000) -> list:
  """Filters that give standardised patches unit variances and no correlation.

  The eigenvectors of the covariance of the patches, over the roots of their
  eigenvalues, and the same negated (Jordan, 2024).

  Args:
    dataset: of images, of which the first are looked at.
    mean, std: of `transforms.standardize`.
    window: height and width of a patch.
    images: how many are looked at.

  Returns:
    `[window, window, channels, 2 * window * window * channels]`, nested lists.
  """
  rows = np.arange(min(images, dataset.length))
  decoded = dataset.nbytes is not None and dataset.nbytes <= RESIDENT_BYTES
  columns = dataset.load() if decoded else dataset.read(rows)
  inputs = (columns['inputs'][rows].astype(np.float64) - mean) / std
  patches = np.lib.stride_tricks.sliding_window_view(inputs, (window, window), (1, 2))
  patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, window**2 * inputs.shape[3])
  variances, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
  filters = vectors / np.sqrt(variances + 5e-4)
  filters = np.concatenate([filters, -filters], 1)
  return filters.reshape(window, window, inputs.shape[3], -1).tolist()
