"""Mixed precision for any Linen module, which needs no code of its own for it.

Micikevicius et al., *Mixed precision training*, 2018: parameters, optimizer and losses
stay in float32; the model computes in bfloat16, whose range needs no loss scaling.
Linen's normalizations compute their statistics in float32 for any input. Gradients are
float32, and summed in it over microbatches and under pmap; over the devices of a jit
the compiler sums them in bfloat16, the type of the products they come from.

With 'bfloat16_products', for CPUs with matrix units, the model computes in float32 as
well, and only the operands of its matrix products are rounded; see `products`.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from bigmodels.core import rounding

Precision = Literal['float32', 'bfloat16', 'bfloat16_products']


def default(platform: str) -> Precision:
  """The precision of a platform, 'cpu', 'gpu' or 'tpu', unless another one is set.

  A CPU emulates elementwise arithmetic in bfloat16, which is slow.
  """
  return 'float32' if platform == 'cpu' else 'bfloat16'


def in_precision(model: Any, precision: Precision) -> Any:
  """A module that computes in a precision, with float32 inputs and outputs.

  Args:
    model: a Linen module, or anything with its `init` and `apply`.
    precision: its arithmetic. For 'bfloat16_products' the products are marked; what is
      compiled is to be a function `products.rounded`, otherwise they are of float32.

  Returns:
    For 'float32' the model itself; else an object with its `init` and `apply`.
  """
  if precision == 'float32':
    return model
  return _InBfloat16(model) if precision == 'bfloat16' else _WithMarkedProducts(model)


class _WithMarkedProducts(NamedTuple):
  """A model in float32 with marked products, with `init` and `apply` of a module."""

  model: Any

  def init(self, *args, **kwargs):
    return self.model.init(*args, **kwargs)

  def apply(self, *args, **kwargs):
    with rounding.marked():
      return self.model.apply(*args, **kwargs)


class _InBfloat16(NamedTuple):
  """A model computed in bfloat16, with `init` and `apply` of a Linen module."""

  model: Any

  def init(self, *args, **kwargs):
    return self.model.init(*args, **kwargs)

  def apply(self, variables, *args, **kwargs):
    variables = {**variables, 'params': _cast(variables['params'], jnp.bfloat16)}
    outputs = self.model.apply(variables, *_cast(args, jnp.bfloat16), **kwargs)
    if not kwargs.get('mutable'):
      return _cast(outputs, jnp.float32)
    outputs, updated = outputs
    return _cast(outputs, jnp.float32), {
      name: _with_dtypes_of(variables.get(name), new) for name, new in updated.items()}


def _with_dtypes_of(old: Any, new: Any) -> Any:
  """An updated collection in the dtypes it had before, if it existed."""
  if jax.tree.structure(old) != jax.tree.structure(new):
    return new
  return jax.tree.map(lambda o, n: n.astype(o.dtype), old, new)


def _cast(tree: Any, dtype) -> Any:
  def cast(x):
    floating = hasattr(x, 'dtype') and jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(dtype) if floating else x

  return jax.tree.map(cast, tree)
