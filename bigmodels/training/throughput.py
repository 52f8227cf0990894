"""What the devices did of what they could: rates, model FLOPs utilization, memory."""

import time
from typing import Any

import jax

from bigmodels.hardware import device_specs, flops
from bigmodels.training.build import Built


class Throughput:
  """Counts by wall time."""

  def __init__(self, built: Built, step: Any):
    """Works out what a step costs.

    Args:
      built: the experiment.
      step: jaxpr of one step; what it recomputes to save memory counts as work.
    """
    self._flops = flops.flops(step, model=True)
    self._batch_size = built.train.order.batch_size
    devices = [*built.layout.mesh.devices.flat]
    self._local = [d for d in devices if d.process_index == jax.process_index()]
    spec = device_specs.find(devices[0].device_kind)
    peak = spec and (spec.float32 if built.precision == 'float32' else spec.bfloat16)
    self._peak = peak * len(devices) if peak else None

  def start(self, step: int, seconds: dict[str, float]) -> None:
    """Training begins, at a step; see `record`."""
    self._step, self._at, self._other = step, time.perf_counter(), _other(seconds)

  def record(self, step: int, seconds: dict[str, float]) -> dict[str, float] | None:
    """Rates since the last record; None if no step was done meanwhile.

    Args:
      step: that the devices have come to.
      seconds: the progress's; evaluation and checkpoints are no training.
    """
    if step <= self._step:
      return None
    now, other = time.perf_counter(), _other(seconds)
    rate = (step - self._step) / max(now - self._at - (other - self._other), 1e-9)
    self._step, self._at, self._other = step, now, other
    return self._rates(rate) | {
      f'{name}_seconds': seconds[name] for name in ('data', 'evaluate', 'checkpoint')}

  def summary(self, steps: int, seconds: dict[str, float]) -> dict[str, float]:
    """Of a whole run, for its result: rates, and fractions of its wall time.

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
      found['mfu'] = rate * self._flops / self._peak
    peaks = [(d.memory_stats() or {}).get('peak_bytes_in_use') for d in self._local]
    if all(peaks):
      found['memory_peak_bytes'] = max(peaks)
    return found


def _other(seconds: dict[str, float]) -> float:
  return seconds['evaluate'] + seconds['checkpoint']
