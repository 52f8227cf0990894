"""Streamed batches: threads or processes read and decode ahead of the step.

They read *steps*, not examples: item `n` is the batch of step `n`, read by its rows.
Reading can thus start at any step without replaying earlier ones.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bigmodels.core.errors import UserError, listed, message_of
from bigmodels.data.workers import Workers

_READ_AHEAD = 8


class Reader:
  """Reads the batches of consecutive steps; restarts for any other step."""

  def __init__(self, path: str, order, read: Callable, last: int, workers: int,
               positions: np.ndarray):
    """Only stores the arguments.

    Args:
      path: path of the split's settings, for messages.
      order: a `order.Order`.
      read: (rows, seeds) -> columns; picklable if there are workers.
      last: one past the last step.
      workers: number of processes; 0 for threads.
      positions: int `[n]`, the positions of a batch that this process reads.
    """
    self._load, self._last = _Load(path, order, read, positions), last
    self._workers = Workers(path, self._load, last, workers, max(
      _READ_AHEAD, 2 * workers)) if workers else None
    self._threads: Iterator | None = None
    self._next: int | None = None

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """Returns this process's part of a step's batch.

    Returns:
      Column -> `[n, ...]`, with `rows` and `epochs`, both int32 `[n]`. A row of -1 is
      padding.

    Raises:
      UserError: for a row that cannot be read, or a worker that dies.
    """
    if step != self._next:
      self._begin(step)
    self._next = step + 1
    if self._workers is not None:
      return self._workers.next()
    found = next(self._threads)
    if isinstance(found, UserError):
      raise found
    return found

  def _begin(self, step: int) -> None:
    if self._workers is not None:
      self._workers.begin(step)
      return
    grain = _grain()
    self.close()
    steps = grain.MapDataset.range(step, self._last)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=_READ_AHEAD)
    self._threads = iter(steps.map(self._found).to_iter_dataset(options))

  def _found(self, step: int) -> dict[str, np.ndarray] | UserError:
    """Returns errors, since Grain changes the text of errors that are raised."""
    try:
      return self._load(step)
    except UserError as error:
      return error

  def close(self) -> None:
    """Stops threads and processes."""
    if self._workers is not None:
      self._workers.close()
    close = getattr(self._threads, 'close', None)
    if close:
      close()
    self._threads = self._next = None


def _grain():
  """Imports Grain without its warning about profiling, which nothing here does."""
  from absl import logging

  before = logging.get_verbosity()
  logging.set_verbosity(min(before, logging.ERROR))
  try:
    import grain
  finally:
    logging.set_verbosity(before)
  return grain


class _Load:
  """Step -> batch; a class, so that it can be sent to worker processes."""

  def __init__(self, path, order, read, positions):
    self._path, self._order = path, order
    self._read, self._positions = read, positions

  def __call__(self, step: int) -> dict[str, np.ndarray]:
    order = self._order
    rows, epochs, seeds = (each(int(step))[self._positions]
                           for each in (order.rows, order.epochs, order.seeds))
    kept = rows >= 0
    # A process may have only padding: one row gives the shapes and types of columns.
    batch = (self._rows(rows[kept], seeds[kept]) if kept.any() else
             self._read(np.zeros(1, int)))
    if not kept.all():
      batch = {k: np.concatenate([v, np.zeros((len(rows), *v.shape[1:]), v.dtype)])
               [:len(rows)] for k, v in batch.items()}
    return {**batch, 'rows': rows, 'epochs': epochs}

  def _rows(self, rows: np.ndarray, seeds: np.ndarray) -> dict[str, np.ndarray]:
    try:
      return self._read(rows, seeds)
    except (UserError, MemoryError):
      raise
    except Exception as error:  # a source may call code of users
      raise self._blame(rows, seeds, error) from error

  def _blame(self, rows: np.ndarray, seeds: np.ndarray, error: Exception) -> UserError:
    """An error that names the first row that cannot be read."""
    for row, seed in zip(rows, seeds, strict=True):
      try:
        self._read(row[None], seed[None])
      except Exception as alone:
        return UserError(f'{self._path}: row {row} cannot be read: {message_of(alone)}')
    return UserError(f'{self._path}: rows {listed(rows.tolist())} cannot be read '
                     f'together: {message_of(error)}')
