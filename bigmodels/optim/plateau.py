"""A learning rate that decreases when an evaluation metric stops improving."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class PlateauState(NamedTuple):
  """The state of `reduce_on_plateau`.

  Attributes:
    scale: scale of the updates, float32 `[]`.
    best: best value so far, float32 `[]`.
    waited: number of evaluations since the best, int32 `[]`.
    seen: number of evaluations so far, int32 `[]`.
  """

  scale: jax.Array
  best: jax.Array
  waited: jax.Array
  seen: jax.Array


def reduce_on_plateau(
  *, factor: float = 0.1, patience: int = 5, tolerance: float = 1e-4,
  smallest: float = 1e-3,
) -> optax.GradientTransformationExtraArgs:
  """Scales the updates down when the monitored evaluation metric stops improving.

  The rule is that of PyTorch's `ReduceLROnPlateau`. It goes last in `optax.chain`, and
  the experiment needs a `monitor`. It counts evaluations, whereas
  `optax.contrib.reduce_on_plateau` counts steps and monitors the training loss.

  Args:
    factor: the scale is multiplied by it, between 0 and 1.
    patience: number of evaluations without improvement before the scale is reduced.
    tolerance: smallest relative improvement that counts as one.
    smallest: lower bound of the scale.

  Raises:
    ValueError: if an argument is out of range.
  """
  if not 0 < factor < 1:
    raise ValueError(f'factor: must be between 0 and 1, got {factor}')
  if patience < 1:
    raise ValueError(f'patience: must be >= 1, got {patience}')
  if not tolerance >= 0:
    raise ValueError(f'tolerance: must be >= 0, got {tolerance}')
  if not 0 <= smallest <= 1:
    raise ValueError(f'smallest: must be between 0 and 1, got {smallest}')

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


def needs_monitor(opt_state: Any) -> bool:
  """Returns whether an optimizer state contains a `PlateauState`."""
  leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, PlateauState))
  return any(isinstance(leaf, PlateauState) for leaf in leaves)
