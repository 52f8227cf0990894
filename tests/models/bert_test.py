"""Tests of bigmodels.models.bert: who sees whom, and counts."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Bert, BertClassifier, BertSpans, MaskedBert
from bigmodels.parallel.precision import in_precision

VOCABULARY, LENGTH = 31, 8
SMALL = Bert(VOCABULARY, LENGTH, depth=2, width=24, heads=4)
TOKENS = np.random.default_rng(0).integers(VOCABULARY, size=(2, LENGTH))


def variables_of(model):
  """Larger than the initial values, at which each text is nearly the same."""
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), TOKENS)
  rng = np.random.default_rng(1)
  return jax.tree.map_with_path(
    lambda path, p: np.float32((path[-1].key == 'scale') + rng.normal(
      0, 0.1, p.shape)), shapes)


@partial(jax.jit, static_argnums=0)
def answer(model, variables, tokens, segments=None):
  return model.apply(variables, tokens, segments=segments, train=False)


def assert_close(actual, expected, tolerance=2e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


def count(model):
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0),
                          jax.ShapeDtypeStruct((1, 8), jnp.int32))
  return sum(math.prod(p.shape) for p in jax.tree.leaves(shapes['params']))


# --- who sees whom --------------------------------------------------------------


def test_padding_on_the_right_changes_nothing():
  model, segments = MaskedBert(SMALL), (np.arange(LENGTH) < 5).astype(np.int32)[None]
  variables = variables_of(model)

  def loss(variables, tokens, segments):
    logits = model.apply(variables, tokens, segments=segments, train=False)[:, :5]
    return jnp.sum(jnp.sin(logits)), logits

  graded = jax.jit(jax.value_and_grad(loss, has_aux=True))
  alone = graded(variables, TOKENS[:1, :5], None)
  assert_close(graded(variables, TOKENS[:1], segments), alone, 1e-4)


def test_types_matter_and_padding_does_not_change_spans():
  model, variables = BertSpans(SMALL), variables_of(BertSpans(SMALL))
  types = np.array([[0, 0, 1, 1, 1]])
  short = TOKENS[:1, :5]
  spans = jax.jit(partial(model.apply, train=False))
  alone = spans(variables, short, types=types)
  assert alone.shape == (1, 5, 2)
  padded = spans(variables, TOKENS[:1], types=np.pad(types, ((0, 0), (0, 3))),
                 segments=(np.arange(LENGTH) < 5).astype(np.int32)[None])
  assert_close(padded[:, :5], alone, 1e-4)
  assert not np.allclose(spans(variables, short), alone)
  assert_close(spans(variables, short, types=0 * types), spans(variables, short))


def test_documents_in_one_row_do_not_see_each_other():
  model = MaskedBert(SMALL)
  variables = variables_of(model)
  segments = np.array([[1, 1, 1, 2, 2, 2, 2, 0]] * 2)
  found = np.asarray(answer(model, variables, TOKENS, segments))
  for here in (slice(0, 3), slice(3, 7)):
    assert_close(found[:, here], answer(model, variables, TOKENS[:, here]))


def test_all_tokens_see_each_other_and_know_their_place():
  model = MaskedBert(SMALL)
  variables, other = variables_of(model), TOKENS.copy()
  before = np.asarray(answer(model, variables, TOKENS))
  for place in (0, LENGTH - 1):
    other = TOKENS.copy()
    other[:, place] = (other[:, place] + 1) % VOCABULARY
    moved = np.abs(answer(model, variables, other) - before).max(-1)
    assert np.all(moved > 1e-4)
  turned = answer(model, variables, TOKENS[:, ::-1])[:, ::-1]
  assert np.abs(turned - before).max() > 1e-2


def test_a_classifier_reads_the_first_token_and_no_padding():
  model = BertClassifier(SMALL, 3)
  variables, other = variables_of(model), TOKENS.copy()
  other[:, 5:] = 0
  segments = np.broadcast_to((np.arange(LENGTH) < 5).astype(np.int32), TOKENS.shape)
  found = answer(model, variables, TOKENS, segments)
  assert found.shape == (2, 3)
  np.testing.assert_array_equal(found, answer(model, variables, other, segments))
  assert_close(found, answer(model, variables, TOKENS[:, :5]))


def test_sentence_types_make_a_difference():
  variables = variables_of(SMALL)
  types = np.repeat([[0, 1]], 4, axis=1)
  apply = jax.jit(partial(SMALL.apply, train=False))
  found = apply(variables, TOKENS)
  assert_close(found, apply(variables, TOKENS, types=np.zeros((2, LENGTH), int)))
  assert np.abs(found - apply(variables, TOKENS, types=types)).max() > 1e-2


# --- counts and values ----------------------------------------------------------


def test_counts_of_bert():
  # Hugging Face's bert-base-uncased and bert-large-uncased: with the pooler, which
  # only our classifier has, 109,482,240 and 335,141,888.
  for width, fields, whole in ((768, {}, 109_482_240), (1024, {
      'depth': 24, 'width': 1024, 'heads': 16}, 335_141_888)):
    pooler = width * width + width
    assert count(Bert(30_522, **fields)) == whole - pooler
    assert count(BertClassifier(Bert(30_522, **fields), 2)) == whole + 2 * width + 2
    # BertForMaskedLM: a dense layer, a norm, and a bias for every token.
    assert count(MaskedBert(Bert(30_522, **fields))) == (
      whole - pooler + width * width + 3 * width + 30_522)


def test_it_begins_by_knowing_nothing():
  model = MaskedBert(Bert(512, LENGTH, depth=4, width=64, heads=4))
  tokens = np.random.default_rng(0).integers(512, size=(4, LENGTH))
  variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), tokens)
  logits = np.asarray(jax.nn.log_softmax(answer(model, variables, tokens)))
  assert -logits.mean() == pytest.approx(math.log(512), abs=0.1)
  kernel = variables['params']['encoder']['blocks']['block']['feed_forward']['in']
  # As in their code, a normal of 0.02 whose values beyond two of it are drawn again.
  assert np.std(kernel['kernel']) == pytest.approx(0.02 * 0.8796, rel=0.03)


def test_bfloat16_stays_near_float32():
  model = MaskedBert(SMALL)
  variables = variables_of(model)
  expected = answer(model, variables, TOKENS)
  found = answer(in_precision(model, 'bfloat16'), variables, TOKENS)
  assert found.dtype == jnp.float32
  assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


# --- what it refuses ------------------------------------------------------------


@pytest.mark.parametrize('fields, message', [
  ({'heads': 5}, 'heads: must divide the width, 768, got 5'),
  ({'depth': 0}, 'depth: must be >= 1, got 0'),
  ({'types': 0}, 'types: must be >= 1, got 0'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'attention_dropout': 2.0}, 'attention_dropout: must be >= 0'),
])
def test_wrong_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    Bert(VOCABULARY, **fields)


def test_a_text_that_is_too_long():
  with pytest.raises(ValueError, match=r'9 tokens is longer than the model accepts: 8'):
    SMALL.init(jax.random.key(0), np.zeros((1, 9), int), train=False)
