"""The least time of a step, by the roofline model."""

from typing import NamedTuple

from bigmodels.hardware.costs import Costs
from bigmodels.hardware.device_specs import DeviceSpec


class Roofline(NamedTuple):
  """A lower bound of the time of a step, and what limits it.

  Compute, memory and network are assumed to run at their peaks and to overlap fully: a
  real step takes longer.

  Attributes:
    compute_s: seconds of the arithmetic.
    memory_s: seconds of the memory traffic.
    network_s: seconds of the traffic between devices, over all links of a device.
    step_s: the largest of the three.
    bound: which one that is: 'compute', 'memory' or 'network'.
    mfu: model FLOPs utilization in `step_s` (Chowdhery et al., *PaLM*, 2022).
  """

  compute_s: float
  memory_s: float
  network_s: float
  step_s: float
  bound: str
  mfu: float


def roofline(flops_per_device: float, costs: Costs, spec: DeviceSpec, *,
             model_flops: float | None = None, float32: bool = False) -> Roofline:
  """The roofline of a step on a device (Williams et al., *Roofline*, 2009).

  Args:
    flops_per_device: of one step, recomputation included.
    costs: of the program of one step.
    spec: of the device.
    model_flops: per device, without recomputation; None: `flops_per_device`.
    float32: whether the products are of float32.
  """
  peak = spec.float32 if float32 else spec.bfloat16
  times = {'compute': flops_per_device / peak,
           'memory': costs.bytes_moved / spec.bandwidth,
           'network': costs.link_bytes / spec.interconnect}
  bound = max(times, key=times.get)
  model = flops_per_device if model_flops is None else model_flops
  step = times[bound]
  return Roofline(*times.values(), step, bound, model / (step * peak) if step else 0.0)
