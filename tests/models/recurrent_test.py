"""Tests of bigmodels.models.recurrent: what flows where, and what does not."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.layers.recurrent import Gru, Lstm
from bigmodels.models.recurrent import RecurrentClassifier, RecurrentLanguageModel

CELLS = (Lstm, Gru)
VOCABULARY, BATCH, LENGTH = 11, 4, 7
TOKENS = np.random.default_rng(0).integers(VOCABULARY, size=(BATCH, LENGTH))
LENGTHS = np.array([7, 4, 1, 6])
SEGMENTS = (np.arange(LENGTH) < LENGTHS[:, None]).astype(np.int32)
CLASSIFIER = partial(RecurrentClassifier, VOCABULARY, 3, width=6, embedding=5)
LANGUAGE_MODEL = partial(RecurrentLanguageModel, VOCABULARY, width=6, depth=2)


def _params(model):
  """As large as the initial values, none of them zero."""
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(1), TOKENS)
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda p: rng.normal(0, 0.5, p.shape).astype(np.float32),
                      shapes['params'])


@partial(jax.jit, static_argnums=0, static_argnames=('train', 'decode', 'mutable'))
def _run(model, variables, tokens, train=False, **options):
  return model.apply(variables, tokens, train=train, **options)


def _apply(model, params, tokens, **options):
  return _run(model, {'params': params}, tokens, **options)


def _assert_close(actual, expected, tolerance=1e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


# --- the classifier -------------------------------------------------------------


@pytest.mark.parametrize('cell, pooling, depth', [
  (Lstm, 'last', 2), (Lstm, 'mean', 1), (Gru, 'max', 1)])
def test_classifier_does_not_see_padding(cell, pooling, depth):
  model = CLASSIFIER(cell=cell, pooling=pooling, depth=depth)
  params = _params(model)

  @jax.jit
  def gradient(tokens, segments):
    def loss(params):
      logits = model.apply({'params': params}, tokens, segments=segments, train=False)
      return jnp.sum(logits**2), logits
    return jax.grad(loss, has_aux=True)(params)

  alone = gradient(TOKENS[:, :4], None)
  segments = np.tile(np.arange(LENGTH) < 4, (BATCH, 1)).astype(np.int32)
  other = np.where(segments, TOKENS, VOCABULARY - 1 - TOKENS)  # other padding
  for tokens in (TOKENS, other):
    _assert_close(gradient(tokens, segments), alone)
  # Rows of several lengths in one batch: the second is as long as all were above.
  _, logits = gradient(TOKENS, SEGMENTS)
  assert logits.shape == (BATCH, 3)
  _assert_close(logits[1], alone[1][1])
  _assert_close(logits[2:3], _apply(model, params, TOKENS[2:3, :1]))


@pytest.mark.parametrize('bidirectional', [True, False])
@pytest.mark.parametrize('pooling, pool', [
  ('last', None), ('mean', lambda x: x.mean(1)), ('max', lambda x: x.max(1))])
def test_classifier_is_its_parts(pooling, pool, bidirectional):
  model = CLASSIFIER(pooling=pooling, bidirectional=bidirectional)
  params = _params(model)
  names = ['forward_0', 'backward_0'] if bidirectional else ['forward_0']
  assert sorted(params) == sorted(['Dense_0', 'embedding', *names])
  x = params['embedding']['embedding'][TOKENS]
  read = [_apply(Lstm(6, reverse=name == 'backward_0'), params[name], x)
          for name in names]
  if pool is None:
    # What each direction read last is what it gives at its end.
    pooled = np.concatenate([y[:, -1 if n == 'forward_0' else 0]
                             for (y, _), n in zip(read, names, strict=True)], -1)
  else:
    pooled = pool(np.concatenate([y for y, _ in read], -1))
  expected = pooled @ params['Dense_0']['kernel'] + params['Dense_0']['bias']
  _assert_close(_apply(model, params, TOKENS), expected)


@pytest.mark.parametrize('pooling', ['last', 'mean', 'max'])
def test_a_row_of_padding_is_no_trouble(pooling):
  model = CLASSIFIER(pooling=pooling)
  params = _params(model)

  def loss(params):
    logits = model.apply({'params': params}, TOKENS, segments=0 * SEGMENTS, train=False)
    return jnp.sum(logits), logits

  gradient, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
  _assert_close(logits, np.tile(params['Dense_0']['bias'], (BATCH, 1)))
  assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))


def test_embedding_dropout_leaves_out_kinds_of_token():
  vocabulary, share, rows = 50, 0.3, 64
  model = RecurrentLanguageModel(vocabulary, width=8, embedding_dropout=share)
  tokens = np.tile(np.arange(vocabulary), (rows, 2))  # each token twice
  variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), tokens)

  @jax.jit
  def into_layer(variables, key):
    seen = []

    def see(call, args, kwargs, context):
      if context.module.name == 'layer_0':
        seen.append(args[0])
      return call(*args, **kwargs)

    with nn.intercept_methods(see):
      model.apply(variables, tokens, train=True, rngs={'dropout': key})
    return seen[0]

  embedded = variables['params']['embedding']['embedding'][tokens]
  kept = np.asarray(into_layer(variables, jax.random.key(0)) / embedded)
  np.testing.assert_allclose(
    kept, np.broadcast_to(kept[..., :1], kept.shape), rtol=1e-5)
  first, second = np.split(kept[..., 0] > 0.5, 2, axis=1)
  np.testing.assert_array_equal(first, second)
  np.testing.assert_allclose(kept[kept > 0.5], 1 / (1 - share), rtol=1e-5)
  assert len(np.unique(first, axis=0)) == rows
  assert first.mean() == pytest.approx(
    1 - share, abs=5 * math.sqrt(share * (1 - share) / first.size))


@pytest.mark.parametrize('model', [CLASSIFIER, LANGUAGE_MODEL])
@pytest.mark.parametrize('field', ['dropout', 'recurrent_dropout', 'embedding_dropout'])
def test_dropout_in_training_only(model, field):
  dropping, params = model(**{field: 0.5}), _params(model())
  expected = _apply(model(), params, TOKENS)
  _assert_close(_apply(dropping, params, TOKENS), expected, 0)
  first, second, again = (
    _apply(dropping, params, TOKENS, train=True, rngs={'dropout': jax.random.key(n)})
    for n in (0, 1, 0))
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, second, atol=1e-3)
  assert not np.allclose(first, expected, atol=1e-3)


# --- the language model ---------------------------------------------------------


@pytest.mark.parametrize('cell, tied', [(Lstm, True), (Gru, False)])
def test_language_model_is_causal(cell, tied):
  model = LANGUAGE_MODEL(cell=cell, tied=tied)
  params = _params(model)

  def logits(moved):
    """Of one text, [length, vocabulary], with the embeddings by position moved."""
    def move(call, args, kwargs, context):
      found = call(*args, **kwargs)
      here = context.module.name == 'embedding' and context.method_name == '__call__'
      return found + moved if here else found
    with nn.intercept_methods(move):
      return model.apply({'params': params}, TOKENS[:1], train=False)[0]

  reach = np.abs(jax.jit(jax.jacobian(logits))(jnp.zeros((LENGTH, 6)))).max((1, 3))
  assert np.all(reach[np.triu_indices(LENGTH, 1)] == 0)
  assert np.all(reach[np.tril_indices(LENGTH)] > 0)


@pytest.mark.parametrize('cell', CELLS)
@pytest.mark.parametrize('pieces', [[1] * LENGTH, [3, 1, 1, 2]])
def test_decoding_equals_the_whole(cell, pieces):
  model = LANGUAGE_MODEL(cell=cell)
  params = _params(model)
  expected = _apply(model, params, TOKENS)
  variables, found = {'params': params}, []
  for tokens in np.split(TOKENS, np.cumsum(pieces)[:-1], axis=1):
    logits, updated = _run(model, variables, tokens, decode=True, mutable=('cache',))
    variables = {'params': params, **updated}
    found.append(logits)
  _assert_close(jnp.concatenate(found, 1), expected)


@pytest.mark.parametrize('cell, states', [(Lstm, 2), (Gru, 1)])
def test_the_cache_begins_empty_and_goes_by_rows(cell, states):
  model = LANGUAGE_MODEL(cell=cell)
  made = jax.jit(partial(model.init, train=False, decode=True))(
    jax.random.key(0), TOKENS)
  leaves = jax.tree.leaves(made['cache'])
  assert len(leaves) == 2 * states
  assert all(leaf.shape == (BATCH, 6) and not np.any(leaf) for leaf in leaves)
  assert 'cache' not in jax.eval_shape(partial(model.init, train=False),
                                       jax.random.key(0), TOKENS)
  step = partial(_run, model, decode=True, mutable=('cache',))
  logits, updated = step(made, TOKENS)
  _assert_close((logits, updated), step({'params': made['params']}, TOKENS))
  # Rows of the cache in another order are texts in another order.
  order = np.array([2, 0, 0, 3])
  cache = jax.tree.map(lambda c: c[order], updated['cache'])
  found, _ = step({**made, 'cache': cache}, TOKENS[:, :1])
  longer = np.concatenate([TOKENS[order], TOKENS[:, :1]], 1)
  _assert_close(found[:, 0], _run(model, {'params': made['params']}, longer)[:, -1])


def test_prompts_of_several_lengths_are_decoded_padded():
  model = LANGUAGE_MODEL()
  params = _params(model)
  _, updated = _run(model, {'params': params}, TOKENS, segments=SEGMENTS, decode=True,
                    mutable=('cache',))
  found, _ = _run(model, {'params': params, **updated}, TOKENS[:, :1], decode=True,
                  mutable=('cache',))
  for row, length in enumerate(LENGTHS):
    text = np.concatenate([TOKENS[row, :length], TOKENS[row, :1]])[None]
    _assert_close(found[row, 0], _apply(model, params, text)[0, -1])


@pytest.mark.parametrize('cell', CELLS)
def test_packed_documents_equal_documents_alone(cell):
  model = LANGUAGE_MODEL(cell=cell)
  params = _params(model)
  segments = np.array([[1, 1, 1, 2, 2, 3, 0]] * BATCH)

  def gradient(cuts):
    def loss(params):
      found = [model.apply({'params': params}, TOKENS[:, a:b], train=False,
                           segments=None if s is None else s[:, a:b])
               for a, b, s in cuts]
      logits = jnp.concatenate(found, 1)[:, :6]
      return jnp.sum(logits**2), logits
    return jax.jit(jax.grad(loss, has_aux=True))(params)

  packed = gradient([(0, LENGTH, segments)])
  _assert_close(packed, gradient([(0, 3, None), (3, 5, None), (5, 6, None)]), 1e-4)


@pytest.mark.parametrize('tied', [True, False])
def test_language_model_has_the_parameters_it_says(tied):
  model = RecurrentLanguageModel(VOCABULARY, 6, tied=tied)
  params = _params(model)
  count = sum(p.size for p in jax.tree.leaves(params))
  lstm = 4 * 6 * (6 + 6 + 1)
  assert count == VOCABULARY * 6 * (1 if tied else 2) + VOCABULARY + lstm
  hidden, _ = _apply(Lstm(6), params['layer_0'],
                     params['embedding']['embedding'][TOKENS])
  kernel = (params['embedding']['embedding'].T if tied else params['logits']['kernel'])
  _assert_close(_apply(model, params, TOKENS), hidden @ kernel + params['bias'])


# --- training -------------------------------------------------------------------


def _trained(model, tokens, loss, steps=60):
  """The loss before and after some steps of Adam."""
  optimizer = optax.adam(0.02)
  params = jax.jit(partial(model.init, train=False))(jax.random.key(0), tokens)

  @jax.jit
  def train(params):
    def step(carried, _):
      params, state = carried
      value, grads = jax.value_and_grad(
        lambda p: loss(model.apply(p, tokens, train=True)).mean())(params)
      updates, state = optimizer.update(grads, state)
      return (optax.apply_updates(params, updates), state), value
    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1]

  values = train(params)
  return values[0], values[-1]


@pytest.mark.parametrize('cell', CELLS)
def test_classifier_learns_a_batch_by_heart(cell):
  labels = np.array([0, 1, 2, 1])
  first, last = _trained(
    RecurrentClassifier(VOCABULARY, 3, 16, 16, cell=cell), TOKENS,
    lambda z: optax.softmax_cross_entropy_with_integer_labels(z, labels))
  assert first == pytest.approx(math.log(3), rel=0.1)
  assert last < 0.02


@pytest.mark.parametrize('cell', CELLS)
def test_language_model_learns_a_batch_by_heart(cell):
  # The first token is the same, so that the second is anybody's guess: what is left of
  # the loss is that of four equally likely tokens at one place of six.
  tokens = TOKENS.copy()
  tokens[:, 0], tokens[:, 1] = 0, np.arange(1, 5)
  first, last = _trained(
    RecurrentLanguageModel(VOCABULARY, 32, cell=cell), tokens,
    lambda z: optax.softmax_cross_entropy_with_integer_labels(z[:, :-1], tokens[:, 1:]))
  assert first == pytest.approx(math.log(VOCABULARY), rel=0.1)
  assert last == pytest.approx(math.log(4) / (LENGTH - 1), abs=0.05)


# --- what they refuse -----------------------------------------------------------


@pytest.mark.parametrize(('fields', 'message'), [
  ({'dropout': 1.5}, 'dropout: must be >= 0 and < 1, got 1.5'),
  ({'recurrent_dropout': -1}, 'recurrent_dropout: must be >= 0'),
  ({'embedding_dropout': float('nan')}, 'embedding_dropout: must be >= 0'),
  ({'depth': 0}, 'depth: must be >= 1, got 0'),
  ({'width': 0}, 'width: must be >= 1, got 0'),
  ({'vocabulary': 0}, 'vocabulary: must be >= 1, got 0'),
  ({'cell': Lstm(3)}, 'cell: must be callable and make a layer.*; got Lstm'),
])
@pytest.mark.parametrize('model', [RecurrentClassifier, RecurrentLanguageModel])
def test_wrong_fields(model, fields, message):
  outputs = {'num_outputs': 2} if model is RecurrentClassifier else {}
  with pytest.raises(ValueError, match=message):
    model(**{'vocabulary': VOCABULARY, **outputs, **fields})


@pytest.mark.parametrize(('pooling', 'message'), [
  ('mena', "pooling: must be one of 'last', 'mean', 'max'; got 'mena'"),
  ('attention', "pooling: must be one of 'last', 'mean', 'max'; got 'attention'"),
])
def test_wrong_pooling(pooling, message):
  with pytest.raises(ValueError, match=message):
    CLASSIFIER(pooling=pooling)


@pytest.mark.parametrize('model', [CLASSIFIER, LANGUAGE_MODEL])
def test_wrong_shape(model):
  with pytest.raises(ValueError, match=r'inputs: must be tokens \[batch, length\]'):
    model().init(jax.random.key(0), TOKENS[0], train=False)
