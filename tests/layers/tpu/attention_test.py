"""The kernel against XLA's attention: its arithmetic by Pallas' interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.attention import same_segment
from bigmodels.layers.tpu import attention as tpu

SEGMENTS = np.repeat([[1, 1, 2, 2, 2, 3, 0, 0], [1, 2, 3, 4, 4, 4, 4, 5]], 32, 1)


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('kv_heads', [4, 2, 1])
@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('segmented', [False, True])
def test_values_and_gradients_equal_those_of_xla(segmented, causal, kv_heads):
  query = normal(2, 256, 4, 64)
  key, value = (normal(2, 256, kv_heads, 64, seed=seed) for seed in (1, 2))
  segments = (jnp.asarray(SEGMENTS),) * 2 if segmented else None
  real = SEGMENTS > 0 if segmented else np.ones((2, 256), bool)

  def kernel(*arrays):
    return tpu.attend(*arrays, segments=segments, causal=causal, interpret=True)

  def plain(*arrays):
    return jax.nn.dot_product_attention(
      *arrays, mask=same_segment(*segments) if segmented else None, is_causal=causal)

  def gradients(attend):
    def total(*arrays):
      answer = attend(*arrays) * real[..., None, None]
      return jnp.sum(jnp.sin(answer)), answer

    return jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(query, key, value)

  (found, answer), (expected, wanted) = gradients(kernel), gradients(plain)
  for one, other in zip((*found, answer), (*expected, wanted), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
