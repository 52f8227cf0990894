"""What the devices did of what they could: rates, model FLOPs utilisation, memory."""

import time
from typing import Any

import jax

from bigmodels.hardware import device_specs, flops
from bigmodels.parallel.layout import Layout


class Throughput:
  """Counts by wall time."""

  def __init__(self, step: Any, layout: Layout, batch_size: int, precision: str):
    """Works out what a step costs.

    Args:
      step: jaxpr of one step; what it recomputes to save memory counts as work.
      layout: the devices.
      batch_size: examples a step.
      precision: of the model's arithmetic.
    """
    self.flops = flops.flops(step)
    self._batch_size = batch_size
    device = layout.mesh.devices.flat[0]
    self._local = [d for d in layout.mesh.devices.flat
                   if d.process_index == jax.process_index()]
    spec = device_specs.find(device.device_kind)
    peak = spec and (spec.bfloat16 if precision == 'bfloat16' else spec.float32)
    self._peak = peak * layout.mesh.size if peak else None

  def start(self, step: int) -> None:
    """Training begins, at a step."""
    self._step, self._at, self._other = step, time.perf_counter(), None

  def record(self, step: int, seconds: dict[str, float]) -> dict[str, float] | None:
    """Rates since the last record; None if no step was done meanwhile.

    Args:
      step: that the devices have come to.
      seconds: the progress's; evaluation and checkpoints are no training.
    """
    if step <= self._step:
      return None
    now, other = time.perf_counter(), seconds['evaluate'] + seconds['checkpoint']
    spent = now - self._at - (other - (other if self._other is None else self._other))
    rate = (step - self._step) / max(spent, 1e-9)
    self._step, self._at, self._other = step, now, other
    return self._rates(rate) | {
      f'{name}_seconds': seconds[name] for name in ('data', 'evaluate', 'checkpoint')}

  def summary(self, steps: int, seconds: dict[str, float]) -> dict[str, float]:
    """Of a whole run, for its result: rates, and shares of its wall time.

    The MFU is by the devices of this start, wherever the earlier ones ran.
    """
    whole = max(sum(seconds.values()), 1e-9)
    rate = steps / max(seconds['train'] + seconds['data'], 1e-9)
    return self._rates(rate) | {
      f'{name}_fraction': spent / whole for name, spent in seconds.items()}

  def _rates(self, rate: float) -> dict[str, float]:
    found = {'steps_per_second': rate,
             'examples_per_second': rate * self._batch_size}
    if self._peak:
      found['mfu'] = rate * self.flops / self._peak
    peaks = [(d.memory_stats() or {}).get('peak_bytes_in_use') for d in self._local]
    if all(peaks):
      found['memory_peak_bytes'] = max(peaks)
    return found
