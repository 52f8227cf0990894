"""Tests of bigmodels.layers.cpu.convolution against XLA's own convolutions."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from bigmodels.hardware import devices
from bigmodels.layers import convolution
from bigmodels.layers.cpu import convolution as cpu
from tests.layers.convolutions import (
  TOLERANCE,
  assert_close,
  inputs,
  value_and_gradients,
)

OURS = [cpu.conv_by_patches, cpu.conv_in_order]


@pytest.mark.parametrize('padding', ['SAME', 'VALID', ((2, 0), (1, 3))])
@pytest.mark.parametrize('strides', [(1, 1), (2, 2)])
@pytest.mark.parametrize('kernel_size', [(3, 3), (2, 5)])
@pytest.mark.parametrize('size', [(8, 8), (7, 6)])
@pytest.mark.parametrize('ours', OURS)
def test_formulations_equal_lax(ours, size, kernel_size, strides, padding):
  _compare_formulations(ours, *inputs(size, kernel_size), strides, padding)


@pytest.mark.parametrize('dtype', TOLERANCE)
@pytest.mark.parametrize('ours', OURS)
def test_formulations_equal_lax_in_other_dtypes(ours, dtype):
  _compare_formulations(ours, *inputs(dtype=dtype), (2, 1), 'SAME', TOLERANCE[dtype])


@pytest.mark.parametrize('padding', ['SAME', 'VALID', ((2, 0), (1, 3))])
@pytest.mark.parametrize('strides', [(2, 1), (3, 2), (4, 5)])
@pytest.mark.parametrize('kernel_size', [(3, 3), (1, 2), (5, 4)])
@pytest.mark.parametrize('size', [(9, 8), (7, 11)])
def test_other_strides_equal_lax(size, kernel_size, strides, padding):
  _compare_formulations(
    cpu.conv_in_order, *inputs(size, kernel_size), strides, padding)


def test_gradients_are_compiled_in_order_in_a_loop_too():
  x, kernel = inputs()

  def step(index, kernel):
    del index
    gradients = jax.grad(lambda x, kernel: jnp.sum(cpu.conv_in_order(
      x, kernel, (2, 2), ((1, 1), (1, 1))) ** 2), (0, 1))(x, kernel)
    return kernel - gradients[1] - gradients[0].mean()

  text = jax.jit(lambda kernel: jax.lax.fori_loop(0, 9, step, kernel)).lower(
    kernel).compile(devices.compiler_options('cpu')).as_text()
  # The value, the kernel's, and three of the four by the input: one tap is a product.
  orders = re.findall(r'convolution\(.*dim_labels=(\w+->\w+)', text)
  assert set(orders) == {'b01f_01io->b01f'} and len(orders) == 5


def _compare_formulations(ours, x, kernel, strides, padding, tolerance=1e-5):
  actual, expected = (
    value_and_gradients(f, x, kernel, strides, padding)
    for f in (ours, cpu.conv_by_lax)
  )
  assert_close(actual, expected, tolerance)


def _depthwise(size=(8, 7), kernel_size=(3, 3), dtype='float32'):
  x, kernel = inputs(size, kernel_size, dtype)
  return x, kernel[:, :, :1, :3]


def _compare_depthwise(x, kernel, strides, padding, tolerance=1e-5):
  by_lax = functools.partial(cpu.conv_by_lax, groups=3)
  actual, expected = (
    value_and_gradients(f, x, kernel, strides, padding)
    for f in (cpu.depthwise_by_shifts, by_lax))
  assert_close(actual, expected, tolerance)


@pytest.mark.parametrize('padding', ['SAME', 'VALID', ((1, 1), (1, 1))])
@pytest.mark.parametrize('strides', [(1, 1), (2, 2)])
@pytest.mark.parametrize('kernel_size', [(3, 3), (2, 5)])
def test_shifts_equal_lax(kernel_size, strides, padding):
  _compare_depthwise(*_depthwise((8, 7), kernel_size), strides, padding)


@pytest.mark.parametrize('dtype', TOLERANCE)
def test_shifts_equal_lax_in_other_dtypes(dtype):
  _compare_depthwise(*_depthwise(dtype=dtype), (2, 1), 'SAME', TOLERANCE[dtype])


@pytest.mark.parametrize('ours, groups', [
  (cpu.depthwise_by_shifts, 3), (cpu.conv_in_order, 1)])
def test_vmap_and_derived_twice(ours, groups):
  x, kernel = _depthwise() if groups > 1 else inputs()
  xs, kernels = jnp.stack([x, -x, 2 * x]), jnp.stack([kernel, 3 * kernel, -kernel])
  pads = ((1, 1), (1, 1))

  def loss(function):
    return lambda x, kernel: jnp.sin(function(x, kernel, (2, 1), pads)).sum()

  def twice(function):
    once = jax.grad(loss(function), (0, 1))
    return jax.grad(lambda *a: sum((g**2).sum() for g in once(*a)), (0, 1))

  by_lax = functools.partial(cpu.conv_by_lax, groups=groups)
  for derivative in (lambda f: jax.grad(loss(f), (0, 1)), twice):
    actual, expected = (
      jax.jit(jax.vmap(derivative(f)))(xs, kernels) for f in (ours, by_lax))
    assert_close(actual, expected, 1e-4)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize('groups, out, limit', [
  (3, 3, 25), (3, 3, 8), (3, 6, 25), (1, 3, 25)])
def test_formulation_of_groups(monkeypatch, backend, groups, out, limit):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  monkeypatch.setattr(cpu, '_MAX_SHIFTS', limit)
  x, kernel = inputs()[0], jnp.ones((3, 3, 3 // groups, out))
  jaxpr = str(jax.make_jaxpr(lambda x, k: jax.vjp(
    lambda x, k: convolution.conv(x, k, groups=groups), x, k)[0])(x, kernel))
  own = backend == 'cpu' and limit == 25 and out == 3
  assert ('conv_general_dilated' in jaxpr) != own
  assert ('dot_general' in jaxpr) == (own and groups == 1)


@pytest.mark.parametrize('backend, kernel_size, few_values, trained', [
  ('gpu', (3, 3), 32, 'conv_general_dilated'),
  ('cpu', (3, 3), 27, 'dot_general'),
  ('cpu', (1, 1), 0, 'dot_general'),
  ('cpu', (3, 3), 26, 'conv_general_dilated')])
def test_formulation_follows_backend_and_shape(
    monkeypatch, backend, kernel_size, few_values, trained):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  monkeypatch.setattr(cpu, '_FEW_VALUES', few_values)

  # New functions for each case: JAX keeps the trace of one that it has seen.
  def value(x, kernel):
    return convolution.conv(x, kernel, strides=(2, 2))

  def in_training(x, kernel):
    return jax.vjp(value, x, kernel)[0]

  arguments = inputs(kernel_size=kernel_size)
  for function, wanted in ((in_training, trained), (
      value, 'dot_general' if kernel_size == (1, 1) else 'conv_general_dilated')):
    jaxpr = str(jax.make_jaxpr(function)(*arguments))
    for name in ('dot_general', 'conv_general_dilated'):
      assert (name in jaxpr) == (name == wanted), name


@pytest.mark.parametrize('size, kernel_size, strides, padding, tiny', [
  ((2, 2), (3, 3), (1, 1), 'SAME', True),
  ((3, 8), (5, 5), (1, 1), 'SAME', True),
  ((4, 4), (4, 4), (1, 1), 'VALID', True),  # of its gradient by the image
  ((4, 4), (3, 3), (1, 1), 3, True),  # of its gradient by the kernel
  ((3, 3), (3, 3), (2, 2), 'SAME', False),
  ((8, 8), (5, 5), (1, 1), 'SAME', False)])
def test_windows_larger_than_what_they_go_over(
    size, kernel_size, strides, padding, tiny):
  x, kernel = inputs(size, kernel_size)
  pads = ((padding,) * 2,) * 2 if isinstance(padding, int) else padding

  def ours(x, kernel):
    return convolution.conv(x, kernel, strides=strides, padding=padding)

  def plain(x, kernel):
    return cpu.conv_by_lax(x, kernel, strides, pads)

  assert ('conv_general_dilated' not in str(jax.make_jaxpr(ours)(x, kernel))) == tiny

  def found(function):
    value, pullback = jax.vjp(function, x, kernel)
    return value, *pullback(value)

  assert_close(found(ours), found(plain))


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_jit_vmap_and_grad(monkeypatch, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x, kernel = inputs()
  xs = jnp.stack([x, -x, 2 * x])

  def loss(function):
    return lambda kernel, x: (function(x, kernel, (2, 2), 'SAME') ** 2).sum()

  def conv(x, kernel, strides, padding):
    return convolution.conv(x, kernel, strides=strides, padding=padding)

  actual = jax.jit(jax.vmap(jax.grad(loss(conv)), (None, 0)))(kernel, xs)
  gradient = jax.grad(loss(cpu.conv_by_lax))
  assert_close(actual, [gradient(kernel, x) for x in xs])
