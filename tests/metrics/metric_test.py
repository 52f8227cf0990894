"""bigmodels.metrics.metric: sums that add up, whatever their shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.metrics import Mean


def test_a_mean_is_the_total_over_the_count():
  assert Mean(np.float32(6), np.float32(4)).compute() == 1.5
  assert Mean(np.float32(1), np.float32(3)).compute() == np.float64(1) / 3


def test_nothing_counted_has_no_value():
  assert Mean(np.float32(0), np.float32(0)).compute() is None
  assert Mean(np.zeros(3), np.array([1, 0, 1])).compute() is None


@pytest.mark.parametrize('shape', [(3,), (2, 4)])
def test_a_mean_of_any_shape(shape):
  values = np.random.default_rng(0).normal(size=(10, *shape))
  one, two = (Mean(v.sum(0), np.float32(len(v))) for v in (values[:3], values[3:]))
  total = jax.tree.map(np.add, one, two)
  np.testing.assert_allclose(total.compute(), values.mean(0), rtol=1e-6)


def test_members_have_counts_of_their_own():
  found = jax.vmap(lambda x: Mean(x.sum(), jnp.float32(len(x))))(
    jnp.arange(6.0).reshape(2, 3))
  np.testing.assert_allclose(jax.device_get(found).compute(), [1, 4])
