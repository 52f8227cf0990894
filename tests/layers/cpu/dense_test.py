"""Tests of bigmodels.layers.cpu.dense against NumPy."""

import jax
import numpy as np
import pytest

from bigmodels.layers.cpu.dense import matmul


@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('shape', [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5), (0, 5)])
def test_it_is_one_product_of_two_matrices(shape, transposed):
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=shape), rng.normal(size=(5, 7))

  def product(x, kernel):
    return matmul(x, kernel.T if transposed else kernel, transposed=transposed)

  np.testing.assert_allclose(product(x, kernel), x @ kernel, rtol=1e-5, atol=1e-6)
  products = [e for e in jax.make_jaxpr(product)(x, kernel).eqns
              if e.primitive.name == 'dot_general']
  assert [[v.aval.ndim for v in e.invars] for e in products] == [[2, 2]]
