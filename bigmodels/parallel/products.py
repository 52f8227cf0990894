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
      the matrix units of a CPU need. In a backward pass one of two is not. Products
      that take less time than this are not rounded, native or not.
  """
  product = _in_float32 if not native else _in_order if in_order else _native
  least = _LEAST_USES if in_order else 0

  @functools.wraps(function)
  def call(*args):
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    traced = _Rounding(product, least).of(traced)
    results = core.jaxpr_as_fun(traced)(*jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), results)

  return call


class _Rounding:
  """Replaces marked products in a jaxpr and in those that it calls."""

  def __init__(self, product: Callable, least: float):
    """Prepares the replacement.

    Args:
      product: (left, right, dimension_numbers) -> product, all of float32.
      least: uses of a number, as by `_uses`, from which on products are replaced.
    """
    self._product, self._least = product, least
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
          each.dtype != jnp.float32 for each in operands) or _uses(
            *operands, eqn.params['dimension_numbers']) < self._least:
        return eqn
      def product(left, right):
        return self._product(left, right, eqn.params['dimension_numbers'])

      # The equation of a call, with the operands and the result of this one.
      call, = jax.make_jaxpr(jax.jit(product))(*operands).eqns
      return eqn.replace(primitive=call.primitive, params=call.params)
    params = {name: self.of(value) for name, value in eqn.params.items()}
    same = all(params[name] is value for name, value in eqn.params.items())
    return eqn if same else eqn.replace(params=params)


# Uses from which on rounding, storing and multiplying takes less time than the product
# in float32, on a CPU with AMX. A kernel has them from batches of 24 to 100 rows on.
_LEAST_USES = 24
_TRANSPOSED = 3  # the time of rounding a number and moving it, relative to rounding


def _uses(left: Any, right: Any, numbers) -> float:
  """How often a product uses a number; those that are transposed count three times."""
  if _swaps(left, right, numbers):
    left, right, numbers = right, left, _swapped(numbers)
  (left_sum, right_sum), (left_batch, right_batch) = numbers
  rows, columns = _free(left, left_sum, left_batch), _free(
    right, right_sum, right_batch)
  costs = left.size * (_TRANSPOSED if _moves(rows, left_sum) else 1) + right.size * (
    _TRANSPOSED if _moves(right_sum, columns) else 1)
  return left.size * math.prod(right.shape[axis] for axis in columns) / max(1, costs)


def _swaps(left: Any, right: Any, numbers) -> bool:
  """Whether the transpose of a product, right times left, takes less time.

  In the gradient of a kernel either operand may be the one that is moved in memory. JAX
  also transposes that product, which cancels out if it was swapped.
  """
  (left_sum, right_sum), (left_batch, right_batch) = numbers
  rows, columns = _free(left, left_sum, left_batch), _free(
    right, right_sum, right_batch)
  product = math.prod(left.shape[axis] for axis in (*left_batch, *rows)) * math.prod(
    right.shape[axis] for axis in columns)
  return (_moves(rows, left_sum) and not _moves(right_sum, columns)
          and right.size < left.size + product)


def _swapped(numbers):
  """The dimension numbers of right times left."""
  return tuple((right, left) for left, right in numbers)


def _free(x: Any, summed, batch) -> tuple[int, ...]:
  """The axes of an operand that remain in the product."""
  return tuple(axis for axis in range(x.ndim) if axis not in (*summed, *batch))


def _moves(rows, columns) -> bool:
  """Whether the last axis of an array is of the rows of its matrices."""
  return max(rows, default=-1) > max(columns, default=-1)


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
  swaps = _swaps(left, right, numbers)
  if swaps:
    left, right, numbers = right, left, _swapped(numbers)
  left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
  (left_sum, right_sum), (left_batch, right_batch) = numbers
  left_free, right_free = _free(left, left_sum, left_batch), _free(
    right, right_sum, right_batch)
  shape = (*(left.shape[axis] for axis in (*left_batch, *left_free)),
           *(right.shape[axis] for axis in right_free))
  # Behind barriers, XLA cannot fold a transposition into the product, which would undo
  # the order, and fails on some of these products of bfloat16.
  left, right = lax.optimization_barrier((
    _matrices(left, left_batch, left_free, left_sum),
    _matrices(right, right_batch, right_sum, right_free)))
  batch = tuple(range(left.ndim - 2))
  product = lax.optimization_barrier(lax.dot_general(
    left, right, (((left.ndim - 1,), (right.ndim - 2,)), (batch, batch)),
    preferred_element_type=jnp.float32)).reshape(shape)
  if not swaps:
    return product
  axes = range(product.ndim)
  first, last = len(left_batch), len(left_batch) + len(left_free)
  return product.transpose(*axes[:first], *axes[last:], *axes[first:last])


def _matrices(x, batch, rows, columns) -> jax.Array:
  """`[rows, columns]` or `[batch, rows, columns]`, with the axes of each merged."""
  size, *sizes = (math.prod(x.shape[axis] for axis in axes) for axes in (
    batch, rows, columns))
  size = (size,) * bool(batch)
  if _moves(rows, columns):
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
