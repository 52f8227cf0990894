"""Optimizers beyond optax: penalties, and rates that follow an evaluation.

All are optax transformations, to be put into `optax.chain`:

- L2 penalty: `l2` before the optimizer adds `strength * w` to the gradient, which is
  that of `strength / 2 * |w|^2`;
- L1 penalty: `l1` before the optimizer;
- decoupled weight decay: `optax.adamw`, or `l2` after the optimizer's scaling and
  before that by the learning rate (Loshchilov and Hutter, 2019);
- clipping: `optax.clip_by_global_norm` first.

Penalties are not part of the loss that is logged.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


def weights(params: Any) -> Any:
  """A mask of what is decayed by custom: arrays of two or more dimensions.

  Biases and the scales of normalisations have one.
  """
  return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def l2(strength: float) -> optax.GradientTransformation:
  """Adds the gradient of `strength / 2 * |w|^2` over the weights, not the biases."""
  return optax.add_decayed_weights(strength, mask=weights)


def l1(strength: float) -> optax.GradientTransformation:
  """Adds the gradient of `strength * sum |w|` over the weights, not the biases."""

  def update(updates, state, params):
    penalized = jax.tree.map(
      lambda g, p: g + strength * jnp.sign(p), updates, params)
    return penalized, state

  return optax.masked(optax.GradientTransformation(
    lambda params: optax.EmptyState(), update), weights)


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
