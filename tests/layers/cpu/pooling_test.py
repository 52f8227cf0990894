"""Tests of bigmodels.layers.cpu.pooling against Flax: ties, NaN, other dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bigmodels.layers.cpu import pooling as cpu


@pytest.mark.parametrize('window, stride, padding', [(2, 2, 0), (3, 2, 1), (2, 1, 0)])
def test_the_first_of_a_tie_has_the_gradient_as_in_flax(window, stride, padding):
  x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (4, 7, 6, 3)), jnp.float32)
  gradients = [jax.jit(jax.grad(lambda x, pool=pool: (
    pool(x) * jnp.cos(jnp.arange(pool(x).size).reshape(pool(x).shape))).sum()))(x)
    for pool in (
      lambda x: cpu.max_pool(x, window, stride, padding),
      lambda x: nn.max_pool(x, (window,) * 2, (stride,) * 2, ((padding,) * 2,) * 2))]
  np.testing.assert_allclose(*gradients, 1e-6, 1e-6)


def test_what_is_not_a_number_is_passed_on():
  x = jnp.ones((1, 4, 6, 1)).at[0, 1, 2].set(jnp.nan).at[0, 2, 5].set(jnp.nan)
  largest = cpu.max_pool(x, 2, 2, 0)[0, :, :, 0]
  np.testing.assert_array_equal(
    jnp.isnan(largest), [[False, True, False], [False, False, True]])


@pytest.mark.parametrize('dtype', ['uint8', 'int32'])
def test_whole_numbers_and_no_images(dtype):
  x = jnp.arange(16).reshape(1, 4, 4, 1).astype(dtype)
  np.testing.assert_array_equal(
    cpu.max_pool(x, 2, 2, 0)[0, :, :, 0], [[5, 7], [13, 15]])
  np.testing.assert_array_equal(
    cpu.max_pool(x, 3, 2, 1)[0, :, :, 0], [[5, 7], [13, 15]])
  assert cpu.max_pool(x[:0], 2, 2, 0).shape == (0, 2, 2, 1)
