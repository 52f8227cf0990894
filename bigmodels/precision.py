"""Mixed precision for any Linen module, without a word from it.

Micikevicius et al., *Mixed precision training*, 2018: parameters, optimizer and losses
stay in float32; the model works in bfloat16, whose range needs no loss scaling. Linen's
normalisations take their statistics in float32 whatever they are given.
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
    answer, updated = answer  # a collection keeps the types that the model gives it
    return _cast(answer, jnp.float32), updated


def _cast(tree: Any, dtype) -> Any:
  def cast(x):
    floating = hasattr(x, 'dtype') and jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(dtype) if floating else x

  return jax.tree.map(cast, tree)
