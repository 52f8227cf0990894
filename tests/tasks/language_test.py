"""Tests of bigmodels.tasks.language: scores against NumPy, and what BERT is shown."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.tokenizers import Bytes, Characters, Words
from bigmodels.models import Bert, Gpt, MaskedBert, RecurrentClassifier
from bigmodels.parallel.random import slice_key
from bigmodels.tasks import decoding, masked_token, next_token

KEY = jax.random.PRNGKey(0)
SPECIAL = ('pad', 'unknown', 'end', 'mask', 'class')
PLAIN = ('a', 'bb', 'ccc', 'dddd', 'f', 'éé')  # their ids follow on the special ones
BYTES = np.array([0] * 5 + [1, 2, 3, 4, 1, 4])
WORDS = tokenizers.load(Words(11, special=SPECIAL).fit([' '.join(PLAIN)]))
MASK, CLASS = SPECIAL.index('mask'), SPECIAL.index('class')
GPT = Gpt(11, length=12, depth=1, width=8, heads=2, unroll=True)


def drawn(task, batch):
  """Parameters with more to say than those that training begins with."""
  rng = np.random.default_rng(6)
  params, model_state = jax.eval_shape(task.init, KEY, batch)
  assert model_state == {}

  def draw(path, x):
    scale, shift = {'scale': (0.2, 1), 'kernel': (1, 0)}.get(path[-1].key, (0.3, 0))
    return np.float32(shift + scale * rng.normal(size=x.shape))

  return jax.tree_util.tree_map_with_path(draw, params)


def log_softmax(logits):
  logits = np.asarray(logits, np.float64)
  shifted = logits - logits.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_the_words_are_where_this_file_expects_them():
  assert [WORDS.decode([i]) for i in range(5, 11)] == list(PLAIN)
  assert WORDS.special == {name: i for i, name in enumerate(SPECIAL)}


# --- the next token -------------------------------------------------------------


def blocks(rows=4, length=8, masked=(2,), seed=0):
  """Two documents and padding in each row; some labels are not asked for."""
  rng = np.random.default_rng(seed)
  segments = np.tile([1, 1, 1, 2, 2, 2, 2, 0][:length], (rows, 1)).astype(np.int32)
  return {
    'inputs': rng.integers(5, 11, (rows, length)).astype(np.uint16),
    'labels': rng.integers(2, 11, (rows, length)).astype(np.uint16),
    'segments': segments,
    'weights': ((rng.random((rows, length)) < 0.7) & (segments > 0)).astype(np.uint8),
    'mask': np.isin(np.arange(rows), masked, invert=True).astype(np.float32)}


@pytest.fixture(scope='module')
def gpt():
  """A task, parameters, and its loss, compiled."""
  task = next_token(GPT, tokenizer=WORDS)
  loss = jax.jit(jax.value_and_grad(
    lambda params, batch: task.loss(params, {}, batch, KEY, False), has_aux=True))
  return task, drawn(task, blocks()), loss


def test_scores_of_the_next_token_equal_numpy(gpt):
  task, params, loss = gpt
  batch = blocks()
  logits = full(params, batch['inputs'], batch['segments'])
  batch['labels'][:, 1::3] = np.asarray(logits).argmax(-1)[:, 1::3]  # some are right
  (value, (_, sums, outputs)), _ = loss(params, batch)
  counted = (batch['weights'] > 0) & (batch['mask'][:, None] > 0)
  labels = batch['labels'].astype(int)
  nats = -np.take_along_axis(log_softmax(logits), labels[..., None], -1)[..., 0]
  right = np.asarray(logits).argmax(-1) == labels
  assert 0 < right[counted].sum() < counted.sum() < counted.size
  expected = {'loss': (nats[counted].sum(), counted.sum()),
              'accuracy': (right[counted].sum(), counted.sum()),
              'bits_per_byte': (nats[counted].sum() / np.log(2),
                                BYTES[labels][counted].sum())}
  assert sums.keys() == expected.keys()
  for name in sums:
    np.testing.assert_allclose(sums[name], expected[name], rtol=1e-5)
  assert value == pytest.approx(nats[counted].mean(), rel=1e-5)
  assert (BYTES[labels][counted] == 0).any()  # an 'end' costs bits and has no bytes
  perplexity = task.summarize(jax.device_get(outputs))['perplexity']
  assert perplexity == pytest.approx(np.exp(nats[counted].mean()), rel=1e-5)
  bits = sums['bits_per_byte'][0] / sums['loss'][1]  # a token
  assert perplexity == pytest.approx(float(2**bits), rel=1e-5)


def test_halves_of_a_batch_add_up_to_it(gpt):
  _, params, loss = gpt
  batch = blocks()
  (_, (_, whole, outputs)), _ = loss(params, batch)
  halves = []
  for first in (0, 2):  # filled up with masked rows, as the last batch of a split is
    half = {k: v[[first, first + 1, 0, 0]] for k, v in batch.items()}
    half['mask'][2:] = 0
    halves.append(loss(params, half)[0][1])
  added = jax.tree.map(jnp.add, halves[0][1], halves[1][1])
  assert halves[0][1]['loss'][1] != halves[1][1]['loss'][1]
  for name in whole:
    np.testing.assert_allclose(added[name], whole[name], rtol=1e-5)
  for name in ('nats', 'tokens'):
    np.testing.assert_allclose(
      np.concatenate([half[2][name][:2] for half in halves]), outputs[name], rtol=1e-5)


def test_what_is_not_asked_for_reaches_neither_loss_nor_gradient(gpt):
  _, params, loss = gpt
  batch = blocks()
  counted = (batch['weights'] > 0) & (batch['mask'][:, None] > 0)
  other = blocks(seed=1)
  spoilt = {**batch, 'labels': np.where(counted, batch['labels'], other['labels']),
            # Nobody sees padding, nor a row that is masked.
            'inputs': np.where((batch['segments'] > 0) & (batch['mask'][:, None] > 0),
                               batch['inputs'], other['inputs'])}
  assert (spoilt['labels'] != batch['labels']).sum() > 5
  (value, (_, sums, _)), gradient = loss(params, batch)
  (same, (_, same_sums, _)), same_gradient = loss(params, spoilt)
  assert same == value and same_sums == sums and value > 0
  jax.tree.map(np.testing.assert_array_equal, same_gradient, gradient)


def test_a_split_with_nothing_to_ask_has_no_scores(gpt):
  task, params, loss = gpt
  batch = {**blocks(), 'weights': np.zeros((4, 8), np.uint8)}
  (value, (_, sums, outputs)), gradient = loss(params, batch)
  assert value == 0 and sums['loss'] == sums['bits_per_byte'] == (0, 0)
  assert not any(np.any(x) for x in jax.tree.leaves(gradient))
  assert task.summarize(jax.device_get(outputs)) == {}


class Even(nn.Module):
  """Holds all tokens for equally likely."""

  vocabulary: int

  @nn.compact
  def __call__(self, tokens, *, train):
    return jnp.zeros((*tokens.shape, self.vocabulary)) + self.param(
      'zero', nn.initializers.zeros, ())


@pytest.mark.parametrize(('text', 'tokenizer_config', 'bits'), [
  # log2 of the vocabulary, over the bytes of a token.
  ('any text at all', Bytes(end=False), 8.0),
  ('abcdefghijklmnop', Characters(), 4.0),
  ('àáâãäåæç', Characters(), 1.5),
  ('aaaa bbbb', Words(4, special=('unknown', 'end')), 0.5)])
def test_bits_per_byte_of_an_even_guess(text, tokenizer_config, bits):
  tokenizer = tokenizers.load(tokenizer_config.fit([text]))
  ids = tokenizer.encode(text)[None]
  task = next_token(Even(tokenizer.size), tokenizer=tokenizer)
  batch = {'inputs': ids, 'labels': ids, 'mask': np.ones(1, np.float32)}
  value, (_, sums, _) = jax.jit(partial(task.loss, train=False))(
    {'zero': jnp.zeros(())}, {}, batch, KEY)
  total, count = sums['bits_per_byte']
  spaces = ' ' * isinstance(tokenizer_config, Words)
  assert count == len(text.replace(spaces, '').encode())
  assert total / count == pytest.approx(bits, rel=1e-6)
  assert value == pytest.approx(np.log(tokenizer.size), rel=1e-6)


def test_logits_of_another_shape_are_refused():
  class Last(nn.Module):
    @nn.compact
    def __call__(self, tokens, *, segments=None, masked_positions=None, train):
      return nn.Embed(11, 11)(tokens[:, -1].astype(int))

  batch = blocks()
  task = next_token(Last(), tokenizer=WORDS)
  params, model_state = jax.eval_shape(task.init, KEY, batch)
  for made, shape in ((task, r'\(4, 8\)'),
                      (masked_token(Last(), tokenizer=WORDS), r'\(4, 1\)')):
    with pytest.raises(ValueError, match=rf'needs logits {shape} \+ vocabulary, the '
                                         r'model gives \(4, 11\)'):
      jax.eval_shape(partial(made.loss, train=False), params, model_state, batch, KEY)


def test_what_is_no_language_is_refused():
  narrow = Gpt(7, length=8, depth=1, width=8, heads=2)
  task = next_token(narrow, tokenizer=WORDS)
  with pytest.raises(ValueError, match='needs logits of 11 tokens, the model gives 7'):
    jax.eval_shape(partial(task.loss, train=False),
                   *jax.eval_shape(task.init, KEY, blocks()), blocks(), KEY)
  classes = RecurrentClassifier(11, num_outputs=11, width=4, embedding=4)
  task, batch = next_token(classes, tokenizer=WORDS), texts(*words(5, rows=4))
  batch['labels'] = np.zeros(4, np.int32)
  with pytest.raises(ValueError, match=r'needs labels \[batch, length\], the data has'):
    jax.eval_shape(partial(task.loss, train=False),
                   *jax.eval_shape(task.init, KEY, batch), batch, KEY)


@jax.jit
def full(params, tokens, segments=None):
  return GPT.apply({'params': params}, tokens, segments=segments, train=False)


def greedy(params, prompt, count):
  """The likeliest words after a prompt, without a cache, up to an 'end'."""
  ids, found = [WORDS.special['end'], *WORDS.encode(prompt)], []
  for _ in range(count):
    row = np.zeros((1, 12), np.int32)  # what follows is not looked at
    row[0, : len(ids)] = ids
    found.append(int(np.asarray(full(params, row))[0, len(ids) - 1].argmax()))
    if found[-1] == WORDS.special['end']:
      return found[:-1]
    ids.append(found[-1])
  return found


def test_a_text_goes_on_as_without_a_cache(gpt):
  task, params, _ = gpt
  prompts = ['a bb ccc', '', 'éé', 'f a dddd a']
  # The longest prompt and what follows fill the model's 12 positions; one is not read.
  settings = decoding.Settings(tokens=8, temperature=0)
  found = task.generate(params, {}, prompts, KEY, settings)
  expected = [greedy(params, prompt, 8) for prompt in prompts]
  assert [count for _, count in found] == [len(ids) for ids in expected]
  assert [text for text, _ in found] == [
    ' '.join(PLAIN[i - 5] for i in ids if i >= 5) for ids in expected]
  assert len({text for text, _ in found}) > 1


def test_stops_of_a_text(gpt):
  task, params, _ = gpt
  words = [PLAIN[i - 5] for i in greedy(params, 'a bb ccc', 7) if i >= 5]
  stop = next(word for word in words[1:] if word != words[0])
  settings = decoding.Settings(tokens=7, temperature=0, stop=(stop,))
  (text, count), = task.generate(params, {}, ['a bb ccc'], KEY, settings)
  assert text.split() == words[: words.index(stop)]
  assert count < len(words)


def test_a_stop_that_is_no_token_stops_at_no_other():
  """A model that always says 'unknown', and is to stop at a word that is unknown."""
  class Unknown(nn.Module):
    @nn.compact
    def __call__(self, tokens, *, segments=None, decode=0, train):
      return jax.nn.one_hot(tokens * 0 + 1, 11) + self.param(
        'zero', nn.initializers.zeros, ())

  task = next_token(Unknown(), tokenizer=WORDS)
  found = task.generate({'zero': jnp.zeros(())}, {}, ['a'], KEY, decoding.Settings(
    tokens=4, temperature=0, stop=('never-seen',)))
  assert found == [('', 4)]


def test_what_cannot_go_on(gpt):
  task, params, _ = gpt
  with pytest.raises(UserError, match='--beams=3: continuations are sampled; '
                     'beam search is for translation'):
    task.generate(params, {}, ['a'], KEY, decoding.Settings(tokens=2, beams=3))
  with pytest.raises(decoding.TooLong, match='has 2 tokens and 12 new tokens were'):
    task.generate(params, {}, ['a'], KEY, decoding.Settings(tokens=12))
  without = next_token(GPT, tokenizer=tokenizers.load(Characters().fit(['abc'])))
  with pytest.raises(UserError, match="no 'end' to begin a text with"):
    without.generate(params, {}, [''], KEY, decoding.Settings(tokens=2))
  for flag, prompt, stop in (('--prompt', 'ax', ()), ('--stop', 'a', ('x',))):
    with pytest.raises(UserError, match=f"{flag}: the character 'x' at position"):
      without.generate(params, {}, [prompt], KEY, decoding.Settings(
        tokens=2, stop=stop))


# --- masked tokens --------------------------------------------------------------


class Spy:
  """A model whose logits are its parameters; it keeps what it was shown."""

  def apply(self, variables, tokens, *, segments=None, masked_positions, train,
            rngs=None):
    self.shown = tokens, masked_positions
    return variables['params']


@partial(jax.jit, static_argnames=('train', 'rate'))
def spied(logits, batch, key, *, train, rate):
  """The gradient by even logits, sums and outputs, and what the model was shown."""
  spy = Spy()
  task = masked_token(spy, tokenizer=WORDS, rate=rate)
  gradient, (_, sums, outputs) = jax.grad(
    lambda logits: task.loss(logits, {}, batch, key, train), has_aux=True)(logits)
  return gradient, sums, outputs, spy.shown


def texts(*rows, length=20):
  """Rows of ids, filled up with 0."""
  inputs = np.zeros((len(rows), length), np.uint16)
  segments = np.zeros((len(rows), length), np.int32)
  for i, row in enumerate(rows):
    inputs[i, : len(row)], segments[i, : len(row)] = row, 1
  return {'inputs': inputs, 'segments': segments,
          'mask': np.ones(len(rows), np.float32)}


def words(count, rows=1, seed=0):
  return np.random.default_rng(seed).integers(5, 11, (rows, count))


def hide(batch, key=KEY, train=True, rate=0.15):
  """What a model sees, and the labels `[batch, length]`, -1 where none is asked for.

  By the loss's gradient: of even logits it is negative at the label alone.
  """
  most = max(1, round(rate * batch['inputs'].shape[1]))
  gradient, sums, outputs, (tokens, positions) = jax.device_get(spied(
    np.zeros((len(batch['inputs']), most, 11), np.float32), batch, key, train=train,
    rate=rate))
  labels = np.full(batch['inputs'].shape, -1)
  for row, at in zip(*np.nonzero(gradient.any(-1)), strict=True):
    assert labels[row, positions[row, at]] == -1  # nothing is asked for twice
    labels[row, positions[row, at]] = gradient[row, at].argmin()
  counts = (labels >= 0).sum(1)
  np.testing.assert_array_equal(outputs['tokens'], counts)
  assert sums['loss'][1] == sums['accuracy'][1] == counts.sum()
  np.testing.assert_allclose(outputs['nats'], counts * np.log(11), rtol=1e-5)
  return tokens, labels


def test_of_100_tokens_80_are_masked_10_replaced_and_10_stay():
  rows = words(20, rows=3000)
  seen, labels = hide(texts(*rows))
  asked = labels >= 0
  n = asked.sum()
  assert n == 3000 * 3
  np.testing.assert_array_equal(labels[asked], rows[asked])
  np.testing.assert_array_equal(seen[~asked], rows[~asked])

  def near(count, probability):
    return abs(count / n - probability) < 4.5 * np.sqrt(
      probability * (1 - probability) / n)

  shown = seen[asked]
  assert near((shown == MASK).sum(), 0.8)
  # One in six of those that are replaced draws itself.
  assert near((shown == labels[asked]).sum(), 0.1 + 0.1 / 6)
  others = shown[(shown != MASK) & (shown != labels[asked])]
  assert near(len(others), 0.1 * 5 / 6)
  assert set(others) == set(range(5, 11))  # never a special token
  counts = np.bincount(others, minlength=11)[5:]
  assert abs(counts - len(others) / 6).max() < 4.5 * np.sqrt(len(others) / 6)
  # Every place is asked for as often.
  assert abs(asked.sum(0) - 450).max() < 4.5 * np.sqrt(450)


@pytest.mark.parametrize('train', [True, False])
def test_a_share_of_what_is_neither_special_nor_padding(train):
  lengths = range(21)
  rows = [np.append(words(n, seed=n)[0], [1, 2] * (n < 18)) for n in lengths]
  rows[9] = np.insert(rows[9], [0, 4], [CLASS, MASK])
  batch = texts(*rows, length=24)
  batch['mask'][4] = 0
  seen, labels = hide(batch, train=train)
  expected = [min(n, max(1, round(0.15 * n))) for n in lengths]
  expected[4] = 0
  assert (labels >= 0).sum(1).tolist() == expected
  assert expected[0] == 0 and expected[1] == 1 and expected[20] == 3
  assert (labels[labels >= 0] >= 5).all()
  assert (batch['segments'][labels >= 0] == 1).all()
  kept = (labels < 0) & (batch['mask'][:, None] > 0)
  np.testing.assert_array_equal(seen[kept], batch['inputs'][kept])


def test_weights_and_shares():
  batch = texts(*words(20, rows=5))
  batch['weights'] = np.tile(np.arange(20) < 6, (5, 1)).astype(np.uint8)
  _, labels = hide(batch, rate=0.5)
  assert (labels >= 0).sum(1).tolist() == [3] * 5
  assert not (labels[:, 6:] >= 0).any()


def test_what_only_fills_up_a_block_is_not_looked_at():
  model = MaskedBert(Bert(11, length=12, depth=1, width=8, heads=2, unroll=True))
  task = masked_token(model, tokenizer=WORDS)
  batch = texts(*words(7, rows=3), length=12)
  packed = {'weights': batch['segments'].astype(np.uint8), **batch}
  del packed['segments']  # as `data.Packed` gives them
  loss = jax.jit(partial(task.loss, drawn(task, batch), {}, key=KEY, train=False))
  assert loss(batch=packed)[0] == loss(batch=batch)[0]


def test_an_evaluation_masks_by_the_text_alone():
  batch = texts(*words(20, rows=4), *[words(n, seed=n)[0] for n in (3, 9)])
  seen, labels = hide(batch, train=False)
  for rows in ([5, 0], [2, 1]):
    some = {name: column[rows] for name, column in batch.items()}
    for actual, whole in zip(hide(some, jax.random.PRNGKey(5), train=False),
                             (seen, labels), strict=True):
      np.testing.assert_array_equal(actual, whole[rows])
  assert len({tuple(row) for row in labels >= 0}) > 4  # other texts, other positions
  assert (hide(batch)[1] != labels).any()


def test_training_masks_otherwise_every_time():
  batch = texts(*words(20, rows=6))
  seen, _ = hide(batch)
  np.testing.assert_array_equal(hide(batch)[0], seen)
  assert (hide(batch, jax.random.PRNGKey(1))[0] != seen).any()
  # Also what is the same text; in an evaluation it is not.
  same = texts(*np.tile(words(20), (6, 1)))
  assert len({tuple(row) for row in hide(same)[0]}) > 1
  assert len({tuple(row) for row in hide(same, train=False)[0]}) == 1


def test_a_part_of_a_batch_is_masked_as_in_the_whole():
  batch = texts(*words(20, rows=6))
  whole = hide(batch)
  for part in range(3):
    rows = slice(2 * part, 2 * part + 2)
    found = hide({k: v[rows] for k, v in batch.items()}, slice_key(KEY, part))
    for actual, expected in zip(found, whole, strict=True):
      np.testing.assert_array_equal(actual, expected[rows])


def test_the_loss_of_bert_is_that_of_the_masked_tokens():
  model = MaskedBert(Bert(11, length=12, depth=1, width=8, heads=2, unroll=True))
  task = masked_token(model, tokenizer=WORDS)
  batch = texts(*words(10, rows=3), [CLASS, 5, 6, 7], length=12)
  params = drawn(task, batch)
  value, (_, sums, outputs) = jax.jit(partial(task.loss, train=False))(
    params, {}, batch, KEY)
  seen, labels = hide(batch, train=False)
  logits = jax.jit(partial(model.apply, train=False))(
    {'params': params}, seen, segments=batch['segments'])
  asked = labels >= 0
  nats = -log_softmax(logits)[asked, labels[asked]]
  assert value == pytest.approx(nats.mean(), rel=1e-5)
  right = np.asarray(logits).argmax(-1)[asked] == labels[asked]
  assert sums['accuracy'] == (right.sum(), asked.sum())
  assert task.summarize(jax.device_get(outputs))['perplexity'] == pytest.approx(
    np.exp(nats.mean()), rel=1e-5)
  assert task.generate is None


@pytest.mark.parametrize(('tokenizer_config', 'given', 'message'), [
  (Bytes(), {}, "with the special token 'mask'; it has end"),
  (Characters(), {}, "'mask'; it has none"),
  (Words(11, special=SPECIAL), {'rate': 0}, 'rate: must be > 0 and < 1'),
  (Words(11, special=SPECIAL), {'rate': 1.0}, 'rate: must be .*, got 1.0'),
  (Words(11, special=SPECIAL), {'rate': float('nan')}, 'rate: must be .*, got nan')])
def test_masks_that_cannot_be(tokenizer_config, given, message):
  with pytest.raises(ValueError, match=message):
    masked_token(
      Spy(), tokenizer=tokenizers.load(tokenizer_config.fit(['a b'])), **given)
