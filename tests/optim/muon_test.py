"""Tests of optim.muon_filters and optim.with_norms against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels import optim


def test_muon_of_filters_equals_the_published_steps():
  """As airbench94_muon.py has it, in float64."""
  def orthogonal(matrix):
    x = matrix / np.linalg.norm(matrix)
    for _ in range(3):
      a = x @ x.T
      x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x

  rng = np.random.default_rng(0)
  grads = [rng.normal(size=(3, 3, 4, 6)) for _ in range(3)]
  optimizer, momentum = optim.muon_filters(momentum=0.6), 0
  state = optimizer.init(jnp.zeros((3, 3, 4, 6)))
  for grad in grads:
    found, state = optimizer.update(jnp.float32(grad), state)
    momentum = 0.6 * momentum + grad
    expected = orthogonal((grad + 0.6 * momentum).reshape(-1, 6).T).T
    np.testing.assert_allclose(found, expected.reshape(grad.shape), atol=1e-5)


def test_stacked_filters_are_orthogonalized_as_one_by_one():
  """The kernels of airbench, smaller: two widths, windows of different sizes."""
  rng, shapes = np.random.default_rng(0), {
    'a': (3, 3, 2, 8), 'b': (3, 3, 8, 8), 'c': (3, 3, 8, 16), 'd': (1, 1, 3, 16)}
  grads = [{name: jnp.float32(rng.normal(size=shape)) for name, shape in shapes.items()}
           for _ in range(3)]
  apart, stacked = (optim.muon_filters(stacked=stacked) for stacked in (False, True))
  states = apart.init(grads[0]), stacked.init(grads[0])
  updates = [jax.jit(each.update) for each in (apart, stacked)]
  for grad in grads:
    (expected, first), (found, second) = (
      update(grad, state) for update, state in zip(updates, states, strict=True))
    states = first, second
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6), found, expected)
  products = [str(jax.make_jaxpr(each.update)(grads[0], state)).count('dot_general')
              for each, state in zip((apart, stacked), states, strict=True)]
  assert products[0] == 2 * products[1] > 0  # four kernels, two stacks


def test_with_norms_rescales_before_the_update():
  params = {'kernel': jnp.arange(12.0).reshape(3, 4) + 1}
  optimizer = optax.chain(optax.sgd(0.5), optim.with_norms(lambda p: p.shape[-1]**0.5))
  updates, _ = optimizer.update(
    jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
  kernel = np.asarray(params['kernel'])
  np.testing.assert_allclose(
    params['kernel'] + updates['kernel'], 2 * kernel / np.linalg.norm(kernel) - 0.5,
    atol=1e-6)


def test_muon_is_for_kernels_and_the_other_optimizer_for_the_rest():
  rng = np.random.default_rng(0)
  params = {'kernel': jnp.float32(rng.normal(size=(3, 3, 4, 6))),
            'bias': jnp.float32(rng.normal(size=6))}
  grads = jax.tree.map(lambda x: 2 * x, params)
  both = optim.muon(0.1, optax.sgd(0.5))
  found, _ = both.update(grads, both.init(params), params)
  np.testing.assert_allclose(found['bias'], -0.5 * grads['bias'], rtol=1e-6)
  values = np.linalg.svd(np.reshape(found['kernel'], (36, 6)), compute_uv=False)
  assert values.min() > 0.06 and values.max() < 0.13  # of about 0.1
  assert np.sum(found['kernel'] * grads['kernel']) < 0
