"""Tests of bigmodels.parallel.precision: what is bfloat16, and what never is."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bigmodels.hardware import flops
from bigmodels.models import Cnn, Mlp
from bigmodels.parallel import precision
from bigmodels.tasks import classification

KEY = jax.random.PRNGKey(0)


class Probe(nn.Module):
  """Notes the dtypes of its intermediate values."""

  note: Callable

  @nn.compact
  def __call__(self, inputs, *, train):
    self.note('inputs', inputs.dtype)
    kernel = self.param('kernel', nn.initializers.ones, (inputs.shape[-1], 3))
    self.note('kernel', kernel.dtype)
    x = nn.Dense(5)(inputs @ kernel)
    x = nn.BatchNorm(use_running_average=not train)(x)
    self.note('normalised', x.dtype)
    return {'logits': x, 'classes': jnp.argmax(x, -1)}


def dtypes(tree):
  return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


def images(n=64):
  rng = np.random.default_rng(0)
  return {'inputs': rng.normal(size=(n, 6, 6, 2)).astype(np.float32),
          'labels': rng.integers(0, 3, n).astype(np.int32),
          'mask': np.ones(n, np.float32)}


@pytest.mark.parametrize('given, met', [
  (np.float32, jnp.bfloat16), (np.uint8, np.uint8), (np.int32, np.int32)])
@pytest.mark.parametrize('train', [True, False])
def test_a_module_computes_in_bfloat16_between_float32(given, met, train):
  seen = {}
  model = precision.in_precision(Probe(seen.__setitem__), 'bfloat16')
  inputs = np.arange(28).reshape(7, 4).astype(given)
  variables = model.init(KEY, inputs, train=False)
  assert dtypes(variables) == {'float32'}
  answer, updated = model.apply(variables, inputs, train=train, mutable=['batch_stats'])
  assert seen == {'inputs': met, 'kernel': jnp.bfloat16, 'normalised': jnp.bfloat16}
  assert dtypes(updated) == dtypes(answer['logits']) == {'float32'}
  assert answer['classes'].dtype == jnp.int32
  assert dtypes(variables) == {'float32'}
  # Every output is a number of bfloat16.
  rounded = answer['logits'].astype(jnp.bfloat16).astype(jnp.float32)
  np.testing.assert_array_equal(answer['logits'], rounded)


def test_numbers_are_rounded_before_the_model_sees_them():
  model = precision.in_precision(nn.Dense(1, use_bias=False), 'bfloat16')
  variables = {'params': {'kernel': jnp.float32([[1 + 2**-10]])}}  # of 8 bits: 1
  answer = model.apply(variables, jnp.float32([[3 + 2**-10], [257.0]]))
  np.testing.assert_array_equal(answer, [[3.0], [256.0]])


def test_statistics_are_of_float32():
  # Of bfloat16's 8 bits, sums of this many ones would stop at 256.
  model = precision.in_precision(nn.BatchNorm(False, momentum=0.0), 'bfloat16')
  inputs = np.tile(np.float32([[1.0], [2.0]]), (2000, 1))
  variables = model.init(KEY, inputs)
  _, updated = model.apply(variables, inputs, mutable=['batch_stats'])
  np.testing.assert_allclose(updated['batch_stats']['mean'], [1.5], rtol=1e-6)
  np.testing.assert_allclose(updated['batch_stats']['var'], [0.25], rtol=1e-5)


def test_gradients_are_float32_and_close():
  def gradient(module):
    task = classification(module)
    params, model_state = task.init(KEY, images())
    return jax.jit(jax.value_and_grad(
      lambda p: task.loss(p, model_state, images(), KEY, train=True),
      has_aux=True))(params)

  model = Cnn(3, (8,), hidden=(16,), pooling='average', batch_norm=True)
  (value, (model_state, sums, _)), grads = gradient(
    precision.in_precision(model, 'bfloat16'))
  (expected, _), exact = gradient(model)
  assert dtypes((value, model_state, sums, grads)) == {'float32'}
  assert value != expected  # it was not float32 all the way
  assert abs(value - expected) < 0.01 * expected
  flat, exact = (ravel_pytree(g)[0] for g in (grads, exact))
  assert np.linalg.norm(flat - exact) < 0.03 * np.linalg.norm(exact)


def test_float32_is_the_module_itself():
  model = Mlp(3)
  assert precision.in_precision(model, 'float32') is model


@pytest.mark.parametrize('platform, expected', [
  ('cpu', 'float32'), ('gpu', 'bfloat16'), ('tpu', 'bfloat16')])
def test_each_platform_has_its_precision(platform, expected):
  assert precision.default(platform) == expected


@pytest.mark.parametrize('model, products, others', [
  (Mlp(3, (5,)), 2, 0),
  # Patches of 2 channels and 3 x 3 pixels: a convolution, which is not rounded.
  (Cnn(3, (8,), hidden=(16,), pooling='average', batch_norm=True), 2, 2),
  (Cnn(3, (8,), kernel=1, hidden=()), 2, 0)])
def test_with_bfloat16_products_the_products_of_a_model_are_marked(
    model, products, others):
  model = precision.in_precision(model, 'bfloat16_products')
  inputs = images()['inputs']
  variables = model.init(KEY, inputs, train=False)
  traced = jax.make_jaxpr(lambda v: model.apply(v, inputs, train=False))(variables)
  marks = [eqn.params['precision'] for eqn in flops.equations(traced)
           if eqn.primitive.name == 'dot_general']
  default, highest = jax.lax.Precision.DEFAULT, jax.lax.Precision.HIGHEST
  assert marks.count((default,) * 2) == products
  assert marks.count((highest,) * 2) == len(marks) - products <= others


def test_a_collection_keeps_its_types():
  class Averaged(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train):
      average = self.variable('ema', 'mean', jnp.zeros, inputs.shape[1:])
      average.value = inputs.mean(0)
      return nn.Dense(2)(inputs)

  model = precision.in_precision(Averaged(), 'bfloat16')
  x = jnp.ones((4, 3))
  variables = model.init(KEY, x, train=True)
  _, updated = model.apply(variables, x, train=True, mutable=['ema'])
  assert dtypes(updated) == dtypes(variables) == {'float32'}
