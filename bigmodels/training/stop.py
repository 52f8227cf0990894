"""Signals that ask a run to save and stop."""

import signal
import threading
from typing import Any


class Stop:
  """Catches SIGTERM, Ctrl-C and a closing terminal, so that the run can be saved.

  A second signal ends the run at once. Under `nohup` a run outlives its terminal.
  """

  def __init__(self):
    self.name: str | None = None
    self._before: dict[int, Any] = {}

  def __enter__(self) -> 'Stop':
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if (number, signal.getsignal(number)) == (signal.SIGHUP, signal.SIG_IGN):
          continue
        self._before[number] = signal.signal(number, self._handle)
    return self

  def _handle(self, number, frame):
    del frame
    self.name = signal.Signals(number).name
    for each, before in self._before.items():
      signal.signal(each, before)

  def __exit__(self, *error):
    for number, before in self._before.items():
      signal.signal(number, before)
