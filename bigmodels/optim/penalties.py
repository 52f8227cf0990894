"""Weight penalties, as gradients that are added to the updates."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def weights(params: Any) -> Any:
  """Returns a mask of the parameters to decay: matrices, not biases or norms' scales.

  A parameter with one dimension is a bias or a scale. In stacked blocks these have two
  dimensions, so names are checked as well.
  """

  def decayed(path, param):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    return jnp.ndim(param) > 1 and not name.endswith(('bias', 'scale'))

  return jax.tree.map_with_path(decayed, params)


def l2(strength: float) -> optax.GradientTransformation:
  """Adds the gradient of `strength / 2 * |w|^2` over the weights, not the biases.

  After an optimizer's scaling, this is decoupled weight decay (Loshchilov and Hutter,
  *Decoupled Weight Decay Regularization*, 2019).

  Raises:
    ValueError: unless the strength is finite and >= 0.
  """
  _check_strength(strength)
  return optax.add_decayed_weights(strength, mask=weights)


def l1(strength: float) -> optax.GradientTransformation:
  """Adds the gradient of `strength * sum |w|` over the weights, not the biases.

  Tibshirani, *Regression Shrinkage and Selection via the Lasso*, 1996.

  Raises:
    ValueError: unless the strength is finite and >= 0.
  """
  _check_strength(strength)

  def update(updates, state, params):
    penalized = jax.tree.map(
      lambda g, p: g + strength * jnp.sign(p), updates, params)
    return penalized, state

  return optax.masked(optax.GradientTransformation(
    lambda params: optax.EmptyState(), update), weights)


def _check_strength(strength: float) -> None:
  if not 0 <= strength < float('inf'):
    raise ValueError(f'strength: must be finite and >= 0, got {strength}')
