"""Recurrent layers over whole sequences: LSTM and GRU, with PyTorch's equations.

The contribution of the inputs to all steps is one matrix product; the `lax.scan` over
time computes only the product with the state. The state is always float32, as sums over
many steps require. `segments` mark padding and packed documents.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class Recurrent(nn.Module):
  """The base class of `Lstm` and `Gru`.

  Attributes:
    width: width of the state and of the outputs.
    dropout: rate of dropout, in training, of the input's features.
    recurrent_dropout: rate of dropout, in training, of the state that is passed to the
      next step. Both masks are variational: sampled once for a sequence, and the same
      at each step (Gal and Ghahramani, *A theoretically grounded application of dropout
      in recurrent neural networks*, 2016).
    reverse: whether to read from the last step to the first; outputs are at the steps
      of their inputs.
    unroll: steps per iteration of the loop. On a CPU, more than one is slower, and
      takes longer to compile.
  """

  width: int
  dropout: float = 0.0
  recurrent_dropout: float = 0.0
  reverse: bool = False
  unroll: int = 1

  def __post_init__(self):
    for name in ('dropout', 'recurrent_dropout'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'{name}: must be >= 0 and < 1, got {getattr(self, name)}')
    for name in ('width', 'unroll'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}: must be >= 1, got {getattr(self, name)}')
    super().__post_init__()

  def _run(self, cell: Callable, initial: Any, input_kernel: jax.Array,
           input_bias: jax.Array, recurrent_kernel: jax.Array,
           recurrent_bias: jax.Array | None, x: jax.Array,
           segments: jax.Array | None, train: bool) -> tuple[jax.Array, Any]:
    """Scans a cell over time; see `Lstm.__call__`.

    Args:
      cell: (product of the inputs, product of h, state) -> state; h is its first leaf.
      initial: state before the first step.
      input_kernel: `[features, gates * width]`.
      input_bias: `[gates * width]`.
      recurrent_kernel: `[width, gates * width]`.
      recurrent_bias: `[gates * width]`, added to the product of h; None for none.
      x: `[batch, length, features]`.
      segments: int `[batch, length]` or None.
      train: whether to apply dropout.

    Returns:
      Outputs `[batch, length, width]`, and the last state.
    """
    batch, length, features = x.shape
    if segments is not None and segments.shape != (batch, length):
      raise ValueError(f'segments: must be [batch, length], {(batch, length)}, got '
                       f'{segments.shape}')
    one_mask = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)
    flat = one_mask(x).reshape(batch * length, features)
    given = (flat @ input_kernel + input_bias).reshape(batch, length, -1)
    kept = nn.Dropout(self.recurrent_dropout, deterministic=not train)(
      jnp.ones((batch, self.width), given.dtype))

    def step(kernel, fixed, state, at):
      kept, bias = fixed
      given, real, first, gradient = at
      if first is not None:
        state = jax.tree.map(lambda s: jnp.where(first[:, None], 0, s), state)
      h = jax.tree.leaves(state)[0].astype(given.dtype) * kept
      recurrent = _product(h, kernel, gradient)
      if bias is not None:
        recurrent += bias
      new = cell(given, recurrent, state)
      out = jax.tree.leaves(new)[0].astype(x.dtype)
      if real is not None:
        new = jax.tree.map(lambda n, s: jnp.where(real[:, None], n, s), new, state)
        out = jnp.where(real[:, None], out, 0)
      return new, (out, h)

    real = first = None
    if segments is not None:
      real, first = segments != 0, _begins(segments, self.reverse)
    by_time = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (given, real, first))
    scan = partial(lax.scan, reverse=self.reverse, unroll=self.unroll)
    state, outputs = _scan_product(step, scan, recurrent_kernel, (
      (kept, recurrent_bias), initial, by_time))
    return jnp.swapaxes(outputs, 0, 1), state


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scan_product(step: Callable, scan: Callable, kernel: jax.Array, loop: Any
                  ) -> tuple[Any, jax.Array]:
  """A scan over time, of which each step multiplies by the same kernel.

  The kernel's gradient is one product of all steps. JAX's own adds up a small product
  in each step of the backward scan, and on several devices a sum over them.

  Args:
    step: (kernel, fixed, state, (*by_time, gradient)) -> state, (output, h). The
      product is `_product(h, kernel, gradient)`.
    scan: `lax.scan` with its options.
    kernel: `[width, gates * width]`.
    loop: `fixed`, the initial state, and `by_time`, arrays `[length, batch, ...]`, the
      first of which has the shape of the products.

  Returns:
    The last state, and the outputs `[length, batch, width]`.
  """
  return _scanned(step, scan, kernel, loop, None)[0]


def _scanned(step, scan, kernel, loop, gradient):
  fixed, initial, by_time = loop
  state, (outputs, h) = scan(
    partial(step, kernel, fixed), initial, (*by_time, gradient))
  return (state, outputs), h


def _scan_forward(step, scan, kernel, loop):
  results, pull, h = jax.vjp(partial(_scanned, step, scan, kernel), loop,
                             jnp.zeros_like(loop[2][0]), has_aux=True)
  return results, (pull, h)


def _scan_backward(step, scan, saved, gradients):
  del step, scan
  pull, h = saved
  loop, products = pull(gradients)
  return jnp.einsum('lbw,lbg->wg', h, products), loop


_scan_product.defvjp(_scan_forward, _scan_backward)


@jax.custom_vjp
def _product(h: jax.Array, kernel: jax.Array, gradient: jax.Array | None) -> jax.Array:
  """`h @ kernel`, whose own gradient becomes that of the argument `gradient`."""
  del gradient
  return h @ kernel


_product.defvjp(
  lambda h, kernel, gradient: (h @ kernel, kernel),
  lambda kernel, product: (product @ kernel.T, jnp.zeros_like(kernel), product))


class Lstm(Recurrent):
  """Long short-term memory.

  Hochreiter and Schmidhuber, *Long short-term memory*, 1997; with the forget gate of
  Gers et al., *Learning to forget*, 2000. Gates are in PyTorch's order, i f g o; `bias`
  is the sum of PyTorch's two. The forget gate's bias begins at 1 (Jozefowicz et al.,
  *An empirical exploration of recurrent network architectures*, 2015). Attributes: see
  `Recurrent`.
  """

  @nn.compact
  def __call__(self, x: jax.Array, *, segments: jax.Array | None = None,
               state: tuple[jax.Array, jax.Array] | None = None,
               train: bool) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Reads sequences.

    Args:
      x: `[batch, length, features]`.
      segments: int `[batch, length]`; 0 is padding, which does not change the state and
        gives zeros. A new document begins where the number differs from that of the
        last step read; the state is reset to zero there.
      state: state before the first step, (h, c), both `[batch, width]`; None for zeros.
      train: whether to apply dropout.

    Returns:
      Outputs `[batch, length, width]` in the type of x, and the state after the last
      step read.

    Raises:
      ValueError: for shapes that do not fit.
    """
    kernels = _kernels(self, x, 4)
    bias = self.param('bias', _forget_nothing, (4 * self.width,))

    def cell(given, recurrent, state):
      i, f, g, o = jnp.split((given + recurrent).astype(state[1].dtype), 4, -1)
      c = nn.sigmoid(f) * state[1] + nn.sigmoid(i) * nn.tanh(g)
      return nn.sigmoid(o) * nn.tanh(c), c

    initial = tuple(_initial(self, x, s) for s in state or (None, None))
    return self._run(cell, initial, kernels[0], bias, kernels[1], None, x, segments,
                     train)


