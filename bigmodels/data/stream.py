"""The streamed road: Grain reads and decodes, ahead of the step.

The Grain dataset is one over *steps*, not over examples: element `n` is the batch of
step `n`, read by its rows. So it starts anywhere without replaying what came before.
"""

from collections.abc import Callable, Iterator

import numpy as np

_READ_AHEAD = 8


class Reader:
  """Batches of consecutive steps, restarted where it is asked for another one."""

  def __init__(self, order, read: Callable, last: int, workers: int):
    """Builds nothing yet.

    Args:
      order: an `Order`.
      read: (rows) -> columns; picklable if there are workers.
      last: one past the last step.
      workers: processes; 0 for threads.
    """
    self._order, self._read, self._last = order, read, last
    self._workers = workers
    self._iterator: Iterator | None = None
    self._next = 0

  def operand(self, step: int, count: int) -> dict[str, np.ndarray]:
    """The batch of one step and its `rows`, -1 where it is filled up with zeros."""
    assert count == 1, 'the streamed road takes one step a dispatch'
    if self._iterator is None or step != self._next:
      self._iterator = self._start(step)
    self._next = step + 1
    return next(self._iterator)

  def _start(self, step: int) -> Iterator:
    import grain

    self.close()
    steps = grain.MapDataset.range(step, self._last)
    batches = steps.map(_Load(self._order, self._read))
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

  def __init__(self, order, read):
    self._order, self._read = order, read

  def __call__(self, step: int) -> dict[str, np.ndarray]:
    rows = self._order.rows(int(step))
    batch = self._read(rows[rows >= 0])
    missing = int((rows < 0).sum())
    if missing:
      batch = {k: np.concatenate([v, np.zeros((missing, *v.shape[1:]), v.dtype)])
               for k, v in batch.items()}
    return {**batch, 'rows': rows}
