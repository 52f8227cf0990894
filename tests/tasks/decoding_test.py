"""bigmodels.tasks.decoding: distributions, caches, and a search that finds all."""

import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models.gpt import Gpt, ModernGpt
from bigmodels.models.recurrent import RecurrentLanguageModel
from bigmodels.models.transformer import Transformer
from bigmodels.parallel import precision
from bigmodels.tasks import decoding

KEY = jax.random.PRNGKey(0)
SMALL = {'depth': 2, 'width': 16}
MODELS = {
  'gpt': Gpt(11, length=16, heads=4, **SMALL),
  'modern': ModernGpt(11, length=16, heads=4, kv_heads=2, **SMALL),
  'recurrent': RecurrentLanguageModel(11, **SMALL),
}


@pytest.mark.parametrize(('given', 'message'), [
  ({'tokens': 0}, 'tokens: must be >= 1, got 0'),
  ({'beams': 0}, 'beams: must be >= 1'), ({'top_k': 0}, 'top_k: must be >= 1'),
  ({'temperature': -1}, 'temperature: must be a number >= 0, got -1'),
  ({'temperature': float('nan')}, 'temperature: must be'),
  ({'penalty': -0.1}, 'penalty: must be'),
  ({'top_p': 0.0}, 'top_p: must be > 0 and <= 1, got 0'),
  ({'top_p': 1.1}, 'top_p: must be'), ({'top_p': float('nan')}, 'top_p: must be'),
  ({'tokens': 2.5}, 'tokens: must be an integer, got 2.5'),
  ({'top_k': '3'}, "top_k: must be an integer, got '3'"),
  ({'temperature': 'hot'}, "temperature: must be a number, got 'hot'"),
  ({'penalty': None}, 'penalty: must be a number, got None'),
  ({'stop': 'END'}, "stop: must be texts, such as .* got 'END'"),
  ({'stop': (3,)}, 'stop: must be texts'),
  ({'stop': ('a', '')}, 'stop: must be texts that are not empty'),
  ({'beams': 4, 'top_k': 3}, 'top_k: must be None with 4 beams'),
  ({'beams': 4, 'temperature': 0.5}, 'temperature: must be 1.0 with 4 beams'),
])
def test_settings_are_checked(given, message):
  with pytest.raises(ValueError, match=message):
    decoding.Settings(**given)


def test_room():
  for length in (None, 64):
    decoding.require_room(60, 5, length)  # the last one is never read
  with pytest.raises(decoding.TooLong) as error:
    decoding.require_room(65, 1, 64)
  assert error.value.room == 0
  assert str(error.value) == ("the prompt has 65 tokens; the model's length is 64")
  with pytest.raises(decoding.TooLong) as error:
    decoding.require_room(60, 256, 64)
  assert error.value.room == 5
  assert str(error.value) == ('the prompt has 60 tokens and 256 new tokens were '
                              "requested; the model's length is 64, which leaves room "
                              'for 5')


def test_text_before_the_first_stop():
  assert decoding.before('one two three', ('three', 'tw')) == 'one '
  assert decoding.before('one', ('two',)) == decoding.before('one', ()) == 'one'


# --- choose ---------------------------------------------------------------------


def distribution(logits, temperature=1.0, top_k=None, top_p=None):
  """Probabilities `[vocabulary]` by sorting, in float64."""
  p = np.exp((logits - np.max(logits)) / temperature)
  p /= p.sum()
  order = sorted(range(len(p)), key=lambda i: (-p[i], i))[:top_k]
  if top_p is not None:
    mass = np.cumsum(p[order]) / p[order].sum()
    order = order[: 1 + int((mass < top_p - 1e-6).sum())]
  kept = np.isin(np.arange(len(p)), order)
  return np.where(kept, p, 0) / p[kept].sum()


choose = jax.jit(decoding.choose, static_argnames=('temperature', 'top_k', 'top_p'))
LOGITS = np.log([0.05, 0.3, 0.2, 0.2, 0.15, 0.1])


@pytest.mark.parametrize('given', [
  {}, {'temperature': 0.5}, {'temperature': 3.0}, {'top_k': 1}, {'top_k': 2},
  {'top_k': 3, 'temperature': 2.0}, {'top_k': 100}, {'top_p': 1e-9}, {'top_p': 0.29},
  {'top_p': 0.31}, {'top_p': 0.6}, {'top_p': 1.0}, {'top_p': 0.55, 'top_k': 2},
  {'top_p': 0.65, 'top_k': 3, 'temperature': 0.7}], ids=str)
