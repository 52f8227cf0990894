"""Processes that read batches ahead, and pass them on in shared memory.

The reader knows the name of every block before it is made, so that closing the reader
frees all memory of a worker, whatever happens to it.
"""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, shared_memory
from typing import Any

import cloudpickle
import numpy as np

from bigmodels.core.errors import UserError, message_of

_GRACE = 10  # seconds until a worker ends after a SIGTERM, as its run may be saving
_ALIGNED = 64  # bytes
_BLOCKS = '/dev/shm'


class Workers:
  """Reads batches of consecutive steps in processes that live until `close`."""

  def __init__(self, path: str, load: Callable[[int], dict[str, np.ndarray]],
               last: int, count: int, ahead: int):
    """Only stores the arguments.

    Args:
      path: path of the split's settings, for messages.
      load: step -> columns; picklable.
      last: one past the last step.
      count: number of processes.
      ahead: number of batches that are read in advance.
    """
    self._path, self._load, self._last = path, load, last
    self._count, self._ahead = count, ahead
    self._pool: concurrent.futures.ProcessPoolExecutor | None = None
    self._pending: collections.deque[tuple] = collections.deque()
    self._step = 0  # the next one to be read
    self._prefix, self._blocks = f'bm{secrets.token_hex(4)}', 0

  def begin(self, step: int) -> None:
    """Starts reading at a step; discards batches that were read ahead.

    Raises:
      UserError: if the source cannot be pickled.
    """
    self._drop()
    self._pool = self._pool or self._start()
    self._step = step
    self._fill()

  def next(self) -> dict[str, np.ndarray]:
    """Returns the columns of the next step, as `load` returns them, `[n, ...]`.

    Raises:
      UserError: if it cannot be read, or a worker dies.
    """
    self._fill()
    step, block, future = self._pending[0]
    try:
      found = future.result()
    except BrokenProcessPool:
      raise UserError(
        f'{self._path}: a worker process died before it had read the batch of step '
        f'{step:,}: killed, perhaps for lack of memory; checkpoints are kept. '
        f'--config.{self._path}.workers=0 reads in threads') from None
    batch = _taken(block, found) if isinstance(found, _Layout) else found
    self._pending.popleft()
    return batch

  def close(self) -> None:
    """Stops the processes, and frees their memory."""
    if self._pool is not None:
      self._pool.shutdown(cancel_futures=True)
      self._pool = None
    self._drop()

  def _start(self) -> concurrent.futures.ProcessPoolExecutor:
    try:
      load = cloudpickle.dumps(self._load)
    except Exception as error:  # a source may contain anything
      raise UserError(
        f'{self._path}: the source cannot be sent to worker processes: '
        f'{message_of(error)}; '
        f'--config.{self._path}.workers=0 reads in threads') from error
    return concurrent.futures.ProcessPoolExecutor(
      self._count, multiprocessing.get_context('spawn'), _begin, (load,))

  def _fill(self) -> None:
    while len(self._pending) < self._ahead and self._step < self._last:
      block = f'{self._prefix}_{self._blocks}'
      try:
        future = self._pool.submit(_read, self._step, block)
      except BrokenProcessPool as error:
        future = concurrent.futures.Future()
        future.set_exception(error)
      self._pending.append((self._step, block, future))
      self._step += 1
      self._blocks += 1

  def _drop(self) -> None:
    begun = [each for each in self._pending if not each[-1].cancel()]
    concurrent.futures.wait([future for *_, future in begun])
    for _, block, _ in begun:
      with contextlib.suppress(FileNotFoundError, ValueError):  # missing or empty
        _free(shared_memory.SharedMemory(block))
    self._pending.clear()


class _Layout(dict):
  """Column -> dtype, shape and first byte in a block."""


def _taken(block: str, layout: _Layout) -> dict[str, np.ndarray]:
  """A copy of the columns in a block; frees the block."""
  memory = shared_memory.SharedMemory(block)
  try:
    return {name: np.ndarray(shape, dtype, memory.buf, first).copy()
            for name, (dtype, shape, first) in layout.items()}
  finally:
    _free(memory)


def _free(memory: shared_memory.SharedMemory) -> None:
  memory.close()
  memory.unlink()


# --- in a worker ------------------------------------------------------------------

_sent: dict[str, Any] = {}  # what this process was sent, unpickled when needed


def _begin(load: bytes) -> None:
  """Makes a worker end with its run, not before: a stopped run saves first."""
  _sent['pickled'] = load
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes
  signal.signal(signal.SIGTERM, _end_later)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_later(number, frame) -> None:
  del number, frame
  timer = threading.Timer(_GRACE, os._exit, (1,))
  timer.daemon = True
  timer.start()


def _end_with_parent() -> None:
  connection.wait([multiprocessing.parent_process().sentinel])
  os._exit(1)


def _read(step: int, block: str) -> _Layout | dict[str, np.ndarray]:
  """Writes the batch of a step to a block; returns it if there is no memory."""
  if 'load' not in _sent:
    _sent['load'] = cloudpickle.loads(_sent['pickled'])
  batch = {name: np.asarray(x) for name, x in _sent['load'](step).items()}
  layout, size = _Layout(), 0
  for name, array in batch.items():
    layout[name] = (array.dtype, array.shape, size)
    size += -(-array.nbytes // _ALIGNED) * _ALIGNED
  if os.path.isdir(_BLOCKS) and 2 * size > shutil.disk_usage(_BLOCKS).free:
    return batch  # writing to a full block would kill this process
  memory = shared_memory.SharedMemory(block, create=True, size=max(size, 1))
  try:
    for name, (dtype, shape, first) in layout.items():
      np.ndarray(shape, dtype, memory.buf, first)[...] = batch[name]
  finally:
    memory.close()
  return layout
