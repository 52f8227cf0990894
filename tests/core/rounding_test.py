"""Tests of bigmodels.core.rounding."""

import jax
import jax.numpy as jnp
import pytest

from bigmodels.core import rounding


@pytest.mark.parametrize('context, expected', [
  (rounding.marked(), rounding.MARK),
  (jax.default_matmul_precision('highest'), (jax.lax.Precision.HIGHEST,) * 2),
  (jax.default_matmul_precision(None), None)])
def test_marks_of_products(context, expected):
  with context:
    assert rounding.marks() == (expected == rounding.MARK)
    product, = jax.make_jaxpr(jnp.dot)(jnp.ones(3), jnp.ones(3)).eqns
  assert product.params['precision'] == expected
