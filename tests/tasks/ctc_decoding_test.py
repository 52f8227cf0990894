"""Tests of the decoding of CTC: against all alignments of small outputs."""

import collections
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.data import sources, statistics
from bigmodels.tasks import ctc_decoding
from tests.losses.alignments import collapsed

RNG = np.random.default_rng(1)
TOKENS = 3


def every_text(logits):
  """Text -> log probability, over all alignments."""
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  found = collections.defaultdict(lambda: -np.inf)
  for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
    text = collapsed(path)
    found[text] = np.logaddexp(
      found[text], sum(logs[t, c] for t, c in enumerate(path)))
  return dict(found)


def text_of(tokens):
  ids = [int(token) for token in tokens]
  assert not any(ids[ids.index(0) :] if 0 in ids else [])
  return tuple(token for token in ids if token)


def test_greedy_is_the_likeliest_alignment():
  logits = RNG.normal(size=(20, 7, 4)).astype(np.float32)
  lengths = RNG.integers(0, 8, 20)
  found = ctc_decoding.greedy(jnp.asarray(logits), jnp.asarray(lengths))
  for row, length in enumerate(lengths):
    assert text_of(found[row]) == collapsed(logits[row, :length].argmax(-1).tolist())


def test_a_wide_search_finds_every_text_with_its_probability():
  logits = RNG.normal(0, 1.5, (6, 5, TOKENS)).astype(np.float32)
  lengths = np.array([5, 5, 4, 5, 2, 5])
  texts, scores = jax.jit(partial(ctc_decoding.prefix_beams, beams=64))(
    logits, lengths)
  for row, length in enumerate(lengths):
    expected = every_text(logits[row, :length].astype(np.float64))
    ranked = sorted(expected.values(), reverse=True)
    best = min(len(ranked), 10)
    np.testing.assert_allclose(scores[row, :best], ranked[:best], atol=1e-4)
    for text, score in zip(texts[row, :best], scores[row], strict=False):
      np.testing.assert_allclose(expected[text_of(text)], score, atol=1e-4)


def in_python(logs, beams):
  """The search of Hannun et al. with dictionaries."""
  state = {(): (0.0, -np.inf)}
  for at in logs:
    new = collections.defaultdict(lambda: [-np.inf, -np.inf])
    for prefix, (blank, other) in state.items():
      both = np.logaddexp(blank, other)
      new[prefix][0] = np.logaddexp(new[prefix][0], both + at[0])
      for token in range(1, len(at)):
        longer, same = (*prefix, token), prefix and prefix[-1] == token
        if same:
          new[prefix][1] = np.logaddexp(new[prefix][1], other + at[token])
        new[longer][1] = np.logaddexp(
          new[longer][1], (blank if same else both) + at[token])
    # An extension of a prefix that is pruned adds to no other prefix.
    state = dict(sorted(new.items(), key=lambda item: -np.logaddexp(*item[1]))[:beams])
  return sorted(((np.logaddexp(*pair), prefix) for prefix, pair in state.items()),
                reverse=True)


def test_a_narrow_search_is_that_of_dictionaries():
  beams = 3
  logits = RNG.normal(0, 1.5, (8, 9, 5)).astype(np.float32)
  texts, scores = jax.jit(partial(ctc_decoding.prefix_beams, beams=beams))(
    logits, np.full(8, 9))
  for row, each in enumerate(logits.astype(np.float64)):
    expected = in_python(each - np.log(np.exp(each).sum(-1, keepdims=True)), beams)
    for place, (score, prefix) in enumerate(expected):
      np.testing.assert_allclose(scores[row, place], score, atol=1e-4)
      assert text_of(texts[row, place]) == prefix


def counts_of(labels, order):
  dataset = sources.in_memory({'labels': labels}, None)
  return statistics.ngram_counts(dataset, order)


LABELS = np.array([[1, 2, 1, 2, 0], [2, 2, 0, 0, 0], [1, 0, 0, 0, 0]], np.uint16)


def test_ngrams_are_counted_with_beginnings_and_ends():
  found = counts_of(LABELS, 2)
  texts = [[0, 1, 2, 1, 2, 0], [0, 2, 2, 0], [0, 1, 0]]
  expected = collections.Counter()
  for text in texts:
    expected.update(' '.join(map(str, pair)) for pair in itertools.pairwise(text))
    expected.update(map(str, text[1:]))
  assert found == dict(expected)


def witten_bell(texts, history, token, tokens):
  """The recursion of the definition, over lists."""
  if history is None:
    return 1 / tokens
  size = len(history)
  following = [text[i + size] for text in texts for i in range(len(text) - size)
               if tuple(text[i : i + size]) == history and i + size >= ORDER - 1]
  shorter = witten_bell(texts, history[1:] if history else None, token, tokens)
  if not following:
    return shorter
  kinds = len(set(following))
  return (following.count(token) + kinds * shorter) / (len(following) + kinds)


ORDER = 3


def test_ngrams_are_those_of_witten_and_bell():
  model = ctc_decoding.ngrams(counts_of(LABELS, ORDER), ORDER, TOKENS)
  texts = [[0, 0, *(c for c in row if c), 0] for row in LABELS.tolist()]
  for history in itertools.product(range(TOKENS), repeat=ORDER - 1):
    expected = [witten_bell(texts, history, c, TOKENS) for c in range(TOKENS)]
    row = history[0] * TOKENS + history[1]
    np.testing.assert_allclose(np.exp(model.table[row]), expected, rtol=1e-5)
    np.testing.assert_allclose(sum(expected), 1)
  with pytest.raises(ValueError, match='order: 1,000 tokens allow at most 2, got 3'):
    ctc_decoding.ngrams({}, 3, 1000)


def test_ngrams_and_bonus_are_added_to_the_scores():
  model = ctc_decoding.ngrams(counts_of(LABELS, ORDER), ORDER, TOKENS)
  logits = RNG.normal(0, 1.0, (4, 4, TOKENS)).astype(np.float32)
  texts, scores = jax.jit(partial(
    ctc_decoding.prefix_beams, beams=64, model=model, weight=0.7, bonus=0.3))(
      logits, np.full(4, 4))

  def extra(text):
    tokens = [0, 0, *text, 0]
    logs = [model.table[tokens[i] * TOKENS + tokens[i + 1], tokens[i + 2]]
            for i in range(len(text) + 1)]
    return 0.7 * sum(logs) + 0.3 * len(text)

  for row, each in enumerate(logits.astype(np.float64)):
    ranked = sorted(((score + extra(text), text) for text, score in
                     every_text(each).items()), reverse=True)
    assert text_of(texts[row, 0]) == ranked[0][1]
    np.testing.assert_allclose(scores[row, :5], [s for s, _ in ranked[:5]], atol=1e-4)
