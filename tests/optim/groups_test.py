"""Tests of parameter groups: frozen, or with another learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import optim

BLOCKS = {
  'encoder': {'blocks': {'kernel': jnp.ones((3, 2, 2)), 'bias': jnp.ones((3, 2))},
              'tokens': jnp.ones((5, 2))},
  'head': {'kernel': jnp.ones((2, 2))},
}


def update(optimizer, grads):
  return optimizer.update(grads, optimizer.init(BLOCKS), BLOCKS)[0]


def named(tree):
  return {jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(x)
          for path, x in jax.tree.leaves_with_path(tree)}


def test_freeze_zeroes_whole_names_even_with_decay_and_nan():
  grads = jax.tree.map(lambda p: p.at[0].set(jnp.nan), BLOCKS)
  optimizer = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(1.0),
                          optim.freeze('encoder/blocks/.*', 'head/kernel'))
  updates = named(jax.jit(lambda: update(optimizer, grads))())
  for name in ('encoder/blocks/kernel', 'encoder/blocks/bias', 'head/kernel'):
    np.testing.assert_array_equal(updates[name], 0)
  np.testing.assert_array_equal(updates['encoder/tokens'][1:], -1.5)


def test_freeze_of_the_lowest_layers():
  frozen = named(update(
    optim.freeze('encoder/blocks/.*', layers=2), BLOCKS))
  for name in ('encoder/blocks/kernel', 'encoder/blocks/bias'):
    np.testing.assert_array_equal(frozen[name][:2], 0)
    np.testing.assert_array_equal(frozen[name][2], 1)
  for name in ('encoder/tokens', 'head/kernel'):
    np.testing.assert_array_equal(frozen[name], 1)


def test_rates_multiplied_by_name_are_those_of_other_optimizers():
  chain = optax.chain(
    optax.adamw(0.1, weight_decay=0.5), optim.multiply_rate('encoder/.*', factor=0.3),
    optim.multiply_rate('encoder/blocks/.*', factor=0.5, layers=1))
  found = named(update(chain, BLOCKS))
  expected = {rate: named(update(optax.adamw(rate, weight_decay=0.5), BLOCKS))
              for rate in (0.1, 0.03, 0.015)}
  for name, rates in {'encoder/blocks/kernel': (0.015, 0.03, 0.03),
                      'encoder/tokens': (0.03,) * 5, 'head/kernel': (0.1,) * 2}.items():
    for row, rate in enumerate(rates):
      np.testing.assert_allclose(found[name][row], expected[rate][name][row], rtol=1e-6)


@pytest.mark.parametrize('factor', [-0.1, float('inf'), float('nan')])
def test_multiply_rate_refuses(factor):
  with pytest.raises(ValueError, match=r'^factor: must be finite and >= 0'):
    optim.multiply_rate('.*', factor=factor)
  with pytest.raises(ValueError, match=r"^patterns: 'tail'"):
    optim.multiply_rate('tail', factor=0.5).init(BLOCKS)


@pytest.mark.parametrize('patterns, layers, words', [
  ((), None, 'patterns: '),
  (('(',), None, "patterns: .*got '\\('"),
  (('.*',), 0, 'layers: must be >= 1, got 0')])
def test_freeze_refuses_at_once(patterns, layers, words):
  with pytest.raises(ValueError, match=f'^{words}'):
    optim.freeze(*patterns, layers=layers)


@pytest.mark.parametrize('patterns, layers, words', [
  (('head/.*', 'blocks/.*'), None, "patterns: 'blocks/.*' "),
  (('encoder/.*',), 2, 'layers: parameters that match must have the same number of '
                       'layers, got 3 of encoder/blocks/kernel, 5 of encoder/tokens'),
  (('encoder/blocks/.*',), 4, 'layers: must be at most the 3 of')])
def test_freeze_refuses_parameters(patterns, layers, words):
  with pytest.raises(ValueError, match=f'^{words}'):
    optim.freeze(*patterns, layers=layers).init(BLOCKS)


# --- layer-wise decay -----------------------------------------------------------


def test_layerwise_decay_is_that_of_beit():
  params = {**BLOCKS, 'norm': {'scale': jnp.ones(2)}}
  optimizer = optax.chain(optax.sgd(1.0), optim.layerwise_decay(0.5))
  found = named(optimizer.update(params, optimizer.init(params), params)[0])
  # Three blocks: the last is one layer below the head, the embeddings are four below.
  for name in ('encoder/blocks/kernel', 'encoder/blocks/bias'):
    for layer, factor in enumerate((0.125, 0.25, 0.5)):
      np.testing.assert_allclose(found[name][layer], -factor)
  np.testing.assert_allclose(found['encoder/tokens'], -0.0625)
  np.testing.assert_allclose(found['head/kernel'], -1)
  np.testing.assert_allclose(found['norm/scale'], -1)


def test_layerwise_decay_of_named_layers():
  params = {name: jnp.ones(2) for name in ('stem', 'stage1', 'stage2', 'head')}
  optimizer = optim.layerwise_decay(0.5, 'stem', 'stage1', 'stage2')
  found = named(optimizer.update(params, optimizer.init(params))[0])
  assert {name: float(x[0]) for name, x in found.items()} == {
    'stem': 0.125, 'stage1': 0.25, 'stage2': 0.5, 'head': 1}


@pytest.mark.parametrize(('arguments', 'params', 'message'), [
  ((0.0,), BLOCKS, 'layer_decay: must be > 0 and <= 1, got 0.0'),
  ((1.5,), BLOCKS, 'layer_decay: must be > 0 and <= 1, got 1.5'),
  ((0.5,), {'a': jnp.ones(2)}, 'needs a model with one stack of blocks, such as'),
  ((0.5, 'b'), {'a': jnp.ones(2)}, "'b' matches the whole name of no parameter"),
  ((0.5, '('), {'a': jnp.ones(2)}, 'must be regular expressions')])
def test_layerwise_decay_that_cannot_be(arguments, params, message):
  with pytest.raises(ValueError, match=message):
    optim.layerwise_decay(*arguments).init(params)
