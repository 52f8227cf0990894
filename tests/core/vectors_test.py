"""Tests of bigmodels.core.vectors against NumPy's float64."""

import jax.numpy as jnp
import numpy as np

from bigmodels.core.vectors import products, unit_length


def test_unit_length():
  found = unit_length(np.array([[3.0, 4.0], [0.0, 0.0]]))
  np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]], atol=1e-7)


def test_products_are_of_all_pairs_in_float32():
  one, other = (np.random.default_rng(seed).normal(size=(n, 50))
                for seed, n in ((0, 3), (1, 4)))
  np.testing.assert_allclose(
    products(np.float32(one), np.float32(other)), one @ other.T, atol=1e-5)
  halves = jnp.bfloat16(one), jnp.bfloat16(other)
  exact = (np.float64(x) for x in halves)
  found = products(*halves)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, next(exact) @ next(exact).T, atol=1e-5)
