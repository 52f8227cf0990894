"""The learning rate and the norms of an optimizer's updates, for the log."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bigmodels.optim.plateau import PlateauState

# The norms, which are logged with the learning rates.
NORMS = ('gradient_norm', 'parameter_norm')


class MeasuredState(NamedTuple):
  """The state of `measured`.

  Attributes:
    inner: state of the optimizer.
    count: number of updates, int32 `[]`.
    sums: name -> the sum of a quantity and how often it was measured, float32 `[2]`,
      since the last `cleared`.
  """

  inner: Any
  count: jax.Array
  sums: dict[str, jax.Array]


def measured(optimizer: optax.GradientTransformation,
             learning_rates: Mapping[str, float | Callable], *, every: int = 1
             ) -> optax.GradientTransformationExtraArgs:
  """Measures what an optimizer is given, and with which learning rate it works.

  The gradient is that of the whole batch, before the optimizer clips it. Norms are
  those of all parameters together, as `optax.global_norm`. They are measured in some
  updates only, as reading all parameters again costs a few percent of a small step.
  Values that are not finite are left out.

  Args:
    optimizer: any optax transformation.
    learning_rates: name -> rate or optax schedule that the optimizer was made with.
    every: number of updates between two measurements of the norms.
  """
  optimizer = optax.with_extra_args_support(optimizer)

  def init(params):
    inner = optimizer.init(params)
    known = [name for name, rate in learning_rates.items()
             if jax.eval_shape(lambda s, r=rate: applied(r, s, s), inner) is not None]
    return MeasuredState(inner, jnp.int32(0),
                         {name: jnp.zeros(2) for name in (*known, *NORMS)})

  def update(updates, state, params=None, **extra):
    new, inner = optimizer.update(updates, state.inner, params, **extra)
    norms = jax.lax.cond(
      state.count % every == 0,
      lambda *trees: jnp.stack([*map(_norm, trees), jnp.float32(1)]),
      lambda *trees: jnp.zeros(3), updates, params)
    sums = {name: state.sums[name] + _counted(norm, norms[2])
            for name, norm in zip(NORMS, norms[:2], strict=True)}
    sums |= {name: state.sums[name] + _counted(
      applied(rate, state.inner, inner), jnp.float32(1))
      for name, rate in learning_rates.items() if name in state.sums}
    return new, MeasuredState(inner, state.count + 1, sums)

  return optax.GradientTransformationExtraArgs(init, update)


def applied(rate: float | Callable, before: Any, after: Any) -> jax.Array | None:
  """The learning rate of an update, float32 `[]`; None if the states do not show it.

  It is the rate that optax multiplies the updates by, with the scale of
  `reduce_on_plateau`, and without factors of parameter groups (`multiply_rate`).

  Args:
    rate: the learning rate or schedule that the optimizer was made with.
    before, after: state of the optimizer before and after the update.
  """
  injected = [s.hyperparams['learning_rate'] for s in _states(after, _Injected)
              if 'learning_rate' in s.hyperparams]
  counts = [s.count for s in _states(before, optax.ScaleByScheduleState)]
  if injected:
    rate = injected[0]
  elif callable(rate):
    if not counts:
      return None
    rate = rate(counts[0])
  scale = jnp.float32(rate)
  for state in _states(after, (PlateauState, optax.contrib.ReduceLROnPlateauState)):
    scale = scale * state.scale
  return scale


def cleared(opt_state: Any) -> Any:
  """An optimizer state in which the sums of every `MeasuredState` are zero."""
  return jax.tree.map(
    lambda s: s._replace(sums=jax.tree.map(jnp.zeros_like, s.sums))
    if isinstance(s, MeasuredState) else s, opt_state, is_leaf=_is_measured)


def sums(opt_state: Any) -> dict[str, jax.Array]:
  """Name -> sum and count, float32 `[2]`, of the `MeasuredState` in a state, if any."""
  found = _states(opt_state, MeasuredState)
  return dict(found[0].sums) if found else {}


def unmeasured(opt_state: Any) -> Any:
  """The state of the optimizer that is measured, if one is."""
  found = _states(opt_state, MeasuredState)
  return found[0].inner if found else opt_state


_Injected = (optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState)


def _is_measured(x: Any) -> bool:
  return isinstance(x, MeasuredState)


def _states(tree: Any, kinds: Any) -> list[Any]:
  """The states of some types in an optimizer state, outermost first."""
  return [leaf for leaf in jax.tree.leaves(
    tree, is_leaf=lambda x: isinstance(x, kinds)) if isinstance(leaf, kinds)]


def _norm(tree: Any) -> jax.Array:
  return jnp.sqrt(sum(_squares(x.astype(jnp.float32)) for x in jax.tree.leaves(tree)))


def _squares(x):
  # A product, since a CPU would write the squares of all parameters to memory.
  every = tuple(range(x.ndim))
  return jax.lax.dot_general(x, x, ((every, every), ((), ())), precision='highest')


def _counted(value: jax.Array, count: jax.Array) -> jax.Array:
  good = jnp.isfinite(value)
  return jnp.where(good, jnp.stack([value * count, count]), 0.0)
