"""Tests of bigmodels.tasks.translation: against optax, sacrebleu and plain loops."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sacrebleu

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.tokenizers import Bytes, Words
from bigmodels.models import Transformer
from bigmodels.tasks import decoding, translation

KEY = jax.random.PRNGKey(0)
SPECIAL = ('pad', 'unknown', 'begin', 'end')
PAD, _, BEGIN, END = range(4)
PLAIN = ('a', 'b', 'c', 'd', 'e', 'f', 'g')  # their ids follow on the special ones
WORDS = tokenizers.load(Words(11, special=SPECIAL).fit([' '.join(PLAIN)]))
MODEL = Transformer(11, depth=1, width=8, heads=2, norm_first=True, dropout=0.0,
                    unroll=True)
SEED = 22  # whose texts vary and end
WIDTH = 8
COUNT = 18  # tokens that an evaluation of sources of width 8 goes on for
SOURCES = ['a b c', 'g', 'f f a d e', 'b e', 'd c b a c d', '']


def text(ids):
  """What ids say, up to the first 'end'."""
  ids = list(ids)
  ids = ids[: ids.index(END)] if END in ids else ids
  return ' '.join(PLAIN[i - 4] for i in ids if i >= 4)


def rows(parts, width):
  """Ids filled up to `[n, width]`, and 1 where they are."""
  there = np.arange(width) < np.array([len(part) for part in parts])[:, None]
  found = np.full(there.shape, PAD, np.uint16)
  found[there] = np.concatenate(parts)
  return found, there


def batch(sources, targets, masked=()):
  encoded = [list(WORDS.encode(target)) for target in targets]
  inputs, there = rows([[*WORDS.encode(source), END] for source in sources], WIDTH)
  labels, weights = rows([[*ids, END] for ids in encoded], COUNT)
  return {
    'inputs': inputs, 'segments': there.astype(np.int32),
    'decoder_inputs': rows([[BEGIN, *ids] for ids in encoded], COUNT)[0],
    'labels': labels, 'weights': weights.astype(np.uint8),
    'mask': np.isin(np.arange(len(sources)), masked, invert=True).astype(np.float32)}


@functools.cache
def params():
  """Of a model with something to say."""
  rng = np.random.default_rng(SEED)
  made, model_state = jax.eval_shape(
    translation(MODEL, tokenizer=WORDS).init, KEY, batch(['a'], ['b']))
  assert model_state == {}

  def draw(path, x):
    scale, shift = {'scale': (0.2, 1), 'kernel': (1, 0)}.get(path[-1].key, (0.3, 0))
    return np.float32(shift + scale * rng.normal(size=x.shape))

  return jax.tree_util.tree_map_with_path(draw, made)


@jax.jit
def forward(params, source, segments, target, target_segments=None):
  return MODEL.apply({'params': params}, source, target, segments=segments,
                     decoder_segments=target_segments, train=False)


def full(*args):
  return np.asarray(forward(params(), *args))


def logits_of(data):
  return full(data['inputs'], data['segments'], data['decoder_inputs'])


@functools.cache
def greedy(source, count=COUNT):
  """The likeliest tokens, without a cache and one source at a time."""
  data, target = batch([source], ['']), np.full((1, COUNT), PAD, np.int32)
  target[0, 0], found = BEGIN, []
  for i in range(count):
    found.append(int(full(data['inputs'], data['segments'], target)[0, i].argmax()))
    if found[-1] == END:
      break
    if i + 1 < COUNT:
      target[0, i + 1] = found[-1]
  return found


@functools.cache
def evaluated(beams=1):
  """A batch whose references are in part what the model says, and its evaluation."""
  references = [' '.join(text(greedy(s)).split()[:9]) for s in SOURCES]
  references[1::2] = ['a b c d', 'e f', 'g']
  data = batch(SOURCES, references, masked=(3,))
  task = translation(MODEL, tokenizer=WORDS, beams=beams)
  found = jax.jit(partial(task.loss, train=False))(params(), {}, data, KEY)
  return task, data, references, jax.device_get(found)


def score(source, ids, penalty=0.6):
  """The log probability of a text, over its length's norm."""
  ids = list(ids)
  ids = ids[: ids.index(END) + 1] if END in ids else ids
  data, target = batch([source], ['']), np.full((1, COUNT), PAD, np.int32)
  target[0, : len(ids)] = [BEGIN, *ids[:-1]]
  logits = full(data['inputs'], data['segments'], target)[0].astype(np.float64)
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  return logs[np.arange(len(ids)), ids].sum() / ((5 + len(ids)) / 6) ** penalty


def nats(data, smoothing=0.0):
  """By optax, of labels that are rows of numbers."""
  hot = optax.smooth_labels(np.eye(11, dtype=np.float32)[data['labels']], smoothing)
  return np.asarray(optax.softmax_cross_entropy(logits_of(data), hot), np.float64)


