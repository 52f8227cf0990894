"""Mixed precision for any Linen module, without a word from it.

Micikevicius et al., *Mixed precision training*, 2018: parameters, optimizer and losses
stay in float32; the model works in bfloat16, whose range needs no loss scaling. Linen's
normalisations take their statistics in float32 whatever they are given. Gradients are
float32, and added up in it over parts of a batch and under pmap; over the devices of a
jit the compiler adds them up as the products that made them are, in bfloat16.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

Precision = Literal['float32', 'bfloat16']


def default(platform: str) -> Precision:
  """What is fast on a platform: a CPU's matrix units do not know bfloat16."""
  return 'float32' if platform == 'cpu' else 'bfloat16'


def in_precision(model: Any, precision: Precision) -> Any:
  """A module that computes in a precision, from and to float32."""
  return model if precision == 'float32' else _InBfloat16(model)


class _InBfloat16(NamedTuple):
  """Has `init` and `apply` of a Linen module."""

  model: Any

  def init(self, *args, **kwargs):
    return self.model.init(*args, **kwargs)

  def apply(self, variables, *args, **kwargs):
    variables = {**variables, 'params': _cast(variables['params'], jnp.bfloat16)}
    answer = self.model.apply(variables, *_cast(args, jnp.bfloat16), **kwargs)
    if not kwargs.get('mutable'):
      return _cast(answer, jnp.float32)
    answer, updated = answer
    return _cast(answer, jnp.float32), {
      name: _as_before(variables.get(name), new) for name, new in updated.items()}


def _as_before(old: Any, new: Any) -> Any:
  """A collection in the types that it came in, if it was there."""
  if jax.tree.structure(old) != jax.tree.structure(new):
    return new
  return jax.tree.map(lambda o, n: n.astype(o.dtype), old, new)


def _cast(tree: Any, dtype) -> Any:
  def cast(x):
    floating = hasattr(x, 'dtype') and jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(dtype) if floating else x

  return jax.tree.map(cast, tree)