def test_draws_have_the_distribution(given):
  n = 20_000
  drawn = choose(KEY, np.broadcast_to(np.float32(LOGITS), (n, 6)), **given)
  assert drawn.dtype == jnp.int32
  found = np.bincount(drawn, minlength=6) / n
  expected = distribution(LOGITS, **given)
  np.testing.assert_array_equal(found > 0, expected > 0)  # the sets, exactly
  error = np.sqrt(expected * (1 - expected) / n)
  assert (np.abs(found - expected) <= 4.5 * error).all()


def test_the_likeliest_token():
  logits = jnp.array([[1.0, 3.0, 3.0], [-jnp.inf, -5.0, -jnp.inf], [1e30, 0.0, -1e30]])
  for given in ({'temperature': 0}, {'temperature': 0, 'top_p': 0.5}, {'top_k': 1},
                {'top_p': 1e-6}):
    assert choose(KEY, logits, **given).tolist() == [1, 1, 0]
  cold = choose(KEY, logits[1:], temperature=1e-30)
  assert cold.tolist() == [1, 0]


def test_what_cannot_be_is_never_drawn():
  logits = jnp.tile(jnp.array([-jnp.inf, 0.0, -jnp.inf, 0.0]), (500, 1))
  for given in ({}, {'top_k': 3}, {'top_p': 0.99}):
    assert set(choose(KEY, logits, **given).tolist()) == {1, 3}


def test_a_draw_does_not_depend_on_the_other_examples():
  logits = jax.random.normal(KEY, (7, 50))
  whole = choose(KEY, logits, top_k=40)
  np.testing.assert_array_equal(choose(KEY, logits[:3], top_k=40), whole[:3])
  same = choose(KEY, jnp.tile(logits[:1], (30, 1)))
  assert len(set(same.tolist())) > 5


# --- generate -------------------------------------------------------------------


@functools.cache
def language_model(model, size=16):
  """Advance of a small random model, its full forward pass, and the shapes seen."""
  shapes = jax.eval_shape(partial(model.init, train=False), KEY,
                          jnp.zeros((1, 4), jnp.int32))['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map_with_path(  # with much to say
    lambda path, p: np.float32((path[-1].key == 'scale') + rng.normal(
      0, 0.8, p.shape)), shapes)
  seen = []

  def advance(cache, tokens, segments):
    seen.append((tokens.shape, {x.dtype.name for x in jax.tree.leaves(cache)}))
    return model.apply({'params': params, **(cache or {})}, tokens, segments=segments,
                       decode=size, train=False, mutable=['cache'])

  full = jax.jit(lambda tokens: model.apply({'params': params}, tokens, train=False))
  return advance, full, seen


def greedy(full, prompts, count):
  """The likeliest tokens, of the whole text again for every one; none looks ahead."""
  text = np.array([np.pad(tokens, (0, 16 - len(tokens))) for tokens in prompts])
  rows, ends = np.arange(len(prompts)), np.array([len(tokens) for tokens in prompts])
  for i in range(count):
    text[rows, ends + i] = np.argmax(np.asarray(full(text))[rows, ends + i - 1], -1)
  return text[rows[:, None], np.add.outer(ends, np.arange(count))]


def compiled(advance, **given):
  return jax.jit(partial(decoding.generate, advance, **given))


@pytest.mark.parametrize('name', MODELS)
def test_with_a_cache_as_without(name):
  advance, full, _ = language_model(MODELS[name])
  tokens = jax.random.randint(KEY, (3, 6), 0, 11)
  found, lengths = compiled(advance, count=10, temperature=0)(
    tokens, jnp.ones_like(tokens), KEY)
  np.testing.assert_array_equal(found, greedy(full, tokens, 10))
  assert lengths.tolist() == [10] * 3 and found.dtype == lengths.dtype == jnp.int32
  assert len(np.unique(found)) > 2


@pytest.mark.parametrize('name', MODELS)
def test_prompts_of_several_lengths(name):
  advance, full, _ = language_model(MODELS[name])
  tokens = np.array(jax.random.randint(KEY, (3, 6), 1, 11))
  lengths = (6, 1, 3)
  segments = (np.arange(6) >= 6 - np.array(lengths)[:, None]).astype(np.int32)
  found, _ = compiled(advance, count=10, temperature=0)(tokens, segments, KEY)
  alone = [tokens[row, 6 - length:] for row, length in enumerate(lengths)]
  np.testing.assert_array_equal(found, greedy(full, alone, 10))


