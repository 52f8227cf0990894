"""The least time of a step, against numbers derived by hand."""

import pytest

from bigmodels.hardware.costs import Collective, Costs
from bigmodels.hardware.device_specs import DeviceSpec
from bigmodels.hardware.roofline import roofline

SPEC = DeviceSpec('test', bfloat16=100, float32=50, memory=1, bandwidth=10,
                  interconnect=1)


def step_costs(moved, links):
  return Costs(moved, {'all-reduce': Collective(1, links, links)}, ())


@pytest.mark.parametrize(('flops', 'moved', 'links', 'step', 'bound'), [
  (1000, 50, 2, 10, 'compute'), (1000, 200, 2, 20, 'memory'),
  (1000, 50, 40, 40, 'network')])
def test_roofline(flops, moved, links, step, bound):
  found = roofline(flops, step_costs(moved, links), SPEC)
  assert found == (flops / 100, moved / 10, links, step, bound,
                   pytest.approx(10 / step))


def test_recomputation_and_float32():
  found = roofline(1000, step_costs(0, 0), SPEC, model_flops=750, float32=True)
  assert (found.step_s, found.bound, found.mfu) == (20, 'compute', 0.75)
