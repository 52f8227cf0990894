"""Optimizers beyond optax: penalties, and rates that follow an evaluation.

All are optax transformations, to be put into `optax.chain`:

- L2 penalty: `l2` before the optimizer adds `strength * w` to the gradient, which is
  that of `strength / 2 * |w|^2`;
- L1 penalty: `l1` before the optimizer;
- decoupled weight decay: `optax.adamw`, or `l2` after the optimizer's scaling and
  before that by the learning rate (Loshchilov and Hutter, 2019);
- clipping: `optax.clip_by_global_norm` first;
- frozen parameters: `freeze` last; other learning rates by name: `multiply_rate`.

Penalties are not part of the loss that is logged.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bigmodels.core.tree_paths import check_patterns, matching, name_of


def weights(params: Any) -> Any:
  """A mask of what is decayed by custom: matrices, not biases or scales of norms.

  The latter have one dimension; two where blocks are stacked, so names count as well.
  """

  def decayed(path, param):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    return jnp.ndim(param) > 1 and not name.endswith(('bias', 'scale'))

  return jax.tree.map_with_path(decayed, params)


def l2(strength: float) -> optax.GradientTransformation:
  """Adds the gradient of `strength / 2 * |w|^2` over the weights, not the biases."""
  _check_strength(strength)
  return optax.add_decayed_weights(strength, mask=weights)


def l1(strength: float) -> optax.GradientTransformation:
  """Adds the gradient of `strength * sum |w|` over the weights, not the biases."""
  _check_strength(strength)

  def update(updates, state, params):
    penalized = jax.tree.map(
      lambda g, p: g + strength * jnp.sign(p), updates, params)
    return penalized, state

  return optax.masked(optax.GradientTransformation(
    lambda params: optax.EmptyState(), update), weights)


def _check_strength(strength: float) -> None:
  if not 0 <= strength < float('inf'):
    raise ValueError(f'strength: wants a number, 0 or more, got {strength}')


def freeze(*patterns: str, layers: int | None = None) -> optax.GradientTransformation:
  """Leaves parameters as they are: their updates become zero.

  Goes last in `optax.chain`: what comes before it, decay too, moves nothing then.
  Frozen layers still cost their forward pass, and their place in an optimizer's state.

  Args:
    patterns: regular expressions of whole names, such as `encoder/blocks/.*`.
    layers: only the first so many along the leading axis, on which a `Stack` has its
      blocks; those that match must agree in its length.

  Raises:
    ValueError: here for what is no pattern or number; when the optimizer is initialised
      for a pattern that matches no parameter, or more layers than there are.
  """
  return _where_named(patterns, layers, jnp.zeros_like)


def multiply_rate(*patterns: str, factor: float, layers: int | None = None
                  ) -> optax.GradientTransformation:
  """Multiplies the learning rate of parameters, such as those of a pre-trained encoder.

  Goes last in `optax.chain`: updates are what it multiplies, decay too. Several follow
  each other; their factors multiply where they overlap.

  Args:
    patterns, layers: as in `freeze`.
    factor: 0 or more.

  Raises:
    ValueError: as `freeze` does, and for another factor.
  """
  if not 0 <= factor < float('inf'):
    raise ValueError(f'factor: wants a number, 0 or more, got {factor}')
  return _where_named(patterns, layers, lambda update: factor * update)


def _where_named(patterns: tuple[str, ...], layers: int | None, change: Callable
                 ) -> optax.GradientTransformation:
  """Changes the updates of parameters by name; see `freeze`."""
  check_patterns(patterns)
  if layers is not None and layers < 1:
    raise ValueError(f'layers: wants at least 1, got {layers}')

  def meant(path):
    return any(re.fullmatch(pattern, name_of(path)) for pattern in patterns)

  def init(params):
    shapes = {name_of(p): jnp.shape(x) for p, x in jax.tree.leaves_with_path(params)}
    for pattern in patterns:
      found = matching(pattern, shapes, 'parameter')
      lengths = {(*shapes[name], 0)[0]: name for name in found} if layers else {}
      if len(lengths) > 1:
        raise ValueError('layers: wants parameters with the same number of them, got '
                         + ', '.join(f'{n} of {name}' for n, name in lengths.items()))
      if layers and layers > max(lengths):
        raise ValueError(f'layers: wants at most the {max(lengths)} that '
                         f'{lengths[max(lengths)]} has, got {layers}')
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    return jax.tree.map_with_path(
      lambda path, u: u if not meant(path) else change(u) if layers is None
      else u.at[:layers].set(change(u[:layers])), updates), state

  return optax.GradientTransformation(init, update)


def muon_filters(*, momentum: float = 0.6, steps: int = 3
                 ) -> optax.GradientTransformation:
  """Muon for the kernels of convolutions, as in airbench (Jordan, 2025).

  The momentum (Nesterov's), as a matrix of the inputs of a window by filters, is made
  orthogonal; goes before the scaling by the learning rate. Every other parameter is to
  be masked.

  Args:
    momentum: share of the old gradients that stays in a step.
    steps: of the Newton-Schulz iteration.
  """
  def axes(updates):
    return jax.tree.map(lambda u: optax.contrib.MuonDimensionNumbers(
      tuple(range(u.ndim - 1)), u.ndim - 1), updates)

  # By itself `scale_by_muon` corrects the momentum for its start: airbench does not.
  return optax.chain(
    optax.trace(momentum, nesterov=True), optax.contrib.scale_by_muon(
      ns_steps=steps, beta=0.0, nesterov=False, weight_dimension_numbers=axes))


def with_norms(norm: Callable[[jax.Array], float]) -> optax.GradientTransformation:
  """Moves parameters to a norm before they are updated.

  Goes last in `optax.chain`, after the scaling by the learning rate.

  Args:
    norm: parameter -> the Euclidean norm that it gets, unless it is all zeros.
  """
  def update(updates, state, params=None):
    def moved(u, p):
      now = jnp.linalg.norm(p.reshape(-1))
      return u + p * (norm(p) / jnp.where(now > 0, now, 1) - 1)

    return jax.tree.map(moved, updates, params), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


class PlateauState(NamedTuple):
  """Attributes: scale of the updates; best value; evaluations without a better one;
  evaluations seen."""

  scale: jax.Array
  best: jax.Array
  waited: jax.Array
  seen: jax.Array


def reduce_on_plateau(
  *, factor: float = 0.1, patience: int = 5, tolerance: float = 1e-4,
  smallest: float = 1e-3,
) -> optax.GradientTransformationExtraArgs:
  """Scales the updates down when the monitored evaluation metric stops improving.

  Goes last in `optax.chain`. The experiment needs a `monitor`. Unlike
  `optax.contrib.reduce_on_plateau`, which watches the training loss by steps, this
  waits by evaluations.

  Args:
    factor: what the scale is multiplied by.
    patience: evaluations without improvement before that.
    tolerance: relative improvement that counts.
    smallest: the scale stops here.
  """
  if not 0 < factor < 1:
    raise ValueError(f'factor: wants a number between 0 and 1, got {factor}')
  if patience < 1:
    raise ValueError(f'patience: wants at least 1, got {patience}')

  def init(params):
    del params
    return PlateauState(jnp.float32(1), jnp.float32(jnp.inf), jnp.int32(0),
                        jnp.int32(0))

  def update(updates, state, params=None, *, signal, **extra):
    del params, extra
    new = signal.count > state.seen
    margin = jnp.where(jnp.isfinite(state.best), tolerance * jnp.abs(state.best), 0.0)
    better = signal.value < state.best - margin
    waited = jnp.where(better, 0, state.waited + 1)
    reduce = new & (waited >= patience)
    scale = jnp.where(reduce, jnp.maximum(state.scale * factor, smallest), state.scale)
    state = PlateauState(
      scale=scale,
      best=jnp.where(new & better, signal.value, state.best),
      waited=jnp.where(new, jnp.where(reduce, 0, waited), state.waited),
      seen=jnp.maximum(signal.count, state.seen),
    )
    return jax.tree.map(lambda u: u * scale.astype(u.dtype), updates), state

  return optax.GradientTransformationExtraArgs(init, update)


def wants_monitor(opt_state: Any) -> bool:
  """Whether an optimizer's state has a `reduce_on_plateau` in it."""
  leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, PlateauState))
  return any(isinstance(leaf, PlateauState) for leaf in leaves)