def test_one_program_with_one_loop():
  advance, _, seen = language_model(MODELS['gpt'])
  seen.clear()
  run = compiled(advance, count=10, top_k=5)
  for seed in range(3):
    run(jax.random.randint(jax.random.PRNGKey(seed), (2, 6), 0, 11),
        jnp.ones((2, 6), jnp.int32), jax.random.PRNGKey(seed))
  assert run._cache_size() == 1
  # Traced for the prompts and for one token: not again for each one.
  assert {shape for shape, _ in seen} == {(2, 6), (2, 1)} and len(seen) <= 3


def test_a_cache_in_bfloat16_stays_that():
  model = precision.in_precision(MODELS['modern'], 'bfloat16')
  advance, full, seen = language_model(model)
  tokens = jax.random.randint(KEY, (2, 6), 0, 11)
  found, _ = compiled(advance, count=10, temperature=0)(
    tokens, jnp.ones_like(tokens), KEY)
  assert seen[0][1] == set() and seen[1][1] == {'bfloat16', 'int32'}
  # As with no cache; the logits are rounded in other places, but far enough apart.
  assert (found == greedy(full, tokens, 10)).mean() > 0.8


def test_the_draws_of_a_token_do_not_depend_on_how_many_follow():
  advance, _, _ = language_model(MODELS['gpt'])
  tokens = jax.random.randint(KEY, (2, 6), 0, 11)
  long, short = (compiled(advance, count=n) for n in (10, 4))
  ones = jnp.ones_like(tokens)
  found, _ = long(tokens, ones, KEY)
  np.testing.assert_array_equal(short(tokens, ones, KEY)[0], found[:, :4])
  assert (long(tokens, ones, jax.random.PRNGKey(1))[0] != found).any()


def counting(calls):
  """A model of 10 tokens whose likeliest is the last one plus 1."""

  def advance(cache, tokens, segments):
    jax.debug.callback(lambda: calls.append(1))
    return jax.nn.one_hot(tokens + 1, 10), jnp.zeros(())

  return advance


def test_tokens_that_stop():
  prompts = jnp.array([[9, 4], [8, 5], [1, 2], [0, 0]])
  tokens, lengths = compiled(
    counting([]), count=4, temperature=0, stop_tokens=(8, 3))(
    prompts, jnp.ones_like(prompts), KEY)
  assert tokens.tolist() == [[5, 6, 7, 0], [6, 7, 0, 0], [0] * 4, [1, 2, 0, 0]]
  assert lengths.tolist() == [3, 2, 0, 2]


def test_it_ends_when_all_have_stopped():
  calls = []
  prompts, ones = jnp.array([[4], [1], [0]]), jnp.ones((3, 1), jnp.int32)
  tokens, lengths = compiled(counting(calls), count=1000, temperature=0,
                             stop_tokens=(5,))(prompts, ones, KEY)
  jax.effects_barrier()
  assert lengths.tolist() == [0, 3, 4] and len(calls) == 5
  assert tokens[:, :5].tolist() == [[0] * 5, [2, 3, 4, 0, 0], [1, 2, 3, 4, 0]]
  assert not tokens[:, 5:].any()


def test_the_last_token_is_not_read():
  calls = []
  compiled(counting(calls), count=3, temperature=0)(
    jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), jnp.int32), KEY)
  jax.effects_barrier()
  assert len(calls) == 3


def test_a_text_begins_with_something():
  with pytest.raises(ValueError, match='tokens: must have at least one token'):
    decoding.generate(counting([]), jnp.zeros((2, 0), jnp.int32),
                      jnp.zeros((2, 0), jnp.int32), KEY, count=3)


# --- beam search ----------------------------------------------------------------

VOCABULARY, STEPS, END = 5, 4, 2


def tables(batch, seed=0):
  """Logits after every prefix, which has a number: `[batch, prefixes, vocabulary]`."""
  return np.random.default_rng(seed).normal(size=(batch, 156, VOCABULARY)) * 1.5