class Gru(Recurrent):
  """Gated recurrent units, with the reset gate after the product, as in PyTorch.

  Cho et al., *Learning phrase representations using RNN encoder-decoder*, 2014. Gates
  are in PyTorch's order, r z n, with `n = tanh(W x + b + r * (U h + d))`, where b is
  `input_bias` and d `recurrent_bias`. Attributes: see `Recurrent`.
  """

  @nn.compact
  def __call__(self, x: jax.Array, *, segments: jax.Array | None = None,
               state: jax.Array | None = None,
               train: bool) -> tuple[jax.Array, jax.Array]:
    """Reads sequences, as `Lstm.__call__`.

    Args:
      x: `[batch, length, features]`.
      segments: int `[batch, length]`; see `Lstm.__call__`.
      state: state before the first step, h, `[batch, width]`; None for zeros.
      train: whether to apply dropout.

    Returns:
      Outputs `[batch, length, width]` in the type of x, and the state after the last
      step read.

    Raises:
      ValueError: for shapes that do not fit.
    """
    kernels = _kernels(self, x, 3)
    zeros = nn.initializers.zeros
    input_bias = self.param('input_bias', zeros, (3 * self.width,))
    recurrent_bias = self.param('recurrent_bias', zeros, (3 * self.width,))

    def cell(given, recurrent, h):
      r, z, n = jnp.split(given.astype(h.dtype), 3, -1)
      r_, z_, n_ = jnp.split(recurrent.astype(h.dtype), 3, -1)
      z = nn.sigmoid(z + z_)
      return (1 - z) * nn.tanh(n + nn.sigmoid(r + r_) * n_) + z * h

    return self._run(cell, _initial(self, x, state), kernels[0], input_bias, kernels[1],
                     recurrent_bias, x, segments, train)


def _kernels(layer, x, gates):
  if x.ndim != 3:
    raise ValueError(f'{type(layer).__name__} needs [batch, length, features], got '
                     f'{x.shape}')
  width = layer.width

  def orthogonal(key, shape, dtype=jnp.float32):
    one = nn.initializers.orthogonal()
    square = jax.vmap(lambda key: one(key, (width, width), dtype))
    return jnp.concatenate(square(jax.random.split(key, gates)), axis=1)

  return (layer.param('input_kernel', nn.initializers.lecun_normal(),
                      (x.shape[2], gates * width)),
          layer.param('recurrent_kernel', orthogonal, (width, gates * width)))


def _forget_nothing(key, shape, dtype=jnp.float32):
  del key
  return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(1)


def _initial(layer, x, state):
  shape, dtype = (len(x), layer.width), jnp.promote_types(x.dtype, jnp.float32)
  if state is None:
    return jnp.zeros(shape, dtype)
  if state.shape != shape:
    raise ValueError(f'state: must be [batch, width], {shape}, got {state.shape}')
  return state.astype(dtype)


def _begins(segments, reverse):
  """Where a document other than the first begins, in the order of reading."""
  if reverse:
    return jnp.flip(_begins(jnp.flip(segments, 1), False), 1)
  real = segments != 0
  latest = lax.cummax(jnp.where(real, jnp.arange(segments.shape[1]), -1), axis=1)
  before = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
  other = jnp.take_along_axis(segments, jnp.maximum(before, 0), 1) != segments
  return real & (before >= 0) & other
