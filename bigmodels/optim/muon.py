"""Muon for convolutions, and the normalization of kernels, as in airbench."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def muon_filters(*, momentum: float = 0.6, steps: int = 3, stacked: bool = False
                 ) -> optax.GradientTransformation:
  """Orthogonalizes the updates of convolution kernels, as airbench's Muon does.

  Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024. The
  Nesterov momentum is reshaped to a matrix, `[inputs of a window, filters]`, and made
  orthogonal. It goes before the scaling by the learning rate. All other parameters must
  be masked.

  Args:
    momentum: decay of the sum of past gradients.
    steps: iterations of Newton-Schulz.
    stacked: whether kernels with the same number of filters are orthogonalized in one
      batched product: fewer and larger products, the same result up to rounding. For
      kernels that are not sharded: each device holds whole stacks.
  """
  def axes(updates):  # the first axis of a stack is a batch
    return jax.tree.map(lambda u: optax.contrib.MuonDimensionNumbers(
      tuple(range(stacked, u.ndim - 1)), u.ndim - 1), updates)

  # `scale_by_muon` would correct the bias of the momentum, which airbench does not.
  scaling = optax.contrib.scale_by_muon(
    ns_steps=steps, beta=0.0, nesterov=False, weight_dimension_numbers=axes)
  return optax.chain(optax.trace(momentum, nesterov=True),
                     _of_stacks(scaling) if stacked else scaling)


def muon(learning_rate: optax.ScalarOrSchedule, others: optax.GradientTransformation, *,
         momentum: float = 0.95, steps: int = 5) -> optax.GradientTransformation:
  """Muon for convolution kernels, and another optimizer for all other parameters.

  Args:
    learning_rate: of the kernels, whose updates have singular values of about 1.
    others: for parameters that have not four axes, such as `optax.adam(2e-3)`.
    momentum, steps: see `muon_filters`.
  """
  return optax.partition({
    'filters': optax.chain(muon_filters(momentum=momentum, steps=steps),
                           optax.scale_by_learning_rate(learning_rate)),
    'others': others}, lambda params: jax.tree.map(
      lambda x: 'filters' if x.ndim == 4 else 'others', params))


def _of_stacks(muon: optax.GradientTransformation) -> optax.GradientTransformation:
  """Muon of stacks `[kernels, inputs of a window, filters]`, for a tree of kernels.

  Smaller windows are padded with zeros, which Newton-Schulz maps to zeros (Hiverge,
  *How to train a model on CIFAR-10 in less than 2 seconds?*, 2025).
  """
  def stack(tree):
    stacks: dict[str, list[jax.Array]] = {}
    for kernel in jax.tree.leaves(tree):
      matrix = kernel.reshape(-1, kernel.shape[-1])
      stacks.setdefault(f'{kernel.shape[-1]}_filters', []).append(matrix)
    rows = {name: max(map(len, each)) for name, each in stacks.items()}
    return {name: jnp.stack([
      jnp.pad(x, ((0, rows[name] - len(x)), (0, 0))) for x in each])
      for name, each in stacks.items()}

  def update(updates, state, params=None):
    stacks, state = muon.update(stack(updates), state)
    matrices = {name: iter(each) for name, each in stacks.items()}

    def of(kernel):
      matrix = next(matrices[f'{kernel.shape[-1]}_filters'])
      return matrix[:kernel.size // kernel.shape[-1]].reshape(kernel.shape)

    return jax.tree.map(of, updates), state

  return optax.GradientTransformation(lambda params: muon.init(stack(params)), update)


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
