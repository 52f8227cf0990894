"""The kernel against XLA's attention: its arithmetic by Pallas' interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.attention import attend, same_segment
from bigmodels.layers.tpu import attention as tpu

SEGMENTS = np.repeat([[1, 1, 2, 2, 2, 3, 0, 0], [1, 2, 3, 4, 4, 4, 4, 5]], 32, 1)


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('segmented, causal, kv_heads', [
  pytest.param(False, True, 4, marks=pytest.mark.slow('interpret a kernel')),
  (True, True, 2),
  pytest.param(True, False, 1, marks=pytest.mark.slow('interpret a kernel'))])
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


@pytest.mark.parametrize('length, width, dtype, options, fused', [
  (256, 64, jnp.bfloat16, {}, True),
  (256, 128, jnp.bfloat16, {'segments': True, 'causal': True}, True),
  (196, 64, jnp.bfloat16, {}, False), (256, 48, jnp.bfloat16, {}, False),
  (256, 64, jnp.float32, {}, False), (256, 64, jnp.bfloat16, {'mask': True}, False),
  (256, 64, jnp.bfloat16, {'dropout': 0.1}, False)])
def test_it_is_chosen_for_what_it_takes(
  monkeypatch, length, width, dtype, options, fused):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  monkeypatch.setattr(jax, 'device_count', lambda: 1)
  options = dict(options)
  if 'segments' in options:
    options['segments'] = (jnp.ones((2, length), jnp.int32),) * 2
  if 'mask' in options:
    options['mask'] = jnp.ones((2, 1, length, length), bool)
  if 'dropout' in options:
    options['dropout_key'] = jax.random.key(0)
  x = jax.ShapeDtypeStruct((2, length, 4, width), dtype)
  program = jax.make_jaxpr(lambda *a: attend(*a, **options))(x, x, x)
  assert ('pallas_call' in str(program)) == fused
