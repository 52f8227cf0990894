"""The streamed road: Grain reads and decodes, ahead of the step.

The Grain dataset is one over *steps*, not over examples: element `n` is the batch of
step `n`, read by its rows. So it starts anywhere without replaying what came before.
"""

from collections.abc import Callable, Iterator

import numpy as np

_READ_AHEAD = 8


class Reader:
  """Batches of consecutive steps, restarted where it is asked for another one."""

  def __init__(self, order, read: Callable, last: int, workers: int,
               positions: np.ndarray):
    """Builds nothing yet.

    Args:
      order: an `Order`.
      read: (rows, seeds) -> columns; picklable if there are workers.
      last: one past the last step.
      workers: processes; 0 for threads.
      positions: int `[n]`, the places of a batch that are read here.
    """
    self._load, self._last = _Load(order, read, positions), last
    self._workers = workers
    self._iterator: Iterator | None = None
    self._next = 0

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """This process's part of a step's batch, and `rows` and `epochs` of an `Order`.

    A row is -1 where the batch is only filled up.
    """
    if self._iterator is None or step != self._next:
      self._iterator = self._start(step)
    self._next = step + 1
    return next(self._iterator)

  def _start(self, step: int) -> Iterator:
    import grain

    self.close()
    steps = grain.MapDataset.range(step, self._last)
    batches = steps.map(self._load)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=_READ_AHEAD)
    if not self._workers:
      return iter(batches.to_iter_dataset(options))
    return iter(batches.to_iter_dataset(options).mp_prefetch(
      grain.MultiprocessingOptions(num_workers=self._workers,
                                   per_worker_buffer_size=2)))

  def close(self) -> None:
    """Stops threads and processes."""
    close = getattr(self._iterator, 'close', None)
    if close:
      close()
    self._iterator = None


class _Load:
  """Step -> batch; a class so that worker processes can be sent it."""

  def __init__(self, order, read, positions):
    self._order, self._read, self._positions = order, read, positions

  def __call__(self, step: int) -> dict[str, np.ndarray]:
    order = self._order
    rows, epochs, seeds = (each(int(step))[self._positions]
                           for each in (order.rows, order.epochs, order.seeds))
    kept = rows >= 0
    # A process may have nothing but filling: one row tells what a column is like.
    batch = (self._read(rows[kept], seeds[kept]) if kept.any() else
             self._read(np.zeros(1, int)))
    if not kept.all():
      batch = {k: np.concatenate([v, np.zeros((len(rows), *v.shape[1:]), v.dtype)])
               [:len(rows)] for k, v in batch.items()}
    return {**batch, 'rows': rows, 'epochs': epochs}
