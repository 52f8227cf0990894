"""Tests of bigmodels.models.dual_encoder."""

from functools import partial

import jax
import numpy as np

from bigmodels.models import BagOfWords, Bert, DualEncoder

MODEL = DualEncoder(
  Bert(20, length=8, depth=1, width=16, heads=2, unroll=True), width=6)
RNG = np.random.default_rng(0)
CONTEXTS, RESPONSES = RNG.integers(1, 20, (2, 6)), RNG.integers(1, 20, (2, 3, 6))


def variables():
  made = jax.eval_shape(partial(MODEL.init, train=False), jax.random.key(0), CONTEXTS,
                        RESPONSES)
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: np.float32(0.4 * rng.normal(size=x.shape)), made)


def vectors(*inputs, **segments):
  return jax.jit(partial(MODEL.apply, train=False))(variables(), *inputs, **segments)


def test_vectors_have_the_length_of_the_scale():
  contexts, responses = vectors(CONTEXTS, RESPONSES)
  scale = np.exp(variables()['params']['log_scale'])
  np.testing.assert_allclose(np.linalg.norm(contexts, axis=-1), scale, rtol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(responses, axis=-1), 1, rtol=1e-5)
  assert contexts.shape == (2, 6) and responses.shape == (2, 3, 6)


def test_a_candidate_alone_and_padding_change_nothing():
  contexts, responses = vectors(CONTEXTS, RESPONSES)
  _, alone = vectors(CONTEXTS, RESPONSES[:, 1:2])
  np.testing.assert_allclose(alone[:, 0], responses[:, 1], rtol=1e-4, atol=1e-5)

  def wide(x):
    return np.concatenate([x, np.full((*x.shape[:-1], 2), 7)], -1)

  marks = [(np.arange(8) < 6).astype(np.int32) * np.ones_like(wide(x))
           for x in (CONTEXTS, RESPONSES)]
  padded = vectors(wide(CONTEXTS), wide(RESPONSES), segments=marks[0],
                   response_segments=marks[1])
  for one, two in zip((contexts, responses), padded, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_the_scale_begins_as_set():
  made = jax.jit(partial(MODEL.init, train=False))(
    jax.random.key(0), CONTEXTS, RESPONSES)
  np.testing.assert_allclose(made['params']['log_scale'], np.log(10), rtol=1e-6)


def test_at_first_texts_with_the_same_words_are_nearest():
  model = DualEncoder(BagOfWords(20, width=64, dropout=0.0), width=64, dropout=0.0)
  responses = np.stack([CONTEXTS[:, ::-1], *RESPONSES.transpose(1, 0, 2)], 1)
  made = jax.jit(partial(model.init, train=False))(
    jax.random.key(0), CONTEXTS, responses)
  contexts, found = jax.jit(partial(model.apply, train=False))(
    made, CONTEXTS, responses)
  products = np.einsum('bd,bcd->bc', contexts, found)
  np.testing.assert_allclose(products[:, 0], 10, rtol=1e-5)
  assert (products[:, 1:] < 9.9).all()
