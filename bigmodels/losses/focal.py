"""Focal losses."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.losses.classification import two_sided


def focal(logits: jax.Array, labels: jax.Array, *, gamma: float = 2.0,
          alpha: float | Sequence[float] | None = None) -> jax.Array:
  """Computes `-alpha (1 - p)^gamma log p`, p being the probability of the label.

  Examples that are classified well count less than in the cross-entropy, which is
  `gamma=0` (Lin et al., *Focal Loss for Dense Object Detection*, 2017).

  Args:
    logits: `[batch, classes]`, or `[batch, 1]` for two classes (the log-odds of
      class 1).
    labels: `[batch]`, class indices; or float `[batch, classes]`, a probability for
      each class, whose losses are averaged.
    gamma: how much less they count.
    alpha: the weight of each class; for two classes a number, the weight of class 1,
      where class 0 has 1 - alpha. None for 1.

  Returns:
    `[batch]`.

  Raises:
    ValueError: for settings out of range, or labels or weights of other shapes.
  """
  if not gamma >= 0:
    raise ValueError(f'focal: gamma must be >= 0, got {gamma}')
  logits = two_sided(logits)
  classes = logits.shape[-1]
  log_p = jax.nn.log_softmax(logits, axis=-1)
  # Without the floor, the gradient of a power below 1 is infinite at p = 1.
  other = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(log_p.dtype).tiny)
  values = -(other**gamma) * log_p * _weights(alpha, classes)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    if labels.shape != logits.shape:
      raise ValueError('focal: float labels must be probabilities of the classes, '
                       f'{logits.shape}, got labels {labels.shape}')
    # 0 * inf: a class without a share does not count.
    return jnp.sum(jnp.where(labels > 0, labels * values, 0.0), axis=-1)
  return jnp.take_along_axis(values, labels[..., None], axis=-1)[..., 0]


def _weights(alpha: float | Sequence[float] | None, classes: int) -> np.ndarray:
  if alpha is None:
    return np.ones(classes, np.float32)
  weights = np.asarray(alpha, np.float32)
  if weights.ndim == 0 and classes == 2 and 0 <= weights <= 1:
    return np.stack([1 - weights, weights])
  if weights.shape != (classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
    raise ValueError(f'focal: alpha must be a weight >= 0 for each of the {classes} '
                     f'classes{", or a number from 0 to 1" * (classes == 2)}, got '
                     f'{alpha}')
  return weights


def heatmap_focal(logits: jax.Array, targets: jax.Array, *, alpha: float = 2.0,
                  beta: float = 4.0) -> jax.Array:
  """Computes the focal loss of maps whose peaks are surrounded by Gaussians.

  At a peak, where the target is 1, it is `-(1 - p)^alpha log p`; elsewhere
  `-(1 - target)^beta p^alpha log(1 - p)`, which counts less near to a peak (Law and
  Deng, *CornerNet*, 2018, equation 1). Without Gaussians it is the binary focal loss.

  Args:
    logits: `[...]`.
    targets: `[...]`, 0 to 1.
    alpha: how much less what is right counts.
    beta: how much less what is near to a peak counts.

  Returns:
    `[...]`.
  """
  log_p, log_q = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  peak = -jnp.exp(alpha * log_q) * log_p
  other = -((1 - targets) ** beta) * jnp.exp(alpha * log_p) * log_q
  return jnp.where(targets == 1, peak, other)
