"""Muon for convolutions, and the normalization of kernels, as in airbench."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def muon_filters(*, momentum: float = 0.6, steps: int = 3
                 ) -> optax.GradientTransformation:
  """Orthogonalizes the updates of convolution kernels, as airbench's Muon does.

  Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024. The
  Nesterov momentum is reshaped to a matrix, `[inputs of a window, filters]`, and made
  orthogonal. It goes before the scaling by the learning rate. All other parameters must
  be masked.

  Args:
    momentum: decay of the sum of past gradients.
    steps: iterations of Newton-Schulz.
  """
  def axes(updates):
    return jax.tree.map(lambda u: optax.contrib.MuonDimensionNumbers(
      tuple(range(u.ndim - 1)), u.ndim - 1), updates)

  # `scale_by_muon` would correct the bias of the momentum, which airbench does not.
  return optax.chain(
    optax.trace(momentum, nesterov=True), optax.contrib.scale_by_muon(
      ns_steps=steps, beta=0.0, nesterov=False, weight_dimension_numbers=axes))


def with_norms(norm: Callable[[jax.Array], float]) -> optax.GradientTransformation:
  """Scales parameters to a norm before they are updated, as airbench does for Muon.

  Jordan, `airbench94_muon`, 2025. It goes last in `optax.chain`, after the scaling by
  the learning rate.

  Args:
    norm: parameter of any shape -> the Euclidean norm to scale it to. A parameter that
      is all zeros is not scaled.
  """
  def update(updates, state, params=None):
    def moved(u, p):
      now = jnp.linalg.norm(p.reshape(-1))
      return u + p * (norm(p) / jnp.where(now > 0, now, 1) - 1)

    return jax.tree.map(moved, updates, params), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