def reading(table):
  """Logits that depend on all tokens before."""
  batch = len(table)

  def advance(cache, tokens):
    if cache is None:
      cache = {'index': jnp.int32(0), 'prefix': jnp.zeros((len(tokens),), jnp.int32),
               'example': jnp.repeat(jnp.arange(batch), len(tokens) // batch)[None]}
    else:
      prefix = cache['prefix'] * VOCABULARY + tokens[:, 0] + 1
      cache = {**cache, 'index': cache['index'] + 1, 'prefix': prefix}
    return table[cache['example'][0], cache['prefix']][:, None], cache

  return advance


def exhaustive(table, penalty):
  """Every text of one example with its score, best first."""
  found, parts = {}, table - np.log(np.exp(table).sum(-1, keepdims=True))
  for text in itertools.product(range(VOCABULARY), repeat=STEPS):
    length = text.index(END) + 1 if END in text else STEPS
    prefix, total = 0, 0.0
    for token in text[:length]:
      total += parts[prefix, token]
      prefix = prefix * VOCABULARY + token + 1
    text = (*text[:length], *[END] * (STEPS - length))
    found[text] = total / ((5 + length) / 6) ** penalty
  return sorted(found.items(), key=lambda item: -item[1])


@partial(jax.jit, static_argnames=('beams', 'penalty'))
def searched(table, **given):
  return decoding.beam_search(reading(table), None, jnp.full(len(table), 4),
                              count=STEPS, end=END, **given)


def search(table, **given):
  texts, scores = searched(jnp.float32(table), **given)
  assert texts.dtype == jnp.int32 and scores.dtype == jnp.float32
  return np.asarray(texts), np.asarray(scores)


@pytest.mark.parametrize('penalty', [0.0, 0.6, 2.0])
def test_wide_enough_a_search_finds_all(penalty):
  table = tables(2)
  texts, scores = search(table, beams=VOCABULARY**STEPS, penalty=penalty)
  for row in range(2):
    expected = exhaustive(table[row], penalty)
    n = len(expected)
    assert n == 1 + 4 + 16 + 64 + 256
    np.testing.assert_allclose(scores[row, :n], [s for _, s in expected], rtol=1e-4)
    assert (scores[row, n:] == -np.inf).all()
    assert {tuple(t) for t in texts[row, :n].tolist()} == {t for t, _ in expected}
    assert [tuple(t) for t in texts[row, :10].tolist()] == [t for t, _ in expected[:10]]


@pytest.mark.parametrize('seed', range(5))
def test_one_beam_takes_the_likeliest_token(seed):
  table = tables(8, seed)
  texts, scores = search(table, beams=1)
  for row in range(8):
    prefix, text = 0, []
    while len(text) < STEPS and END not in text:
      text.append(int(table[row, prefix].argmax()))
      prefix = prefix * VOCABULARY + text[-1] + 1
    text = (*text, *[END] * (STEPS - len(text)))
    assert tuple(texts[row, 0].tolist()) == text
    expected = dict(exhaustive(table[row], 0.6))[text]
    np.testing.assert_allclose(scores[row, 0], expected, rtol=1e-4)


@pytest.mark.parametrize('beams', [2, 3, 4, 8])
def test_scores_are_those_of_the_texts(beams):
  table = tables(20, seed=beams)
  texts, scores = search(table, beams=beams)
  narrow = search(table, beams=1)[1]
  found = 0
  for row in range(20):
    expected = exhaustive(table[row], 0.6)
    for text, score in zip(texts[row].tolist(), scores[row], strict=True):
      np.testing.assert_allclose(score, dict(expected)[tuple(text)], rtol=1e-4)
    assert len({tuple(t) for t in texts[row].tolist()}) == beams
    assert (np.diff(scores[row]) <= 0).all()
    found += tuple(texts[row, 0].tolist()) == expected[0][0]
  assert scores[:, 0].mean() >= narrow[:, 0].mean()
  assert found >= {2: 8, 3: 10, 4: 12, 8: 16}[beams]


def test_examples_do_not_touch_each_other():
  table = tables(6, seed=9)
  texts, scores = search(table, beams=3)
  for row in range(6):
    found = search(table[row : row + 1], beams=3)
    np.testing.assert_array_equal(found[0][0], texts[row])
    np.testing.assert_allclose(found[1][0], scores[row], rtol=1e-6)


def test_a_search_ends_when_as_many_texts_have_ended():
  calls = []

  def advance(cache, tokens):
    jax.debug.callback(lambda: calls.append(1))
    step = jnp.zeros(len(tokens), jnp.int32) if cache is None else cache + 1
    ends = jnp.where(step[:, None] < 2, jnp.log(jnp.array([0.5, 0.3, 0.2])),
                     jnp.log(jnp.array([0.05, 0.05, 0.9])))
    return ends[:, None], step

  texts, scores = jax.jit(lambda first: decoding.beam_search(
    advance, None, first, beams=3, count=500, end=END))(jnp.full(1, 4))
  jax.effects_barrier()
  assert len(calls) <= 5
  assert (texts[0] == END).any(1).all() and np.isfinite(scores).all()


@pytest.fixture(scope='module')
def translator():
  """A model, its variables, sources, their segments, and what it makes of them."""
  model = Transformer(11, depth=2, width=16, heads=4)
  source = jax.random.randint(KEY, (3, 6), 3, 11)
  segments = jnp.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])
  variables = jax.jit(partial(model.init, train=False))(KEY, source, source)
  variables = jax.tree.map(lambda x: 1.5 * x, variables)
  memory = jax.jit(partial(model.apply, train=False, method='encode'))(
    variables, source, segments=segments)
  return model, variables, source, segments, memory


