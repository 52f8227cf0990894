"""The time since this process was started, divided into phases."""

import os
import pathlib
import time

from bigmodels.core.import_times import ImportTimes

IMPORTS = 'Python and imports'


class Stopwatch:
  """Adds up phases that follow each other.

  Attributes:
    begin: time of its creation, of `time.perf_counter`.
    seconds: phase -> seconds, in order. The first is from the start of the process to
      `begin`; imports that `ImportTimes` sees in later phases are added to it.
    exact: whether the start of the process is known; otherwise the first phase is the
      processor time until `begin`, in which waiting for a disk does not count.
  """

  def __init__(self):
    age = _process_age()
    self.begin = self._last = time.perf_counter()
    self.exact = age is not None
    self._imports = ImportTimes.installed()
    self._imported = self._imports.total if self._imports else 0.0
    self.seconds = {IMPORTS: time.process_time() if age is None else age}

  def mark(self, phase: str) -> None:
    """Adds the time since the last mark to a phase."""
    now = time.perf_counter()
    imported = self._imports.total if self._imports else 0.0
    importing = imported - self._imported
    self.seconds[IMPORTS] += importing
    self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last - importing
    self._last, self._imported = now, imported


def _process_age() -> float | None:
  """Seconds since this process was started, to 0.01 s; None where that is not known."""
  try:
    # Fields after the name, which is in parentheses and may contain any others.
    fields = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()
    started = int(fields[19]) / os.sysconf('SC_CLK_TCK')
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
  except (OSError, AttributeError, ValueError, IndexError):
    return None
