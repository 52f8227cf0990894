"""Tests of bigmodels.parallel.products: what is rounded, and what never is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from bigmodels.core import rounding
from bigmodels.hardware import flops, releases
from bigmodels.parallel import products

RNG = np.random.default_rng(0)
FORMS = {'in float32': {'native': False, 'in_order': False},
         'native': {'native': True, 'in_order': False},
         'in order': {'native': True, 'in_order': True}}
# XLA refuses some native products when they run; see the function.
RUN = ['in float32'] + ['in order'] * (not releases.refuses_bfloat16_products())
EINSUMS = ['mk,kn->mn', 'km,kn->mn', 'mk,nk->mn', 'km,nk->nm', 'mk,k->m', 'k,k->',
           'm,n->mn', 'bmk,bnk->bmn', 'bqhd,bkhd->bhqk', 'bhqk,bkhd->bqhd',
           'kbm,nkb->nbm', 'akm,kan->mn']
SIZES = {'m': 16, 'k': 24, 'n': 7, 'b': 3, 'q': 5, 'h': 2, 'd': 4, 'a': 1}


@pytest.fixture(autouse=True)
def whatever_pays(monkeypatch):
  """Small products are rounded too."""
  monkeypatch.setattr(products, '_LEAST_USES', 0)


def normal(*shape):
  return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def marked(function):
  @functools.wraps(function)
  def call(*args):
    with rounding.marked():
      return function(*args)

  return call


def as_float64(x):
  """The nearest bfloat16 of each number."""
  return np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64)


def operands(function, *args):
  """The dtypes of the operands of all products and convolutions."""
  return [tuple(v.aval.dtype.name for v in eqn.invars)
          for eqn in flops.equations(jax.make_jaxpr(function)(*args))
          if eqn.primitive.name in ('dot_general', 'conv_general_dilated')]


@pytest.mark.parametrize('form', RUN)
@pytest.mark.parametrize('einsum', EINSUMS)
def test_products_and_their_gradients_are_those_of_rounded_operands(einsum, form):
  left, right = einsum.split('->')[0].split(',')
  out = einsum.split('->')[1]
  x, y, weights = (normal(*(SIZES[axis] for axis in axes))
                   for axes in (left, right, out))

  @marked
  def function(x, y):
    product = jnp.einsum(einsum, x, y)
    return (product * weights).sum(), product

  rounded = jax.jit(products.rounded(
    jax.value_and_grad(function, (0, 1), has_aux=True), **FORMS[form]))
  (_, product), (by_x, by_y) = rounded(x, y)
  a, b, c = map(as_float64, (x, y, weights))
  for found, expected in (
      (product, np.einsum(einsum, a, b)),
      (by_x, np.einsum(f'{out},{right}->{left}', c, b)),
      (by_y, np.einsum(f'{left},{out}->{right}', a, c))):
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_product_is_not_of_float32():
  x = jnp.full((1, 1), 1 + 2**-9)  # of 8 bits: 1
  product = products.rounded(marked(jnp.matmul), **FORMS['in float32'])
  assert product(x, x) == 1 < jnp.matmul(x, x)


def test_products_are_added_in_float32():
  # Of bfloat16's 8 bits, a sum of ones would stop at 256.
  for form in RUN:
    product = jax.jit(products.rounded(marked(jnp.dot), **FORMS[form]))
    assert product(jnp.ones(1000), jnp.ones(1000)) == 1000


@pytest.mark.parametrize('form', FORMS)
def test_only_marked_products_are_rounded(form):
  kernel = normal(4, 4)

  def step(x):
    def loss(x):
      y = marked(jnp.matmul)(x, kernel)  # and its gradient
      y = marked(functools.partial(jnp.matmul, precision='highest'))(y, kernel)
      return (jnp.matmul(y, kernel)**2).sum()

    return jnp.matmul(jax.grad(loss)(x), kernel)

  found = operands(products.rounded(step, **FORMS[form]), normal(4, 4))
  assert len(found) == 7  # three with a gradient, one without
  assert found.count(('bfloat16',) * 2) == (2 if FORMS[form]['native'] else 0)
  assert operands(step, normal(4, 4)) == [('float32',) * 2] * 7


@pytest.mark.parametrize('wrap', [
  lambda f: f, jax.jit, jax.checkpoint, jax.vmap,
  lambda f: lambda x: lax.scan(lambda c, x: (c, f(x)), 0, x)[1],
  lambda f: lambda x: lax.cond(x.sum() > 0, f, lambda x: x, x),
  lambda f: lambda x: lax.fori_loop(0, 2, lambda i, x: f(x), x)])
def test_products_are_found_in_whatever_calls_them(wrap):
  kernel, x = normal(4, 4), normal(3, 4, 4)
  function = wrap(marked(lambda x: x @ kernel))
  found = operands(products.rounded(function, **FORMS['native']), x)
  assert found == [('bfloat16', 'bfloat16')]


def test_products_of_other_types_and_convolutions_are_left_alone():
  images, filters = normal(1, 5, 5, 2), normal(3, 3, 2, 4)
  matrix = jnp.ones((2, 2), jnp.int32)

  @marked
  def function(images, matrix):
    return (lax.conv_general_dilated(images, filters, (1, 1), 'SAME',
                                     dimension_numbers=('NHWC', 'HWIO', 'NHWC')),
            matrix @ matrix, matrix.astype(jnp.bfloat16) @ matrix.astype(jnp.bfloat16))

  assert operands(products.rounded(function, **FORMS['native']), images, matrix) == [
    ('float32',) * 2, ('int32',) * 2, ('bfloat16',) * 2]


def test_trees_and_absent_values_pass():
  @marked
  def function(tree, x):
    return {'y': x @ tree['kernel'], 'none': None}, tree

  tree = {'kernel': normal(3, 2), 'none': None, 'count': jnp.int32(3)}
  found, same = products.rounded(function, **FORMS['in float32'])(tree, normal(4, 3))
  assert found['none'] is None and found['y'].shape == (4, 2)
  assert jax.tree.structure(same) == jax.tree.structure(tree)
  assert same['count'] == 3


def test_an_optimizer_in_the_same_function_keeps_float32():
  optimizer = optax.contrib.muon(0.1)
  params = {'kernel': normal(8, 4)}

  def step(params, x):
    grads = jax.grad(lambda p: marked(jnp.matmul)(x, p['kernel']).sum())(params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return optax.apply_updates(params, updates)

  found = operands(products.rounded(step, **FORMS['native']), params, normal(5, 8))
  assert found.count(('bfloat16', 'bfloat16')) == 2
  assert set(found) == {('bfloat16', 'bfloat16'), ('float32', 'float32')}


def test_a_second_derivative_is_rounded_too():
  kernel, x = normal(4, 3), normal(2, 4)

  def penalty(kernel):
    gradient = jax.grad(lambda x: jnp.tanh(marked(jnp.matmul)(x, kernel)).sum())(x)
    return (gradient**2).sum()

  step = products.rounded(jax.grad(penalty), **FORMS['in float32'])
  assert operands(products.rounded(jax.grad(penalty), **FORMS['native']), kernel) == [
    ('bfloat16', 'bfloat16')] * len(operands(jax.grad(penalty), kernel))
  exact = jax.grad(penalty)(kernel)
  error = np.linalg.norm(step(kernel) - exact) / np.linalg.norm(exact)
  assert 0 < error < 0.02


@pytest.mark.skipif(releases.refuses_bfloat16_products(),
                    reason='this jaxlib refuses products of bfloat16')
def test_operands_in_order_reach_the_products_of_a_backward_pass():
  x, kernel = normal(48, 32), normal(32, 24)

  def loss(x, kernel):
    return (marked(jnp.matmul)(x, kernel)**2).sum()

  text = jax.jit(products.rounded(
    jax.grad(loss, (0, 1)), **FORMS['in order'])).lower(x, kernel).compile().as_text()
  lines = [line for line in text.splitlines() if ' dot(' in line]
  assert len(lines) == 3
  for line in lines:
    assert 'lhs_contracting_dims={1}, rhs_contracting_dims={0}' in line


def test_equal_calls_are_traced_once():
  inner = jax.jit(marked(lambda x, kernel: jnp.tanh(x @ kernel)))
  kernel = normal(4, 4)

  def function(x):
    for _ in range(5):
      x = inner(x, kernel)
    return x

  traced = jax.make_jaxpr(products.rounded(function, **FORMS['native']))(normal(3, 4))
  calls = [eqn.params['jaxpr'] for eqn in traced.eqns if 'jaxpr' in eqn.params]
  assert len(calls) == 5 and len(set(map(id, calls))) == 1


@pytest.mark.parametrize('native', [False, True])
@pytest.mark.parametrize('rows, rounds', [(1, False), (16, False), (128, True)])
def test_products_that_do_not_pay_remain_float32(monkeypatch, rows, rounds, native):
  """Of a few rows and a kernel: rounding the kernel takes longer than the product."""
  monkeypatch.undo()
  x, kernel = jnp.zeros((rows, 256)), jnp.zeros((256, 512))
  rounded = products.rounded(marked(jnp.matmul), native=native, in_order=True)
  names = [eqn.primitive.name for eqn in flops.equations(
    jax.make_jaxpr(rounded)(x, kernel))]
  assert ('convert_element_type' in names) == (rounds and native)
  assert ('reduce_precision' in names) == (rounds and not native)


@pytest.mark.parametrize('inputs, outputs', [(8, 32), (32, 8)])
def test_the_gradient_of_a_kernel_transposes_the_smaller_operand(inputs, outputs):
  x, kernel, rows = normal(512, inputs), normal(inputs, outputs), 512
  gradient = products.rounded(
    jax.grad(marked(lambda kernel, x: (x @ kernel).sum())), **FORMS['in order'])
  moved = {eqn.invars[0].aval.size for eqn in flops.equations(
    jax.make_jaxpr(gradient)(kernel, x)) if eqn.primitive.name == 'transpose'
    and eqn.params['permutation'] != tuple(range(eqn.invars[0].aval.ndim))}
  assert rows * max(inputs, outputs) not in moved
