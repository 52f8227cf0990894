"""The loss of quantiles."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def pinball(predictions: jax.Array, targets: jax.Array, quantiles: Sequence[float]
            ) -> jax.Array:
  """Computes the mean pinball loss of quantiles, which quantiles minimize.

  `max(q e, (q - 1) e)` for the error e = target - prediction (Koenker and Bassett,
  *Regression quantiles*, 1978).

  Args:
    predictions: `[..., quantiles]`.
    targets: `[...]`.
    quantiles: the probability that a target is below each prediction.

  Returns:
    `[...]`.
  """
  levels = np.asarray(quantiles, np.float32)
  errors = targets[..., None] - predictions
  return jnp.mean(jnp.maximum(levels * errors, (levels - 1) * errors), -1)
