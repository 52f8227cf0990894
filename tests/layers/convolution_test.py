"""Tests of bigmodels.layers.convolution against XLA's and Flax's convolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from bigmodels.layers import convolution
from bigmodels.layers.cpu.convolution import conv_by_lax
from tests.layers.convolutions import (
  TOLERANCE,
  assert_close,
  inputs,
  value_and_gradients,
)

KEY = jax.random.key(3)


@pytest.mark.parametrize('padding', [0, 1, 2])
@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_a_number_pads_every_side(monkeypatch, backend, padding):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x, kernel = inputs((8, 7))
  actual = convolution.conv(x, kernel, strides=(2, 2), padding=padding)
  expected = conv_by_lax(x, kernel, (2, 2), ((padding, padding),) * 2)
  assert_close([actual], [expected])
  same = convolution.conv(x, kernel, strides=(2, 2))
  assert same.shape != actual.shape or not np.allclose(same, actual, atol=0.1)


@pytest.mark.parametrize('groups, features', [(2, 4), (4, 4), (4, 8)])
def test_module_with_groups_equals_flax(groups, features):
  x = jax.random.normal(KEY, (2, 7, 6, 4))
  common = {'strides': (2, 2), 'padding': 1}
  actual, expected = (jax.jit(model.init_with_output)(KEY, x) for model in (
    convolution.Conv(features, (3, 3), groups=groups, **common),
    nn.Conv(features, (3, 3), feature_group_count=groups, **common)))
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  assert_close(jax.tree.leaves(actual), jax.tree.leaves(expected))


@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_module_equals_flax(use_bias, padding, dtype):
  x, _ = inputs()
  arguments = {
    'features': 5,
    'kernel_size': (3, 2),
    'strides': (2, 1),
    'padding': padding,
    'use_bias': use_bias,
    'bias_init': nn.initializers.normal(),
    'dtype': dtype,
  }
  ours, flaxs = convolution.Conv(**arguments), nn.Conv(**arguments)
  variables = ours.init(jax.random.key(3), x)
  expected = flaxs.init(jax.random.key(3), x)
  assert jax.tree.structure(variables) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, variables, expected)
  tolerance = TOLERANCE[dtype or 'float32']
  assert_close([ours.apply(variables, x)], [flaxs.apply(variables, x)], tolerance)


def test_default_module_equals_flax_default():
  x, _ = inputs()
  variables = convolution.Conv(4).init(jax.random.key(0), x)
  expected = nn.Conv(4, (3, 3)).init(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, variables, expected)


@pytest.mark.parametrize('stride, padding, groups, activation', [
  (1, 'symmetric', 1, nn.relu), (2, 'symmetric', 1, None), (2, 'SAME', 4, nn.relu6)])
def test_conv_norm_equals_flax(stride, padding, groups, activation):
  x = np.random.default_rng(0).normal(size=(2, 8, 7, 4)).astype(np.float32)
  model = convolution.ConvNorm(
    8, 3, stride, padding, groups, activation, momentum=0.8, epsilon=0.1)

  class Reference(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      pads = 1 if padding == 'symmetric' else 'SAME'
      x = nn.Conv(8, (3, 3), (stride, stride), pads, feature_group_count=groups,
                  use_bias=False, name='conv')(x)
      x = nn.BatchNorm(not train, momentum=0.8, epsilon=0.1, name='norm')(x)
      return x if activation is None else activation(x)

  variables = jax.jit(functools.partial(model.init, train=False))(KEY, x)
  for train in (False, True):
    actual, expected = (jax.jit(functools.partial(
      m.apply, train=train, mutable=['batch_stats']))(variables, x)
      for m in (model, Reference()))
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    assert_close(jax.tree.leaves(actual), jax.tree.leaves(expected))


def test_errors():
  x, kernel = inputs()
  for padding in ('CIRCULAR', -1, True):
    with pytest.raises(ValueError, match=f'padding must be .*, got {padding!r}'):
      convolution.conv(x, kernel, padding=padding)
  with pytest.raises(ValueError, match='expected'):
    convolution.conv(x[..., :2], kernel)
  with pytest.raises(ValueError, match=r'expected .* of 3 groups'):
    convolution.conv(x, kernel, groups=3)
  with pytest.raises(ValueError, match='a 3x3 window is larger than 1x6 images'):
    convolution.conv(x[:, :1], kernel, padding=0)


# --- the transpose --------------------------------------------------------------

TRANSPOSED = [  # images, window, strides, pixels left out
  ((4, 4), (4, 4), (2, 2), 1), ((7, 5), (3, 3), (1, 1), 1), ((3, 4), (3, 2), (2, 1), 0),
  ((3, 3), (5, 4), (3, 2), 2), ((4, 3), (2, 2), (3, 4), 0), ((1, 1), (4, 4), (1, 1), 0),
  ((1, 2), (4, 4), (2, 2), 1), ((6, 6), (3, 3), (1, 1), 3), ((5, 6), (1, 1), (2, 2), 0)]


def _transposed_inputs(size, window, dtype='float32'):
  rng = np.random.default_rng(1)
  return (jnp.asarray(rng.normal(size=(2, *size, 4)), dtype),
          jnp.asarray(rng.normal(size=(*window, 3, 4)), dtype))


def _ours(x, kernel, strides, padding):
  return convolution.conv_transpose(x, kernel, strides=strides, padding=padding)


def _transposed_by_lax(x, kernel, strides, padding):
  pads = [(k - 1 - padding,) * 2 for k in kernel.shape[:2]]
  return jax.lax.conv_transpose(x, kernel, strides, pads, transpose_kernel=True,
                                dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('size, window, strides, padding', TRANSPOSED)
def test_the_transpose_equals_lax(monkeypatch, backend, size, window, strides, padding):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)

  def ours(*arguments):  # a new one: JAX keeps the trace of one that it has seen
    return _ours(*arguments)

  actual, expected = (
    value_and_gradients(f, *_transposed_inputs(size, window), strides, padding)
    for f in (ours, _transposed_by_lax))
  assert actual[0].shape == (2, *((n - 1) * s + k - 2 * padding for n, s, k in zip(
    size, strides, window, strict=True)), 3)
  assert_close(actual, expected)


@pytest.mark.parametrize('size, window, strides, padding', TRANSPOSED[:4])
def test_the_transpose_is_that_of_the_linear_map(size, window, strides, padding):
  x, kernel = _transposed_inputs(size, window)

  @jax.jit
  def both(x, kernel):
    y = _ours(x, kernel, strides, padding)
    z = jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
    other = convolution.conv(z, kernel, strides=strides, padding=padding)
    return (y * z).sum(), (x * other).sum()

  np.testing.assert_allclose(*both(x, kernel), rtol=1e-4)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_the_transpose_keeps_other_dtypes(monkeypatch, backend, dtype):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)

  def ours(*arguments):
    return _ours(*arguments)

  x, kernel = _transposed_inputs((4, 4), (4, 4), dtype)
  actual = value_and_gradients(ours, x, kernel, (2, 2), 1)
  assert {a.dtype for a in actual} == {jnp.dtype(dtype)}
  expected = value_and_gradients(
    _transposed_by_lax, *(v.astype('float32') for v in (x, kernel)), (2, 2), 1)
  assert_close([a.astype('float32') for a in actual], expected, TOLERANCE[dtype])


@pytest.mark.parametrize('size, window, strides, padding', TRANSPOSED)
@pytest.mark.reference
def test_the_transpose_is_pytorchs(size, window, strides, padding):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  x, kernel = _transposed_inputs(size, window)
  weight = torch.tensor(np.asarray(kernel).transpose(3, 2, 0, 1).copy())
  expected = torch.nn.functional.conv_transpose2d(
    torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy()), weight, None, strides,
    padding).numpy().transpose(0, 2, 3, 1)
  found = jax.jit(lambda x, k: _ours(x, k, strides, padding))(x, kernel)
  assert_close([found], [jnp.asarray(expected)])


def test_the_transpose_is_derived_twice_and_mapped():
  x, kernel = _transposed_inputs((4, 3), (4, 4))
  xs, kernels = jnp.stack([x, -x]), jnp.stack([kernel, 2 * kernel])

  def twice(function):
    once = jax.grad(lambda x, k: jnp.sin(function(x, k, (2, 2), 1)).sum(), (0, 1))
    return jax.grad(lambda *a: sum((g**2).sum() for g in once(*a)), (0, 1))

  actual, expected = (jax.jit(jax.vmap(twice(f)))(xs, kernels)
                      for f in (_ours, _transposed_by_lax))
  assert_close(actual, expected, 1e-4)


@pytest.mark.parametrize('use_bias', [True, False])
def test_the_module_of_the_transpose_equals_flax(use_bias):
  x = jax.random.normal(KEY, (2, 4, 3, 5))
  ours = convolution.ConvTranspose(3, use_bias=use_bias)
  # Flax pads what is enlarged: 2 of each side of a window of 4 leaves 1 pixel out.
  flaxs = nn.ConvTranspose(3, (4, 4), (2, 2), ((2, 2), (2, 2)), transpose_kernel=True,
                           use_bias=use_bias)
  variables = jax.jit(ours.init)(KEY, x)
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
    jnp.shape, jax.eval_shape(flaxs.init, KEY, x))
  if use_bias:
    variables['params']['bias'] += jnp.arange(3.0)
  actual, expected = (jax.jit(m.apply)(variables, x) for m in (ours, flaxs))
  assert actual.shape == (2, 8, 6, 3)
  assert_close([actual], [expected])


def test_filters_of_the_transpose_begin_by_what_goes_in():
  params = jax.jit(convolution.ConvTranspose(8).init)(
    KEY, jnp.zeros((1, 2, 2, 256)))['params']
  assert np.var(params['kernel']) == pytest.approx(1 / (16 * 256), rel=0.03)
  np.testing.assert_array_equal(params['bias'], np.zeros(8))


def test_what_is_no_transpose():
  x, kernel = _transposed_inputs((4, 4), (3, 3))
  with pytest.raises(ValueError, match=r'expected \[batch, height, width, in\] and '
                     r'\[h, w, out, in\], got \(2, 4, 4, 3\) and \(3, 3, 3, 4\)'):
    _ours(x[..., :3], kernel, (1, 1), 0)
  with pytest.raises(ValueError, match=r'got \(4, 4, 4\) and'):
    _ours(x[0], kernel, (1, 1), 0)
  with pytest.raises(ValueError, match='padding: 3 pixels leave 0x0 images of 4x4 and '
                     'a 3x3 window'):
    _ours(x, kernel, (1, 1), 3)
  with pytest.raises(ValueError, match='padding: -1 pixels leave 8x8'):
    _ours(x, kernel, (1, 1), -1)