def test_the_loss_is_smoothed_in_training_only():
  task, data, _, (value, (model_state, sums, outputs)) = evaluated()
  counted = (data['weights'] > 0) & (data['mask'][:, None] > 0)
  plain, smooth = nats(data), nats(data, 0.1)
  assert value == pytest.approx(plain[counted].mean(), rel=1e-5)
  right = logits_of(data).argmax(-1) == data['labels']
  assert sums['accuracy'] == (right[counted].sum(), counted.sum())
  np.testing.assert_allclose(sums['loss'], (plain[counted].sum(), counted.sum()),
                             rtol=1e-5)
  np.testing.assert_allclose(outputs['nats'], (plain * counted).sum(1), rtol=1e-5)
  assert model_state == {}
  trained = jax.jit(partial(task.loss, train=True))
  value, (_, sums, outputs) = trained(params(), {}, data, KEY)
  assert value == pytest.approx(smooth[counted].mean(), rel=1e-5)
  assert outputs == {}
  # Sums of halves add up, though they count other numbers of tokens.
  halves = [trained(params(), {}, {k: v[part] for k, v in data.items()}, KEY)[1][1]
            for part in (slice(3), slice(3, 6))]
  added = jax.tree.map(jnp.add, *halves)
  for name in sums:
    np.testing.assert_allclose(added[name], sums[name], rtol=1e-5)


def test_an_evaluation_translates_as_a_plain_loop():
  _, _, _, (_, (_, _, outputs)) = evaluated()
  found, ended = outputs['translations'], 0
  assert found.shape == (len(SOURCES), COUNT)
  for row, source in enumerate(SOURCES):
    expected = greedy(source)
    if row == 3:  # masked: what is said about it is dropped
      continue
    assert found[row, : len(expected)].tolist() == expected
    assert (found[row, len(expected):] == END).all()
    ended += expected[-1] == END
  assert ended and len({tuple(row) for row in found.tolist()}) > 2


def test_bleu_is_that_of_texts_translated_one_by_one():
  task, data, references, (_, (_, sums, outputs)) = evaluated()
  kept = data['mask'] > 0
  found = task.summarize({name: array[kept] for name, array in outputs.items()})
  expected = sacrebleu.corpus_bleu(
    [text(greedy(source)) for source, k in zip(SOURCES, kept, strict=True) if k],
    [[ref for ref, k in zip(references, kept, strict=True) if k]])
  assert found['bleu'] == pytest.approx(expected.score)
  assert 1 < found['bleu'] < 99
  total, count = sums['loss']
  assert found['perplexity'] == pytest.approx(float(np.exp(total / count)), rel=1e-5)


def test_special_tokens_are_in_no_text():
  task = translation(MODEL, tokenizer=WORDS)
  ids = np.array([[4, BEGIN, 5, PAD, 6, 7, END, END]])
  outputs = {'translations': ids, 'references': np.array([[4, 5, 6, 7, END, -1]]),
             'nats': np.ones(1), 'tokens': np.ones(1)}
  assert task.summarize(outputs)['bleu'] == pytest.approx(100)
  outputs['references'] = np.array([[-1, 4, 5, 6, END, -1]])
  assert task.summarize(outputs)['bleu'] == pytest.approx(
    sacrebleu.corpus_bleu(['a b c d'], [['a b c']]).score)


def test_several_beams_find_likelier_texts():
  _, _, _, (_, (_, _, outputs)) = evaluated(beams=3)
  better = 0
  for row, source in enumerate(SOURCES):
    if row == 3:
      continue
    one, three = (score(source, ids) for ids in (
      greedy(source), outputs['translations'][row]))
    assert three >= one - 1e-5
    better += three > one + 1e-3
  assert better


def test_prompts_of_several_lengths_are_translated_as_alone():
  task = translation(MODEL, tokenizer=WORDS)
  settings = decoding.Settings(tokens=COUNT)
  found = task.generate(params(), {}, SOURCES, KEY, settings)
  for source, (said, count) in zip(SOURCES, found, strict=True):
    expected = greedy(source)
    assert said == text(expected)
    assert count == len(expected) - (expected[-1] == END)
  settings = decoding.Settings(tokens=COUNT, temperature=0)
  assert task.generate(params(), {}, SOURCES, KEY, settings) == found


def test_beams_and_stops_of_the_command_line():
  task, _, _, (_, (_, _, outputs)) = evaluated(beams=3)
  found = task.generate(params(), {}, SOURCES, KEY,
                        decoding.Settings(tokens=COUNT, beams=3))
  texts = [text(row) for row in outputs['translations']]
  for row in (0, 1, 2, 4, 5):
    assert found[row][0] == texts[row]
  longest = max((said for said, _ in found), key=len)
  stop = longest.split()[-1]
  cut = task.generate(params(), {}, SOURCES, KEY,
                      decoding.Settings(tokens=COUNT, beams=3, stop=(stop,)))
  assert [said for said, _ in cut] == [said.split(stop)[0] for said, _ in found]


