"""Tests of bigmodels.models.bag_of_words."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels.models import BagOfWords

TOKENS = np.random.default_rng(0).integers(0, 20, (3, 7))
MODEL = BagOfWords(20, width=400, dropout=0.4)


def variables(model=MODEL):
  return jax.jit(partial(model.init, train=False))(jax.random.key(0), TOKENS)


def test_a_feature_is_the_embedding_times_the_weight():
  made = variables()['params']
  made['weights'] = np.arange(20, dtype=np.float32)
  found = jax.jit(partial(MODEL.apply, train=False))({'params': made}, TOKENS)
  np.testing.assert_allclose(
    found, TOKENS[..., None] * np.asarray(made['tokens']['embedding'])[TOKENS],
    rtol=1e-6)


def test_embeddings_begin_with_length_one_and_weights_with_one():
  made = variables()['params']
  lengths = np.linalg.norm(made['tokens']['embedding'], axis=-1)
  np.testing.assert_allclose(lengths, 1, atol=0.15)
  np.testing.assert_array_equal(made['weights'], 1)


def test_dropout_leaves_out_whole_tokens_in_training():
  made = variables()
  apply = jax.jit(MODEL.apply, static_argnames='train')
  whole = np.asarray(apply(made, TOKENS, train=False))
  rngs = {'dropout': jax.random.key(1)}
  many = np.stack([np.asarray(apply(made, TOKENS, train=True, rngs={
    'dropout': jax.random.fold_in(rngs['dropout'], i)})) for i in range(40)])
  out = (many == 0).all(-1)
  assert 0.3 < out.mean() < 0.5
  np.testing.assert_allclose(many[~out], np.broadcast_to(whole, many.shape)[~out] / 0.6,
                             rtol=1e-5)


@pytest.mark.parametrize(('settings', 'message'), [
  ({'vocabulary': 0}, 'vocabulary: must be >= 1, got 0'),
  ({'width': 0}, 'width: must be >= 1, got 0'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0')])
def test_settings_that_are_not_legal(settings, message):
  with pytest.raises(ValueError, match=message):
    BagOfWords(**{'vocabulary': 20, **settings})
