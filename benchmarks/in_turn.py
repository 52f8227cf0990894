"""Several processes that are timed in turn, while the others wait."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from networks import Side

SECONDS = 1.0  # of one timing, at least
MOST_SECONDS = 30.0  # of one call; a side that takes longer is left out


def serve(make: Callable[[], Side], *, optional: bool) -> None:
  """Calls each function once, then answers lines 'NAME TIMES' on stdin with seconds.

  Args:
    make: makes the side.
    optional: whether a function that fails is left out, or ends the process.
  """
  failed: dict[str, str] = {}
  parameters, work = 0, {}
  try:
    parameters, work = make()
  except Exception as error:
    if not optional:
      raise
    failed['everything'] = _line_of(error)
  for name, call in work.items():
    try:
      call(1)
    except Exception as error:
      if not optional:
        raise
      failed[name] = _line_of(error)
  print('ready', json.dumps(
    [parameters, [name for name in work if name not in failed], failed]), flush=True)
  for line in sys.stdin:
    name, times = line.split()
    start = time.perf_counter()
    work[name](int(times))
    print(time.perf_counter() - start, flush=True)


def _line_of(error):
  line = ' '.join(str(error).split())
  return f'{type(error).__name__}: {line[:200]}'


class Worker:
  """A process for one side of a network, which calls `serve`.

  Attributes:
    parameters: number of the network's parameters.
    timed: names of what it can do.
    failed: name of what it cannot do -> why.
  """

  def __init__(self, command: Sequence[str],
               variables: Mapping[str, str] = MappingProxyType({})):
    """Starts the process, with more variables in its environment."""
    self._command = command
    self._process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu', **variables})
    state = ''
    while state != 'ready':
      state, _, found = self._line().strip().partition(' ')
    self.parameters, self.timed, self.failed = json.loads(found)

  def __call__(self, name: str, times: int) -> float:
    """Runs a function of this side, and returns the seconds."""
    self._process.stdin.write(f'{name} {times}\n')
    self._process.stdin.flush()
    return float(self._line())

  def close(self) -> None:
    self._process.stdin.close()
    self._process.wait()

  def _line(self) -> str:
    line = self._process.stdout.readline()
    return line or sys.exit(
      f'{" ".join(self._command)}: ended with {self._process.wait()}')


def in_turn(workers: dict[str, Worker], timed: Sequence[str], rounds: int
            ) -> dict[str, dict]:
  """Times workers in turn, and ends them.

  Args:
    workers: by side; the others are compared with the first.
    timed: names of the functions to time.
    rounds: of the measurement.

  Returns:
    By name of the function: milliseconds of the first side, and of each other side
    that has the function its milliseconds and the ratios.
  """
  found, ours = {}, next(iter(workers))
  for name in timed:
    if name not in workers[ours].timed:
      continue
    times = {}
    for side in [side for side in workers if name in workers[side].timed]:
      seconds = workers[side](name, 1)
      if seconds > MOST_SECONDS and side != ours:
        print(f'{side}: {name} is left out: it takes {seconds:.0f} s', flush=True)
        continue
      times[side] = max(1, round(SECONDS / seconds))
    order = list(times)
    taken: dict[str, list[float]] = {side: [] for side in order}
    for _ in range(rounds):
      for side in order:
        if times[side] > 1:
          workers[side](name, 1)  # restores pages and caches lost while it waited
        taken[side].append(1e3 * workers[side](name, times[side]) / times[side])
      order = [*order[1:], order[0]]
    ours_ms = taken.pop(ours)
    found[name] = {f'{ours}_ms': [round(ms, 3) for ms in ours_ms]} | {
      side: _beside(ours_ms, ms) for side, ms in taken.items()}
  for worker in workers.values():
    worker.close()
  return found


def _beside(ours_ms: list[float], theirs_ms: list[float]) -> dict:
  ratios = [b / a for a, b in zip(ours_ms, theirs_ms, strict=True)]
  return {'ms': [round(ms, 3) for ms in theirs_ms],
          'ratio': round(statistics.median(ratios), 3),
          'least': round(min(ratios), 3), 'most': round(max(ratios), 3)}
