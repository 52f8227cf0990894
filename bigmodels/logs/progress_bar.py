"""The progress of training: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from bigmodels.core import console
from bigmodels.core.errors import escape_controls
from bigmodels.logs.formats import duration
from bigmodels.logs.values import mean


class ProgressBar:
  """Shows the progress of training. A running loop prints all its text by `say`."""

  def __init__(self, steps: int, batch_size: int, first: int,
               say: Callable[[str], None] | None = None):
    """Starts at a step.

    Args:
      steps: number of steps of the run.
      batch_size: examples per step.
      first: the first step.
      say: prints a line, in place of stdout and of a bar.
    """
    self._say = say
    self._batch_size, self._steps = batch_size, steps
    self._first, self._metrics = first, ''
    self._bar = None
    self._last_line = 0.0
    if say is None and sys.stderr.isatty():
      from tqdm import tqdm

      self._bar = tqdm(
        total=steps, initial=first, unit='step', dynamic_ncols=True, leave=False,
        file=console.unescaped(sys.stderr),
        bar_format='{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} '
                   '[{elapsed}<{remaining}] {postfix}')

  def update(self, step: int, seconds: float) -> None:
    """Moves to a completed step, after `seconds` of training in this process."""
    if self._bar is None:
      return
    rate = (step - self._first) / max(seconds, 1e-9)
    self._bar.set_postfix_str(
      f'{rate:,.4g} steps/s, {rate * self._batch_size:,.0f} examples/s'
      f'{self._metrics}', refresh=False)
    self._bar.update(step - self._bar.n)

  def log(self, step: int, record: Mapping[str, Any], seconds: float) -> None:
    """Shows training metrics: in the bar, or as a line every ten seconds at most.

    Args:
      step: the completed step.
      record: flat name -> logged value; only those of 'train' are shown, as means over
        members.
      seconds: training time since the start.
    """
    values = {k.removeprefix('train/'): mean(v) for k, v in record.items()
              if k.startswith('train/') and v is not None}
    self._metrics = escape_controls(''.join(
      f', {k} {v:.4g}' for k, v in values.items() if v is not None))
    now = time.perf_counter()
    if self._bar is None and (now - self._last_line > 10 or step == self._steps):
      rate = (step - self._first) / max(seconds, 1e-9)
      left = (self._steps - step) / max(rate, 1e-9)
      self._last_line = now
      self.say(f'step {step:,}/{self._steps:,}{self._metrics}, {rate:,.4g} steps/s, '
               f'{rate * self._batch_size:,.0f} examples/s, {duration(left)} left')

  def say(self, text: str) -> None:
    """Prints a line, above the bar if there is one."""
    if self._say is not None:
      self._say(text)
    elif self._bar is None:
      print(text, flush=True)
    else:
      self._bar.clear()
      print(text, flush=True)
      self._bar.refresh()

  def close(self) -> None:
    """Removes the bar; what is printed later is plain lines."""
    if self._bar is not None:
      self._bar.close()
      self._bar = None
