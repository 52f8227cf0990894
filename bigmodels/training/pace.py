"""How many steps a dispatch takes, agreed on by the processes of a run."""

import collections
import time
from typing import NamedTuple

import jax
import numpy as np

IN_FLIGHT = 2  # dispatches given to the device before the oldest is waited for
PACE = 0.25  # seconds that a dispatch should take: a signal is noticed that soon


class Votes(NamedTuple):
  """What the processes of a run agree on with every dispatch: the highest of each.

  Attributes:
    stop: whether to save and end.
    save: whether a checkpoint is due by the clock.
    count: how many steps to dispatch at a time, negative: the lowest holds.
  """

  stop: bool = False
  save: bool = False
  count: int = -1


class Pace:
  """How many steps to dispatch at a time, from how long they take.

  What is agreed on with a dispatch is known a few dispatches later; every process
  reads it after the same one.
  """

  def __init__(self, most: int, first: int):
    self._most, self._in_flight = most, collections.deque()
    self.done = first
    self.vote, self.agreed = -1, Votes()
    self._finished: float | None = None
    self._stale = 0  # of the dispatches in flight, since the last checkpoint
    self._unmeasured = 0  # of the dispatches in flight, since the last pause

  @property
  def count(self) -> int:
    """Steps of the next dispatch."""
    return -self.agreed.count

  def dispatched(self, step: int, token: jax.Array, agreed: jax.Array | None) -> None:
    """Notes a dispatch; waits for an older one if there are too many.

    Args:
      step: that it ends at.
      token: an array of any shape that is ready when the dispatch is done.
      agreed: the `Votes` that it agreed on, int32 `[3]`; None with one process.
    """
    self._in_flight.append((step, token, agreed))
    if len(self._in_flight) <= IN_FLIGHT:
      return
    before = self.done
    self.done, token, agreed = self._in_flight.popleft()
    jax.block_until_ready(token)
    now = time.perf_counter()
    if self._unmeasured:
      self._unmeasured, now = self._unmeasured - 1, None
    elif self._finished is not None and self.done > before:
      each = (now - self._finished) / (self.done - before)
      self.vote = -min(self._most, max(1, int(PACE / max(each, 1e-9))))
    self._finished = now
    self.agreed = Votes(count=self.vote) if agreed is None else (
      Votes(*np.asarray(agreed).tolist()))
    if self._stale:
      self._stale -= 1
      self.agreed = self.agreed._replace(save=False)

  def paused(self) -> None:
    """Leaves a pause, for anything but training, out of the time of a step."""
    self._unmeasured, self._finished = len(self._in_flight), None

  def saved(self) -> None:
    """Ignores requests to save that were made before this checkpoint."""
    self._stale = len(self._in_flight)
    self.agreed = self.agreed._replace(save=False)
