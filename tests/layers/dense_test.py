"""Tests of bigmodels.layers.dense against Flax and NumPy."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.dense import Dense, Embedding, matmul

KEY = jax.random.key(0)


def inputs(*shape):
  return jax.random.normal(jax.random.key(1), shape)


@pytest.mark.parametrize('use_bias', [False, True])
@pytest.mark.parametrize('shape', [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5), (0, 5)])
def test_equals_flax(shape, use_bias):
  ours, flax = Dense(7, use_bias=use_bias), nn.Dense(7, use_bias=use_bias)
  x = inputs(*shape)
  first, second = jax.jit(lambda x: [m.init(KEY, x) for m in (ours, flax)])(x)
  jax.tree.map(np.testing.assert_array_equal, first, second)
  moved = jax.tree.map(lambda p: p + 0.1, first)

  def answer(model, variables, x):
    y = model.apply(variables, x)
    return jnp.sum(jnp.sin(y)), y

  found, expected = jax.jit(lambda *given: [
    jax.value_and_grad(partial(answer, model), (0, 1), has_aux=True)(*given)
    for model in (ours, flax)])(moved, x)
  assert found[0][1].shape == (*shape[:-1], 7)
  jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5),
               found, expected)


def test_initialisers_are_made_by_callables():
  layer = Dense(64, kernel_init=partial(nn.initializers.normal, 0.02))
  kernel = layer.init(KEY, inputs(1, 256))['params']['kernel']
  assert np.std(kernel) == pytest.approx(0.02, rel=0.05)
  layer = Embedding(256, 64, partial(nn.initializers.normal, 0.02))
  table = layer.init(KEY, jnp.zeros((1,), int))['params']['embedding']
  assert np.std(table) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize('dtype', ['int32', 'uint16', 'uint8', 'int64'])
@pytest.mark.parametrize('shape', [(), (4,), (2, 3), (2, 3, 4)])
def test_embedding_takes_rows(shape, dtype):
  layer = Embedding(11, 6)
  indices = np.random.default_rng(0).integers(11, size=shape).astype(dtype)
  variables = layer.init(KEY, indices)
  table = np.asarray(variables['params']['embedding'])
  assert table.shape == (11, 6)
  np.testing.assert_array_equal(layer.apply(variables, indices), table[indices])


def test_gradient_of_an_embedding_adds_up_what_was_taken():
  layer, indices = Embedding(5, 3), jnp.array([[1, 1, 4], [1, 0, 4]])
  variables, weights = layer.init(KEY, indices), inputs(2, 3, 3)
  found = jax.grad(lambda v: jnp.sum(weights * layer.apply(v, indices)))(variables)
  expected = np.zeros((5, 3), np.float32)
  np.add.at(expected, np.asarray(indices), np.asarray(weights))
  np.testing.assert_allclose(found['params']['embedding'], expected, rtol=1e-6)


@pytest.mark.parametrize('shape', [(6,), (4, 6), (2, 3, 6)])
def test_logits_are_products_with_the_table(shape):
  layer, x = Embedding(11, 6), inputs(*shape)
  variables = layer.init(KEY, jnp.zeros((1,), int))
  table = np.asarray(variables['params']['embedding'], np.float64)
  found = layer.apply(variables, x, method='logits')
  assert found.shape == (*shape[:-1], 11)
  np.testing.assert_allclose(found, np.asarray(x) @ table.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('shape', [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5), (0, 5)])
def test_on_a_cpu_it_is_one_product_of_two_matrices(shape, transposed):
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=shape), rng.normal(size=(5, 7))

  def product(x, kernel):
    return matmul(x, kernel.T if transposed else kernel, transposed=transposed)

  np.testing.assert_allclose(product(x, kernel), x @ kernel, rtol=1e-5, atol=1e-6)
  products = [e for e in jax.make_jaxpr(product)(x, kernel).eqns
              if e.primitive.name == 'dot_general']
  assert [[v.aval.ndim for v in e.invars] for e in products] == [[2, 2]]
