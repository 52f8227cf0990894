"""Lookahead: slow parameters that follow the fast ones of any optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class LookaheadState(NamedTuple):
  """The state of `lookahead`.

  Attributes:
    optimizer: state of the optimizer of the fast parameters.
    slow: parameters at the last synchronization.
    count: steps since then, int32 `[]`.
  """

  optimizer: Any
  slow: Any
  count: jax.Array


def lookahead(optimizer: optax.GradientTransformation, *, period: int = 5,
              rate: float = 0.5) -> optax.GradientTransformationExtraArgs:
  """Wraps an optimizer: every few steps the parameters go back part of the way.

  Zhang et al., *Lookahead Optimizer: k steps forward, 1 step back*, 2019. The
  parameters are the fast ones; after a multiple of `period` steps they are the slow
  ones too. The state of the wrapped optimizer goes on. It is the whole optimizer, or
  its last part: what follows in `optax.chain` would change its steps.

  Args:
    optimizer: of the fast parameters.
    period: steps between two synchronizations, >= 1 (k in the paper).
    rate: fraction of the way from the slow to the fast parameters that the slow ones
      go, > 0 and <= 1 (alpha in the paper).

  Raises:
    ValueError: if `period` or `rate` is out of range.
  """
  if period < 1:
    raise ValueError(f'period: must be >= 1, got {period}')
  if not 0 < rate <= 1:
    raise ValueError(f'rate: must be > 0 and <= 1, got {rate}')
  optimizer = optax.with_extra_args_support(optimizer)

  def init(params):
    # A copy: a step donates both buffers.
    return LookaheadState(optimizer.init(params), jax.tree.map(jnp.copy, params),
                          jnp.int32(0))

  def update(updates, state, params=None, **given):
    updates, inner = optimizer.update(updates, state.optimizer, params, **given)
    # At a synchronization both are equal; parameters may have been read since `init`.
    slow = jax.tree.map(
      lambda slow, p: jnp.where(state.count == 0, p, slow), state.slow, params)
    last = state.count == period - 1
    updates = jax.tree.map(
      lambda u, p, slow: jnp.where(last, rate * (p + u - slow) + slow - p, u).astype(
        u.dtype), updates, params, slow)
    return updates, LookaheadState(inner, slow, (state.count + 1) % period)

  return optax.GradientTransformationExtraArgs(init, update)
