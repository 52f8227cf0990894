"""Tests of bigmodels.layers.normalization against Flax's normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bigmodels.layers.normalization import BatchNorm


def _all(module, variables, x):
  """Outputs, running statistics afterwards, gradients by parameters and inputs."""
  def loss(params, x):
    y, after = module.apply(
      variables | {'params': params}, x, mutable=['batch_stats'])
    return (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum(), (y, after)

  return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(
    variables.get('params', {}), x)


@pytest.mark.parametrize('shape', [(8, 3), (4, 5, 6, 3)])
@pytest.mark.parametrize('options', [
  {}, {'use_running_average': True}, {'use_scale': False}, {'use_bias': False},
  {'use_bias': False, 'use_scale': False}, {'momentum': 0.7, 'epsilon': 0.1}],
  ids=str)
def test_value_statistics_and_gradients_equal_flax(shape, options):
  options = {'use_running_average': False} | options
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(2, 3, shape), jnp.float32)
  ours, flaxs = BatchNorm(**options), nn.BatchNorm(**options)
  variables = jax.tree.map(
    lambda v: v + jnp.asarray(rng.uniform(0.1, 1, v.shape), v.dtype),
    flaxs.init(jax.random.key(0), x))
  assert (jax.tree.structure(ours.init(jax.random.key(0), x))
          == jax.tree.structure(variables))
  actual, expected = _all(ours, variables, x), _all(flaxs, variables, x)
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, 2e-5, 2e-5),
               actual, expected)


def test_what_it_does_not_do_is_refused():
  x, key = jnp.ones((4, 3)), jax.random.key(0)
  with pytest.raises(ValueError, match=r'axis: must be -1 .*, got 1 and None'):
    BatchNorm(use_running_average=True, axis=1).init(key, x)
  with pytest.raises(ValueError, match='use_running_average'):
    BatchNorm().init(key, x)


def test_initial_variables_equal_flax():
  x = jnp.full((4, 3), 5.0)  # does not move the running statistics
  ours, flaxs = (made(use_running_average=False).init(jax.random.key(0), x)
                 for made in (BatchNorm, nn.BatchNorm))
  jax.tree.map(np.testing.assert_array_equal, ours, flaxs)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16', 'float32'])
def test_statistics_are_taken_in_float32(dtype):
  x = (100 + jnp.arange(4096.0).reshape(-1, 1) % 7).astype(dtype)
  module = BatchNorm(use_running_average=False, momentum=0.0)
  variables = jax.tree.map(  # as mixed precision casts parameters
    lambda p: p.astype(dtype), module.init(jax.random.key(0), x)['params'])
  y, after = jax.jit(lambda x: module.apply(
    {'params': variables,
     'batch_stats': {'mean': jnp.zeros(1), 'var': jnp.ones(1)}},
    x, mutable=['batch_stats']))(x)
  exact = np.asarray(x, np.float64)
  assert y.dtype == dtype
  assert after['batch_stats']['mean'].dtype == 'float32'
  np.testing.assert_allclose(after['batch_stats']['mean'], exact.mean(), 1e-4)
  np.testing.assert_allclose(after['batch_stats']['var'], exact.var(), 1e-2)


def test_statistics_over_the_devices_of_an_axis():
  x = jnp.asarray(np.random.default_rng(0).normal(2, 3, (2, 8, 3)), jnp.float32)
  module = BatchNorm(use_running_average=False)
  variables = module.init(jax.random.key(0), x[0])
  apart = jax.vmap(
    lambda x: BatchNorm(use_running_average=False, axis_name='devices').apply(
      variables, x, mutable=['batch_stats']), axis_name='devices')(x)
  y, after = module.apply(variables, x.reshape(16, 3), mutable=['batch_stats'])
  np.testing.assert_allclose(apart[0].reshape(16, 3), y, 1e-5, 1e-5)
  for name, value in after['batch_stats'].items():
    for device in apart[1]['batch_stats'][name]:
      np.testing.assert_allclose(device, value, 1e-5)
