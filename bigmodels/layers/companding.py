"""Companding of sounds: a number of levels that are finer near zero."""

import jax
import jax.numpy as jnp
import numpy as np


def mu_law(samples: jax.Array, levels: int = 256) -> jax.Array:
  """Samples in [-1, 1] -> levels by the mu-law (ITU-T G.711), mu = `levels` - 1.

  Larger samples are clipped.

  Args:
    samples: float `[...]`; 0 becomes level `levels // 2`.
    levels: number of levels.

  Returns:
    int32 `[...]`, from 0 to `levels - 1`.
  """
  mu = levels - 1
  samples = jnp.clip(samples, -1, 1)
  companded = jnp.sign(samples) * jnp.log1p(mu * jnp.abs(samples)) / np.log1p(mu)
  return jnp.floor((companded + 1) / 2 * mu + 0.5).astype(jnp.int32)


def from_mu_law(values: jax.Array, levels: int = 256) -> jax.Array:
  """Levels `[...]` from 0 to `levels - 1` -> samples in [-1, 1], float32 `[...]`.

  The samples are the middles of the levels on the companded scale.
  """
  mu = levels - 1
  companded = 2 * values.astype(jnp.float32) / mu - 1
  return jnp.sign(companded) * jnp.expm1(jnp.abs(companded) * np.log1p(mu)) / mu
