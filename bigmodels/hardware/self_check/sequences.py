"""Our layers of sequences and vectors, and their gradients."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.hardware.self_check.program import (
  Program,
  cotangent,
  integers,
  normal,
  positive,
  with_differences,
  with_gradients,
)
from bigmodels.layers import activations, attention, dense, positions, recurrent, stack

_erf = np.vectorize(math.erf)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _softmax(x):
  weights = np.exp(x - x.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True)


def _normal_cdf(x):
  return 0.5 * (1 + _erf(x / 2**0.5))


_POINTS = (cotangent(4099), normal(4099) * 3)  # a cotangent and where


def _activation(name, function, reference, slope) -> Program:
  return Program(f'{name}, with gradients', with_gradients(function),
                 lambda c, x: (reference(x), c * slope(x)), _POINTS, terms=4)


_ACTIVATIONS = (
  _activation('gelu', activations.gelu, lambda x: x * _normal_cdf(x),
              lambda x: _normal_cdf(x) + x * np.exp(-x * x / 2) / math.tau**0.5),
  _activation('relu', nn.relu, lambda x: np.maximum(x, 0), lambda x: x > 0),
  _activation('silu', nn.silu, lambda x: x * _sigmoid(x),
              lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
  _activation('tanh', jnp.tanh, np.tanh, lambda x: 1 / np.cosh(x) ** 2),
  _activation('sigmoid', nn.sigmoid, _sigmoid,
              lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
  _activation('softplus', nn.softplus, lambda x: np.logaddexp(x, 0), _sigmoid),
  Program('exp, log, sqrt, rsqrt, powers',
          lambda x: (jnp.exp(x), jnp.log(x), jnp.sqrt(x), jax.lax.rsqrt(x), x**3,
                     x**1.7),
          lambda x: (np.exp(x), np.log(x), np.sqrt(x), x**-0.5, x**3, x**1.7),
          (positive(4099),)),
  Program('sine and cosine', lambda x: (jnp.sin(x), jnp.cos(x)),
          lambda x: (np.sin(x), np.cos(x)), (normal(4099) * 50,)),
)


def _dense(x, kernel, bias):
  return dense.Dense(kernel.shape[1]).apply(
    {'params': {'kernel': kernel, 'bias': bias}}, x)


def _dense_gradients(c, x, kernel, bias):
  return (x @ kernel + bias, c @ kernel.T, np.einsum('bli,blo->io', x, c),
          c.sum((0, 1)))


def _embed(table, indices):
  return dense.Embedding(*table.shape).apply({'params': {'embedding': table}}, indices)


def _embed_gradient(c, table, indices):
  by_table = np.zeros(table.shape)
  np.add.at(by_table, indices, c)
  return table[indices], by_table


def _layer_norm(x, scale, bias):
  return nn.LayerNorm(epsilon=1e-6).apply(
    {'params': {'scale': scale, 'bias': bias}}, x)


def _rms_norm(x, scale):
  return nn.RMSNorm(epsilon=1e-6).apply({'params': {'scale': scale}}, x)


_DENSE = (
  Program('Dense of 5 x 13 x 17 to 11, with gradients', with_gradients(_dense),
          _dense_gradients,
          (cotangent(5, 13, 11), normal(5, 13, 17), normal(17, 11), normal(11)),
          terms=65),
  Program('Dense of 257 x 33 x 64 to 96, with gradients', with_gradients(_dense),
          _dense_gradients,
          (cotangent(257, 33, 96), normal(257, 33, 64), normal(64, 96), normal(96)),
          terms=257 * 33),
  Program('Embedding, with gradients',
          lambda c, table, indices: (
            _embed(table, indices),
            jax.grad(lambda t: jnp.sum(c * _embed(t, indices)))(table)),
          _embed_gradient,
          (positive(31, 65, 7), normal(37, 7), integers(31, 65, below=37)), terms=55),
  Program('logits of an Embedding',
          lambda table, x: dense.Embedding(*table.shape).apply(
            {'params': {'embedding': table}}, x, method='logits'),
          lambda table, x: x @ table.T, (normal(37, 7), normal(5, 13, 7)), terms=7),
  Program('LayerNorm, with gradients', with_gradients(_layer_norm),
          with_differences(lambda x, scale, bias: (
            x - x.mean(-1, keepdims=True)) / np.sqrt(
              x.var(-1, keepdims=True) + 1e-6) * scale + bias),
          (cotangent(3, 5, 9), normal(3, 5, 9) * 2, positive(9), normal(9)), terms=45),
  Program('RMSNorm, with gradients', with_gradients(_rms_norm),
          with_differences(lambda x, scale: x / np.sqrt(
            np.mean(x * x, -1, keepdims=True) + 1e-6) * scale),
          (cotangent(3, 5, 9), normal(3, 5, 9) * 2, positive(9)), terms=45),
)


def _attend(query, key, value, causal, mask=None):
  heads = query.shape[2] // key.shape[2]
  key, value = (np.repeat(x, heads, 2) for x in (key, value))
  scores = np.einsum('bqhd,bkhd->bhqk', query, key) / query.shape[-1] ** 0.5
  if causal:
    scores = np.where(np.tri(*scores.shape[2:], dtype=bool), scores, -np.inf)
  if mask is not None:
    scores = np.where(mask, scores, -np.inf)
  return np.einsum('bhqk,bkhd->bqhd', _softmax(scores), value)


def _attention(name, batch, queries, keys, heads, kv_heads, width, *, causal=False,
               gradients=True) -> Program:
  def function(query, key, value):
    return attention.attend(query, key, value, causal=causal)

  def reference(query, key, value):
    return _attend(query, key, value, causal)

  arrays = (normal(batch, queries, heads, width),
            normal(batch, keys, kv_heads, width, seed=2),
            normal(batch, keys, kv_heads, width, seed=3))
  if not gradients:
    return Program(name, function, reference, arrays, terms=keys * width)
  return Program(f'{name}, with gradients', with_gradients(function),
                 with_differences(reference), (cotangent(*arrays[0].shape), *arrays),
                 terms=queries * keys * width)


_SEGMENTS = np.array([[1, 1, 1, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1, 1]], 'int32')
# A query of padding gets the mean of all values, which the comparison leaves out.
_SEEN = (_SEGMENTS > 0)[:, :, None, None]


def _in_segments(query, key, value):
  mask = attention.same_segment(jnp.array(_SEGMENTS), jnp.array(_SEGMENTS))
  return attention.attend(query, key, value, mask=mask, causal=True) * _SEEN


def _in_segments_exactly(query, key, value):
  mask = (_SEGMENTS[:, :, None] == _SEGMENTS[:, None]) & (_SEGMENTS > 0)[:, None]
  mask = mask | (_SEGMENTS == 0)[:, :, None]
  return _attend(query, key, value, True, mask[:, None]) * _SEEN


def _rotary(x, at):
  frequencies = 10_000.0 ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
  turns = np.exp(1j * at[:, :, None, None] * frequencies)
  one, two = np.split(x, 2, -1)
  turned = (one + 1j * two) * turns
  return np.concatenate([turned.real, turned.imag], -1)


def _sinusoidal(at, width):
  angles = at[..., None] / 10_000 ** (np.arange(0, width, 2) / width)
  return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(*at.shape, width)


_ATTENTION = (
  _attention('attention of 5 to 7', 2, 5, 7, 2, 2, 3),
  _attention('causal attention', 2, 7, 7, 2, 2, 4, causal=True),
  _attention('attention of 4 heads to 2', 2, 5, 6, 4, 2, 3),
  _attention('attention of 65 to 129', 3, 65, 129, 4, 4, 16, gradients=False),
  Program('attention within segments', _in_segments, _in_segments_exactly,
          tuple(normal(2, 7, 3, 4, seed=seed) for seed in range(3)),
          terms=28),
  # The angle is a product in float32: its rounding grows with the position.
  Program('rotary positions', positions.rotary, _rotary,
          (normal(2, 33, 3, 8), np.arange(33, dtype='int32')[None]), terms=33),
  Program('sinusoidal positions', lambda at: positions.sinusoidal(at, 16),
          lambda at: _sinusoidal(at, 16),
          (np.arange(129, dtype='int32'),), terms=129),
)


def _lstm(x, kernel, recurrent_kernel, bias):
  width = recurrent_kernel.shape[0]
  return recurrent.Lstm(width).apply({'params': {
    'input_kernel': kernel, 'recurrent_kernel': recurrent_kernel, 'bias': bias}}, x,
    train=False)[0]


def _lstm_loop(x, kernel, recurrent_kernel, bias):
  h = c = np.zeros((len(x), recurrent_kernel.shape[0]))
  outputs = []
  for step in x.swapaxes(0, 1):
    i, f, g, o = np.split(step @ kernel + h @ recurrent_kernel + bias, 4, -1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    h = _sigmoid(o) * np.tanh(c)
    outputs.append(h)
  return np.stack(outputs, 1)


def _gru(x, kernel, recurrent_kernel, input_bias, recurrent_bias):
  width = recurrent_kernel.shape[0]
  return recurrent.Gru(width, reverse=True).apply({'params': {
    'input_kernel': kernel, 'recurrent_kernel': recurrent_kernel,
    'input_bias': input_bias, 'recurrent_bias': recurrent_bias}}, x, train=False)[0]


def _gru_loop(x, kernel, recurrent_kernel, input_bias, recurrent_bias):
  h, outputs = np.zeros((len(x), recurrent_kernel.shape[0])), []
  for step in x.swapaxes(0, 1)[::-1]:
    r, z, n = np.split(step @ kernel + input_bias, 3, -1)
    r_, z_, n_ = np.split(h @ recurrent_kernel + recurrent_bias, 3, -1)
    z = _sigmoid(z + z_)
    h = (1 - z) * np.tanh(n + _sigmoid(r + r_) * n_) + z * h
    outputs.append(h)
  return np.stack(outputs[::-1], 1)


class _Block(nn.Module):
  """The block of the stack."""

  @nn.compact
  def __call__(self, x, *, train):
    del train
    return x + jnp.tanh(dense.Dense(x.shape[-1], use_bias=False, name='dense')(x))


def _stack(x, kernels):
  return stack.Stack(_Block, len(kernels), remat='full').apply(
    {'params': {'block': {'dense': {'kernel': kernels}}}}, x, train=False)


def _stack_loop(x, kernels):
  for kernel in kernels:
    x = x + np.tanh(x @ kernel)
  return x


_DEEP = (
  Program('Lstm, with gradients', with_gradients(_lstm), with_differences(_lstm_loop),
          (cotangent(3, 7, 4), normal(3, 7, 5), normal(5, 16), normal(4, 16),
           normal(16)), terms=21 * 20),
  Program('Gru from the end, with gradients', with_gradients(_gru),
          with_differences(_gru_loop),
          (cotangent(3, 7, 4), normal(3, 7, 5), normal(5, 12), normal(4, 12),
           normal(12), normal(12, seed=2)), terms=21 * 20),
  Program('Stack of 5 blocks recomputed, with gradients', with_gradients(_stack),
          with_differences(_stack_loop),
          (cotangent(3, 7), normal(3, 7), normal(5, 7, 7) / 3), terms=105),
)

PROGRAMS = (*_ACTIVATIONS, *_DENSE, *_ATTENTION, *_DEEP)
