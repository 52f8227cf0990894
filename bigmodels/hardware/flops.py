"""The floating-point operations of a traced program, before XLA optimizes it."""

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.extend import core


def flops(jaxpr: core.ClosedJaxpr | core.Jaxpr, *, model: bool = False) -> float:
  """Counts the operations of the matrix products and convolutions of a program.

  A multiply-add counts as two; the devices are added up. In a convolution only elements
  of the input count, not padding or the zeros of a dilation (as in XLA), so that it and
  both of its gradients cost the same. A scan counts its length, `jax.checkpoint` its
  recomputation, a `while_loop` one iteration, a `cond` its most expensive branch, a
  Pallas kernel its grid. Element-wise operations count nothing.

  JAX's attention kernel for TPUs counts the blocks that it computes: it skips what a
  causal mask excludes, and its backward pass computes the scores twice. That of cuDNN
  for GPUs counts the pairs of tokens that the mask includes, and the scores once.

  Args:
    jaxpr: such as `jax.jit(step).trace(...).jaxpr`.
    model: whether these kernels count only what attention needs, as in model FLOPs
      utilization (Chowdhery et al., *PaLM*, 2022): of the pairs that they compute, two
      products forward and four backward.

  Returns:
    The number of operations.
  """
  return sum(_flops(eqn, model) for eqn in getattr(jaxpr, 'jaxpr', jaxpr).eqns)


def _flops(eqn, model: bool) -> float:
  name, params = eqn.primitive.name, eqn.params
  if name in ('dot_general', 'ragged_dot_general'):
    return _product_flops(eqn)
  if name == 'conv_general_dilated':
    return _convolution_flops(eqn)
  if kernel := re.match('dot_product_attention_(fwd|bwd)', name):
    return _cudnn_flops(eqn, 2 if kernel[1] == 'fwd' else 5 - model)
  if name == 'cond':
    return max(flops(branch, model=model) for branch in params['branches'])
  inner = sum(flops(jaxpr, model=model) for value in params.values()
              for jaxpr in _jaxprs(value))
  if not inner:
    return 0.0
  if name == 'scan':
    return inner * params['length']
  if name == 'shard_map':
    axes = params.get('manual_axes') or params['mesh'].axis_names
    return inner * math.prod(params['mesh'].shape[axis] for axis in axes)
  if name == 'xla_pmap':
    return inner * params['global_axis_size']
  if name == 'pallas_call':
    return inner * math.prod(params['grid_mapping'].grid) * _share(eqn, model)
  return inner


def _cudnn_flops(kernel, products: int) -> float:
  """Of the attention of cuDNN on `[batch, length, heads, width]`."""
  query, key = (v.aval.shape for v in kernel.invars[:2])
  pairs = query[1] * key[1]
  if 'CAUSAL' in kernel.params['mask_type'].name:
    pairs = sum(min(row + 1, key[1]) for row in range(query[1]))
  return 2.0 * products * pairs * query[0] * query[2] * query[3]


def _share(kernel, model: bool) -> float:
  """The share of a kernel's grid that counts."""
  name = kernel.params['name'] or ''
  found = re.match(r'splash_m[hq]a_(fwd|dq|dkv)(_segmented)?_', name)
  if not found:
    return 1.0
  phase, segmented = found.groups()
  if model and phase == 'dq':
    return 0.0  # of the seven products backward, 'dkv' has the four that are needed
  # A mask that is computed has an operand of its own, the positions of the queries,
  # after two of indices, three of arrays and, backward, three of gradients.
  masked = len(kernel.invars) > 5 + 2 * bool(segmented) + 3 * (phase != 'fwd')
  if not masked:
    return 1.0
  *_, rows, columns = kernel.params['grid_mapping'].grid
  if phase == 'dkv':
    *_, columns, _, rows = kernel.params['grid_mapping'].grid
  computed = sum(min(columns, math.ceil((row + 1) * columns / rows))
                 for row in range(rows))
  return computed / (rows * columns)


def equations(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Iterator[core.JaxprEqn]:
  """All equations of a program, including those of the jaxprs that they call."""
  for eqn in getattr(jaxpr, 'jaxpr', jaxpr).eqns:
    yield eqn
    for value in eqn.params.values():
      for inner in _jaxprs(value):
        yield from equations(inner)


def _jaxprs(value: Any) -> list:
  if isinstance(value, (core.ClosedJaxpr, core.Jaxpr)):
    return [value]
  if isinstance(value, (tuple, list)):
    return [jaxpr for item in value for jaxpr in _jaxprs(item)]
  return []


def _product_flops(eqn) -> float:
  left, right = (v.aval.shape for v in eqn.invars[:2])
  numbers, groups = eqn.params.get('dimension_numbers'), ()
  if numbers is None:  # a row of the left is multiplied with one group of the right
    ragged = eqn.params['ragged_dot_dimension_numbers']
    numbers, groups = ragged.dot_dimension_numbers, ragged.rhs_group_dimensions
  (_, contracted), (_, batch) = numbers
  free = set(range(len(right))) - {*contracted, *batch, *groups}
  return 2.0 * math.prod(left) * math.prod(right[d] for d in free)


def _convolution_flops(eqn) -> float:
  left, right = (v.aval.shape for v in eqn.invars)
  out, p = eqn.outvars[0].aval.shape, eqn.params
  lhs, rhs, result = p['dimension_numbers']
  pairs = math.prod(
    window_pairs(left[lhs[d + 2]], right[rhs[d + 2]], out[result[d + 2]],
                 stride=p['window_strides'][d], low=p['padding'][d][0],
                 input_dilation=p['lhs_dilation'][d],
                 window_dilation=p['rhs_dilation'][d])
    for d in range(len(left) - 2))
  return 2.0 * pairs * out[result[0]] * out[result[1]] * right[rhs[1]]


def window_pairs(inputs: int, taps: int, outputs: int, *, stride: int, low: int,
                 input_dilation: int, window_dilation: int) -> int:
  """Pairs of an output and an element of the input that a convolution multiplies.

  Args:
    inputs, taps, outputs: sizes along one dimension of the input, the window and the
      result.
    stride: of the window.
    low: padding before the input.
    input_dilation, window_dilation: of the input and of the window.
  """
  size = (inputs - 1) * input_dilation + 1
  at = (np.arange(outputs)[:, None] * stride - low
        + np.arange(taps) * window_dilation)
  return int(np.count_nonzero((at >= 0) & (at < size) & (at % input_dilation == 0)))
