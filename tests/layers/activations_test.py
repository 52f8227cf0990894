import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from bigmodels.layers.activations import gelu


def test_gelu_and_its_gradient_equal_the_closed_forms():
  x = np.linspace(-9, 9, 2001)
  normal = special.ndtr(x)
  density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
  value, slope = jax.vmap(jax.value_and_grad(gelu))(jnp.float32(x))
  np.testing.assert_allclose(value, x * normal, rtol=2e-6, atol=1e-6)
  np.testing.assert_allclose(slope, normal + x * density, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_gelu_keeps_the_type(dtype):
  assert gelu(jnp.ones(3, dtype)).dtype == dtype
