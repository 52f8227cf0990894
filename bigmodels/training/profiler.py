"""`--profile`: where the time of a step, or of the start of a run, goes."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

import jax

from bigmodels.core.errors import UserError, nearest
from bigmodels.core.import_times import ImportTimes
from bigmodels.core.stopwatch import IMPORTS, Stopwatch
from bigmodels.hardware import profile
from bigmodels.hardware.hlo import Program
from bigmodels.storage.workdir import Workdir

WARM_UP = 8  # dispatches before a trace: until the pace of the loop is steady
_LEAST = 5  # steps before a trace


def parse(text: str | None) -> int | None:
  """The value of `--profile`: the number of steps, 0 for startup, None without one.

  Raises:
    UserError: for another text.
  """
  if text is None or text == 'startup':
    return None if text is None else 0
  what, _, count = text.partition(':')
  if what != 'steps':
    raise UserError(f'--profile={text}: must be steps:N, such as steps:10, or startup'
                    f'{nearest(what, ("steps", "startup"))}')
  if not re.fullmatch(r'[0-9]+', count) or not int(count):
    raise UserError(f'--profile={text}: N in steps:N must be an integer >= 1, got '
                    f'{count!r}')
  return int(count)


def check_length(count: int, steps: int) -> None:
  """Checks that there are enough steps to profile some of them.

  Raises:
    UserError: if not.
  """
  most = (steps - _LEAST) // 2
  if count > max(most, 0):
    raise UserError(
      f'--profile=steps:{count}: takes at least {_LEAST} + 2 * {count} steps, of '
      f'which the last are counted; this run has {steps} left, ' + (
        f'enough for steps:{most}' if most > 0 else 'too few to profile any'))


@contextlib.contextmanager
def names_compiled(profiled: int | None) -> Iterator[None]:
  """Programs compiled in this context have the names of layers of this source.

  Otherwise one in the cache may be the same but for names that were changed since.

  Args:
    profiled: see `parse`; without steps to profile, this does nothing.
  """
  option = 'jax_compilation_cache_include_metadata_in_key'
  before = getattr(jax.config, option)
  jax.config.update(option, before or bool(profiled))
  try:
    yield
  finally:
    jax.config.update(option, before)


class Profiler(Protocol):
  """What a loop asks while it runs."""

  def cut(self, step: int, end: int, pace: int) -> int:
    """Where dispatches end at the latest.

    Args:
      step: of the loop.
      end: the next step at which they end without a profiler.
      pace: steps of the next dispatch.
    """

  def due(self, step: int) -> bool:
    """Whether `reached` is to be called at a step, when the devices have done it."""

  def reached(self, step: int) -> None:
    """Does what is due."""


class StepProfiler:
  """Records some steps of a loop, which may start at any step.

  After the warm-up, the devices finish what they have been given, and the trace begins.
  Its first dispatch fills the pipeline and is not counted. Whole dispatches follow, at
  the pace of the run, until there are as many steps as were asked for: so the devices
  wait for the host as they do in the rest of the run.
  """

  def __init__(self, count: int, workdir: Workdir, hlo: str, *, step: int,
               steps: int, record: bool, say: Callable[[str], None]):
    """Checks that the run is long enough.

    Args:
      count: of steps to profile, at least.
      workdir: of the run, in which it writes the folder `profile`.
      hlo: the program of a dispatch.
      step: at which the loop starts.
      steps: at which it ends.
      record: whether to record a trace; the other processes of a run take the same
        dispatches without.
      say: prints a line.

    Raises:
      UserError: if it is not.
    """
    check_length(count, steps - step)
    self._count, self._workdir, self._hlo = count, workdir, hlo
    self._folder = workdir.path / 'profile'
    self._record, self._say, self._steps = record, say, steps
    self._dispatches, self._latest = 0, steps - 2 * count
    self._running, self._begin, self._lead, self._end = False, 0, 0, 0

  def cut(self, step: int, end: int, pace: int) -> int:
    """See `Profiler`."""
    if self._running and not self._end:
      self._lead = min(pace, self._steps - self._count - step, end - step)
      self._end = min(self._steps, step + self._lead + max(pace, self._count))
      return step + self._lead
    if self._running:
      return min(end, self._end)
    self._dispatches += 1
    return end if self._end else min(end, step + pace, self._latest)

  def due(self, step: int) -> bool:
    """Whether the trace begins or ends."""
    if self._running or self._end:
      return self._running and step == self._end
    return self._dispatches >= WARM_UP or step >= self._latest

  def reached(self, step: int) -> None:
    """Begins or ends the trace, and prints what it says.

    Raises:
      UserError: if it cannot be written.
    """
    self._running = not self._running
    self._begin = step if self._running else self._begin
    if not self._record:
      return
    if self._running:
      profile.start(self._folder)
      return
    with self._workdir.writing():
      trace, perfetto = profile.stop(self._folder)
    count = step - self._begin - self._lead
    found = profile.read(trace, Program(self._hlo), lead=self._lead, steps=count)
    path = self._folder / 'operations.txt'
    self._workdir.write(path, '\n'.join(profile.table(found, len(found.rows))) + '\n')
    of = f' of {found.device}' if found.device else ''
    self._say(f'profile of steps {step - count + 1:,} to {step:,}{of}: '
              f'{found.ms:.3f} ms a step, in dispatches of {self._lead}')
    for line in profile.table(found):
      self._say(line)
    self._say(f'all operations: {path}')
    self._say(f'trace: {perfetto} (open it in https://ui.perfetto.dev)')

  def close(self) -> None:
    """Ends a trace that has not come to its end."""
    if self._running and self._record:
      profile.stop(self._folder)
      self._say(f'--profile: the run stopped before {self._count} steps were profiled')


class StartupProfiler:
  """Prints the phases from the start of the process to the end of the first step."""

  def __init__(self, watch: Stopwatch, say: Callable[[str], None]):
    """Counts compiled programs from now on.

    Args:
      watch: of the process.
      say: prints a line.
    """
    self._watch, self._say, self._done = watch, say, False
    self._events: Counter[str] = Counter()
    jax.monitoring.register_event_listener(self._count)

  def _count(self, event: str, **_) -> None:
    self._events[event.rpartition('/')[2]] += 1

  def cut(self, step: int, end: int, pace: int) -> int:
    """See `Profiler`."""
    return end if self._done else step + 1

  def due(self, step: int) -> bool:
    """Whether this is the first step."""
    return not self._done

  def reached(self, step: int) -> None:
    """Prints the phases."""
    self._done = True
    self._watch.mark('first step')
    for line in self._table():
      self._say(line)

  def _table(self) -> list[str]:
    seconds = self._watch.seconds
    whole = sum(seconds.values())
    since = 'the start of the process' if self._watch.exact else (
      'the start of the process (before the imports, only its processor time is known)')
    lines = [f'{whole:.3f} s from {since} to the end of the first step:',
             f'{"s":>8} {"share":>6}  phase']
    for phase, each in seconds.items():
      notes = {IMPORTS: self._packages, 'compiling': self._compiled}.get(phase)
      lines.append(f'{each:8.3f} {each / whole:6.1%}  {phase}'
                   + (notes() if notes else ''))
    return lines

  def _packages(self) -> str:
    """The packages whose imports took longest."""
    times = ImportTimes.installed()
    if times is None:
      return ''
    longest = sorted(times.seconds.items(), key=lambda item: -item[1])[:6]
    return ': ' + ', '.join(f'{name} {each:.2f}' for name, each in longest)

  def _compiled(self) -> str:
    """How many programs the cache had."""
    asked = self._events['compile_requests_use_cache']
    return f': {self._events["cache_hits"]} of {asked} programs from the cache' if (
      asked) else ': without a cache'

  def close(self) -> None:
    """Stops counting."""
    jax.monitoring.unregister_event_listener(self._count)