@pytest.mark.parametrize(('given', 'message'), [
  ({'temperature': 0.5}, '--temperature=0.5: translations are found by beam search'),
  ({'top_k': 5}, '--top_k=5: translations'),
  ({'top_p': 0.9}, '--top_p=0.9: translations')])
def test_settings_of_draws_are_refused(given, message):
  task = translation(MODEL, tokenizer=WORDS)
  with pytest.raises(UserError, match=message):
    task.generate(params(), {}, ['a'], KEY, decoding.Settings(**given))


@pytest.mark.parametrize(('given', 'message'), [
  ({'tokenizer': tokenizers.load(Bytes().fit([]))},
   "with the special token 'begin'; it has end"),
  ({'smoothing': 1.0}, 'smoothing: must be >= 0 and < 1, got 1.0'),
  ({'smoothing': -0.1}, 'smoothing: must be'),
  ({'beams': 0}, 'beams: must be >= 1, got 0'),
  ({'penalty': -1.0}, 'penalty: must be a number >= 0')])
def test_tasks_that_cannot_be(given, message):
  with pytest.raises(ValueError, match=message):
    translation(MODEL, **{'tokenizer': WORDS, **given})


# --- pairs that share a row -----------------------------------------------------


def packed(pairs, width=16):
  """One row with pairs of ids one after the other; and its parts, by name."""
  parts = {'inputs': [[*s, END] for s, _ in pairs],
           'decoder_inputs': [[BEGIN, *t] for _, t in pairs],
           'labels': [[*t, END] for _, t in pairs]}

  def together(lists):
    return rows([np.concatenate(lists)], width)[0]

  def numbers(lists):
    return rows([np.repeat(np.arange(len(lists)) + 1, [len(x) for x in lists])],
                width)[0].astype(np.int32)

  labels = together(parts['labels'])
  return {**{name: together(lists) for name, lists in parts.items()},
          'segments': numbers(parts['inputs']),
          'decoder_segments': numbers(parts['labels']),
          'weights': (numbers(parts['labels']) > 0).astype(np.uint8),
          'labels': labels, 'mask': np.ones(1, np.float32)}, parts


PAIRS = [([4, 5, 6], [7]), ([8], [9, 10, 4, 5, 6]), ([], [4, 4]), ([7, 7, 4, 9], [])]


def test_pairs_that_share_a_row_know_nothing_of_each_other():
  data, parts = packed(PAIRS)
  assert data['segments'].max() == data['decoder_segments'].max() == len(PAIRS)
  logits = full(data['inputs'], data['segments'], data['decoder_inputs'],
                data['decoder_segments'])
  sources, there = rows(parts['inputs'], 16)
  targets, target_there = rows(parts['decoder_inputs'], 16)
  for row in range(len(PAIRS)):
    alone = full(sources[[row]], there[[row]].astype(np.int32), targets[[row]],
                 target_there[[row]].astype(np.int32))
    found = logits[0][data['decoder_segments'][0] == row + 1]
    assert len(found) == len(PAIRS[row][1]) + 1
    np.testing.assert_allclose(found, alone[0, : len(found)], rtol=1e-4, atol=1e-5)


def test_pairs_that_share_a_row_have_the_loss_of_pairs_apart():
  data, parts = packed(PAIRS)
  task = translation(MODEL, tokenizer=WORDS)
  loss = jax.jit(partial(task.loss, train=True))
  value, (_, sums, _) = loss(params(), {}, data, KEY)
  sources, there = rows(parts['inputs'], WIDTH)
  apart = {'inputs': sources, 'segments': there.astype(np.int32),
           'decoder_inputs': rows(parts['decoder_inputs'], WIDTH)[0],
           'labels': rows(parts['labels'], WIDTH)[0],
           'weights': rows(parts['labels'], WIDTH)[1].astype(np.uint8),
           'mask': np.ones(len(PAIRS), np.float32)}
  expected, (_, expected_sums, _) = loss(params(), {}, apart, KEY)
  assert value == pytest.approx(float(expected), rel=1e-5)
  np.testing.assert_allclose(sums['loss'], expected_sums['loss'], rtol=1e-5)
  assert sums['accuracy'] == expected_sums['accuracy']


def test_an_evaluation_needs_a_row_for_each_pair():
  task = translation(MODEL, tokenizer=WORDS)
  with pytest.raises(UserError, match='several pairs share a row; set packed=None'):
    task.loss(params(), {}, packed(PAIRS)[0], KEY, False)