@pytest.mark.parametrize('beams', [1, 4])
def test_a_translation_scores_as_in_one_pass(translator, beams):
  model, variables, source, segments, memory = translator
  one_pass = jax.jit(partial(model.apply, train=False))
  end, count = 2, 7

  def advance(cache, tokens):
    return model.apply(
      {**variables, **(cache or {})}, tokens, memory, segments=segments, decode=count,
      train=False, method='decode', mutable=['cache'])

  first = jnp.ones(3, jnp.int32)
  texts, scores = jax.jit(lambda first: decoding.beam_search(
    advance, None, first, beams=beams, count=count, end=end))(first)
  for beam in range(beams):
    text = np.asarray(texts[:, beam])
    inputs = np.concatenate([np.ones((3, 1), int), text[:, :-1]], 1)
    logits = one_pass(variables, source, inputs, segments=segments)
    parts = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), text[..., None],
                               2)[..., 0]
    ended = np.cumsum(text == end, 1)
    counts = (ended == 0) | ((ended == 1) & (text == end))
    total = np.where(counts, parts, 0).sum(1) / ((5 + counts.sum(1)) / 6) ** 0.6
    np.testing.assert_allclose(scores[:, beam], total, rtol=1e-4)


def test_a_search_goes_on_from_a_cache():
  advance, full, _ = language_model(MODELS['modern'])
  tokens = jax.random.randint(KEY, (2, 6), 0, 11)

  def read(n):
    return advance(None, jnp.zeros((n, 5), jnp.int32), jnp.ones((n, 5), jnp.int32))[1]

  axes = decoding.batch_axes(read)
  assert set(jax.tree.leaves(axes)) == {0, 1, -1}  # places, scanned blocks, an index
  _, cache = jax.jit(partial(advance, None))(
    tokens[:, :-1], jnp.ones((2, 5), jnp.int32))

  def go_on(cache, tokens):
    return advance(cache, tokens, jnp.ones_like(tokens))

  given = {'count': 8, 'end': 10, 'penalty': 0.0}
  texts, scores = jax.jit(lambda cache, first: decoding.beam_search(
    go_on, cache, first, beams=3, axes=axes, **given))(cache, tokens[:, -1])
  for beam in range(3):
    whole = jnp.concatenate([tokens, texts[:, beam]], 1)
    parts = jnp.take_along_axis(
      jax.nn.log_softmax(full(whole))[:, 5:-1], texts[:, beam, :, None], 2)[..., 0]
    counts = np.cumsum(texts[:, beam] == 10, 1) - (texts[:, beam] == 10) == 0
    np.testing.assert_allclose(scores[:, beam], jnp.where(counts, parts, 0).sum(1),
                               rtol=1e-4)
  with pytest.raises(ValueError, match='axes: must be'):
    decoding.beam_search(go_on, cache, tokens[:, -1], beams=3, **given)


def test_a_cache_with_two_batch_axes_is_refused():
  with pytest.raises(ValueError, match='more than one axis'):
    decoding.batch_axes(lambda n: {'a': jnp.zeros((n, 3)), 'b': jnp.zeros((n, n))})
