"""Tests of bigmodels.layers.cpu.convolution_by_products against XLA's convolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core import rounding
from bigmodels.hardware import flops
from bigmodels.layers import convolution
from bigmodels.layers.cpu import convolution_by_products as by_products
from bigmodels.layers.cpu.convolution import conv_by_lax
from bigmodels.parallel import products
from tests.layers.convolutions import assert_close, inputs, value_and_gradients

PADS = ((1, 1), (1, 1))


def nearest(x):
  return x.astype(jnp.bfloat16).astype(x.dtype)


def rounded_by_lax(x, kernel, strides, padding):
  """A convolution of rounded operands, forward and backward."""

  @jax.custom_vjp
  def rounded_backward(y):
    return y

  rounded_backward.defvjp(lambda y: (y, None), lambda _, g: (nearest(g),))
  # The derivative of a conversion would round the gradients, too.
  x, kernel = (each + jax.lax.stop_gradient(nearest(each) - each)
               for each in (x, kernel))
  return rounded_backward(conv_by_lax(x, kernel, strides, padding))


@pytest.mark.parametrize('strides, padding', [
  ((1, 1), 'SAME'), ((2, 2), 'SAME'), ((2, 1), 'VALID'), ((3, 2), ((2, 0), (1, 3)))])
@pytest.mark.parametrize('kernel_size, limit', [((3, 3), 1), ((2, 5), 10**9)],
                         ids=['one by one', 'at once'])
def test_it_equals_lax_of_rounded_operands(monkeypatch, kernel_size, limit, strides,
                                           padding):
  monkeypatch.setattr(by_products, '_PATCHES', limit)
  x, kernel = inputs((7, 6), kernel_size)
  actual, expected = (value_and_gradients(f, x, kernel, strides, padding)
                      for f in (by_products.conv_by_products, rounded_by_lax))
  assert_close(actual, expected)


def test_operands_are_rounded():
  x, kernel = jnp.full((1, 1, 1, 1), 1 + 2**-9), jnp.ones((1, 1, 1, 1))  # of 8 bits: 1
  assert by_products.conv_by_products(x, kernel, (1, 1), ((0, 0),) * 2) == 1


def test_vmap_and_derived_twice():
  # Of numbers that bfloat16 has, and a loss of which it has the derivatives.
  x, kernel = (jnp.round(2 * each) for each in inputs())
  xs, kernels = jnp.stack([x, -x, 2 * x]), jnp.stack([kernel, 3 * kernel, -kernel])
  weights = jnp.sign(conv_by_lax(x, kernel, (2, 1), PADS))

  def twice(function):
    once = jax.grad(lambda x, kernel: (
      function(x, kernel, (2, 1), PADS) * weights).sum(), (0, 1))
    return jax.grad(lambda *a: sum((g * jnp.sign(g)).sum() for g in once(*a)), (0, 1))

  actual, expected = (jax.jit(jax.vmap(twice(f)))(xs, kernels)
                      for f in (by_products.conv_by_products, conv_by_lax))
  assert_close(actual, expected)
  assert np.abs(actual[0]).max() > 1


def operands(strides, shape, kernel, groups=1, *, marked):
  """The dtypes of operands of products and convolutions, forward and backward."""

  def step(x, kernel):
    with rounding.marked() if marked else jax.default_matmul_precision(None):
      y, pullback = jax.vjp(functools.partial(
        convolution.conv, strides=strides, groups=groups), x, kernel)
    return pullback(y)

  rounded = products.rounded(step, native=True, in_order=True)
  return {(eqn.primitive.name, *(v.aval.dtype.name for v in eqn.invars))
          for eqn in flops.equations(jax.make_jaxpr(rounded)(
            jnp.zeros(shape), jnp.zeros(kernel)))
          if eqn.primitive.name in ('dot_general', 'conv_general_dilated')}


def test_marked_convolutions_of_many_channels_are_products():
  many = (4, 8, 8, 64), (3, 3, 64, 128)
  rounded = {('dot_general', 'bfloat16', 'bfloat16')}
  in_float32 = {('conv_general_dilated', 'float32', 'float32')}
  for strides in ((1, 1), (2, 2)):
    assert operands(strides, *many, marked=True) == rounded
    found = operands(strides, *many, marked=False)
    assert in_float32 <= found and 'bfloat16' not in {t for _, *ts in found for t in ts}
  assert operands((1, 1), (4, 8, 8, 32), (3, 3, 32, 64), marked=True) == in_float32
  assert operands((1, 1), (4, 8, 8, 128), (3, 3, 64, 128), 2, marked=True) == in_float32


def test_images_of_several_devices_are_not_looped_over(monkeypatch):
  """Each iteration would gather those of one device."""
  monkeypatch.setattr(by_products, '_PATCHES', 1)

  x_and_kernel = inputs()

  def loops():
    jaxpr = jax.make_jaxpr(lambda *args: value_and_gradients.__wrapped__(
      by_products.conv_by_products, *args, (1, 1), PADS))(*x_and_kernel)
    names = [eqn.primitive.name for eqn in flops.equations(jaxpr)]
    return names.count('scan') + names.count('while')

  assert loops() == 3
  for count, expected in (1, 3), (2, 0):
    mesh = jax.sharding.AbstractMesh((count,), ('data',))
    with jax.sharding.use_abstract_mesh(mesh):
      assert loops() == expected
