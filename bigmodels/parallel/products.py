"""Matrix products of float32 whose operands are rounded to bfloat16.

Matrix units, such as AMX in CPUs, multiply bfloat16 several times faster than float32,
and add in float32. Elementwise arithmetic gains nothing: a CPU emulates bfloat16. So
only the operands of products are rounded, and everything else remains float32.

JAX's own precision marks these products: those traced inside `core.rounding.marked()`,
and all their derivatives, to which JAX passes the precision on. A product with a
precision of its own, such as 'highest', is not rounded. Nor is a convolution, unless it
is written as products: `layers.cpu.convolution_by_products`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from bigmodels.core.rounding import MARK


def rounded(function: Callable, *, native: bool, in_order: bool) -> Callable:
  """A function that rounds the operands of its marked products.

  Args:
    function: positional arrays -> arrays. Derivatives are to be taken inside of it: of
      the result, each would round operands that are rounded already.
    native: whether to multiply in bfloat16; else the rounded operands are multiplied in
      float32, which gives the same products, at the speed of float32.
    in_order: whether to store the operands of native products in row-major order, as
      the matrix units of a CPU need. In a backward pass one of two is not.
  """
  product = _in_float32 if not native else _in_order if in_order else _native

  @functools.wraps(function)
  def call(*args):
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    traced = _Rounding(product).of(traced)
    results = core.jaxpr_as_fun(traced)(*jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), results)

  return call


class _Rounding:
  """Replaces marked products in a jaxpr and in those that it calls."""

  def __init__(self, product: Callable):
    """product: (left, right, dimension_numbers) -> product, all of float32."""
    self._product = product
    # A jaxpr that is called twice is replaced once. The values keep their keys alive.
    self._found: dict[int, tuple[Any, Any]] = {}

  def of(self, value: Any) -> Any:
    """A jaxpr, or a parameter of an equation that may contain some."""
    if type(value) in (tuple, list):
      return type(value)(map(self.of, value))
    if not isinstance(value, (core.ClosedJaxpr, core.Jaxpr)):
      return value
    if id(value) not in self._found:
      inner = getattr(value, 'jaxpr', value)
      equations = [self._equation(eqn) for eqn in inner.eqns]
      if all(new is old for new, old in zip(equations, inner.eqns, strict=True)):
        new = value
      else:
        new = inner.replace(eqns=equations)
        new = value.replace(jaxpr=new) if isinstance(value, core.ClosedJaxpr) else new
      self._found[id(value)] = value, new
    return self._found[id(value)][1]

  def _equation(self, eqn: core.JaxprEqn) -> core.JaxprEqn:
    if eqn.primitive.name == 'dot_general':
      operands = [v.aval for v in eqn.invars]
      if eqn.params['precision'] != MARK or any(
          each.dtype != jnp.float32 for each in operands):
        return eqn
      def product(left, right):
        return self._product(left, right, eqn.params['dimension_numbers'])

      # The equation of a call, with the operands and the result of this one.
      call, = jax.make_jaxpr(jax.jit(product))(*operands).eqns
      return eqn.replace(primitive=call.primitive, params=call.params)
    params = {name: self.of(value) for name, value in eqn.params.items()}
    same = all(params[name] is value for name, value in eqn.params.items())
    return eqn if same else eqn.replace(params=params)


def _in_float32(left: jax.Array, right: jax.Array, numbers) -> jax.Array:
  """`lax.dot_general` of rounded operands in float32."""
  bits = jnp.finfo(jnp.bfloat16)
  left, right = (lax.reduce_precision(x, bits.nexp, bits.nmant) for x in (left, right))
  return lax.dot_general(left, right, numbers, precision='highest')


def _native(left: jax.Array, right: jax.Array, numbers) -> jax.Array:
  """`lax.dot_general` of bfloat16 operands, added in float32."""
  left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
  return lax.dot_general(left, right, numbers, preferred_element_type=jnp.float32)


def _in_order(left: jax.Array, right: jax.Array, numbers) -> jax.Array:
  """`_native` of operands that are stored as `[batch, m, k]` and `[batch, k, n]`."""
  left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
  (left_sum, right_sum), (left_batch, right_batch) = numbers
  left_free, right_free = (
    tuple(axis for axis in range(x.ndim) if axis not in (*summed, *batch))
    for x, summed, batch in ((left, left_sum, left_batch),
                             (right, right_sum, right_batch)))
  shape = (*(left.shape[axis] for axis in (*left_batch, *left_free)),
           *(right.shape[axis] for axis in right_free))
  # Behind barriers, XLA cannot fold a transposition into the product, which would undo
  # the order, and fails on some of these products of bfloat16.
  left, right = lax.optimization_barrier((
    _matrices(left, left_batch, left_free, left_sum),
    _matrices(right, right_batch, right_sum, right_free)))
  batch = tuple(range(left.ndim - 2))
  product = lax.dot_general(
    left, right, (((left.ndim - 1,), (right.ndim - 2,)), (batch, batch)),
    preferred_element_type=jnp.float32)
  return lax.optimization_barrier(product).reshape(shape)


def _matrices(x, batch, rows, columns) -> jax.Array:
  """`[rows, columns]` or `[batch, rows, columns]`, with the axes of each merged."""
  size, *sizes = (math.prod(x.shape[axis] for axis in axes) for axes in (
    batch, rows, columns))
  size = (size,) * bool(batch)
  if max(rows, default=-1) > max(columns, default=-1):  # the last axis is of the rows
    x = x.transpose(*batch, *columns, *rows)
    return _transposed(x.reshape(*size, *sizes[::-1]))
  return x.transpose(*batch, *rows, *columns).reshape(*size, *sizes)


def _transposed(x: jax.Array) -> jax.Array:
  """`[..., r, c]` -> `[..., c, r]`, moved in memory.

  XLA makes a plain transposition a layout of the operand. It does not do so with one
  of groups of rows or columns.
  """
  *batch, r, c = x.shape
  axes = range(len(batch))
  for group in (16, 8, 4, 2):
    if r % group == 0 and r > group:
      x = x.reshape(*batch, r // group, group, c)
      return x.transpose(*axes, -1, -3, -2).reshape(*batch, c, r)
    if c % group == 0 and c > group:
      x = x.reshape(*batch, r, c // group, group)
      return x.transpose(*axes, -2, -1, -3).reshape(*batch, c, r)
  return x.swapaxes(-1, -2)
