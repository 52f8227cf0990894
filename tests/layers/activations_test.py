import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from bigmodels.layers.activations import gelu


def test_gelu_and_its_gradient_equal_the_closed_forms():
  x = np.linspace(-9, 9, 2001)
  normal = special.ndtr(x)
  density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
  value, slope = jax.vmap(jax.value_and_grad(gelu))(jnp.float32(x))
  np.testing.assert_allclose(value, x * normal, rtol=2e-6, atol=1e-6)
  np.testing.assert_allclose(slope, normal + x * density, rtol=2e-6, atol=1e-6)


def test_gelu_of_bfloat16_is_rounded_once():
  x = jnp.linspace(-5, 5, 401).astype(jnp.bfloat16)
  exact = np.float64(x) * special.ndtr(np.float64(x))
  found = jax.jit(gelu)(x)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float64(found), exact, rtol=2**-8, atol=1e-6)
