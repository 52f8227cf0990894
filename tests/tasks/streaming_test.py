"""Tests of bigmodels.tasks.streaming: the same text as at once."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels.data import tokenizers
from bigmodels.data.tokenizers import Bpe, Bytes, Characters
from bigmodels.models import Gpt, ModernGpt, RecurrentLanguageModel
from bigmodels.tasks import decoding, next_token, streaming

KEY = jax.random.key(0)
TEXT = 'the cat sat on the mat and the dog sät, too\n' * 20
SIZES = {'depth': 1, 'width': 16}
MODELS = {'gpt': partial(Gpt, length=80, heads=2, unroll=True, **SIZES),
          'modern': partial(ModernGpt, length=80, heads=2, unroll=True, **SIZES),
          'recurrent': partial(RecurrentLanguageModel, **SIZES)}


def made(model, config):
  tokenizer = tokenizers.load(config.fit([TEXT]))
  task = next_token(MODELS[model](tokenizer.size), tokenizer=tokenizer)
  shapes, state = jax.eval_shape(task.init, KEY, {
    'inputs': np.zeros((1, 8), np.int32)})
  assert not state
  rng = np.random.default_rng(0)
  return task, jax.tree.map(
    lambda x: np.float32(0.5 * rng.normal(size=x.shape)), shapes)


@pytest.mark.parametrize(('model', 'config'), [
  ('gpt', Bytes()), ('recurrent', Bpe(300)), *(
    pytest.param(*each, marks=pytest.mark.slow('compile'))
    for each in (('modern', Bpe(300)), ('recurrent', Characters())))], ids=str)
def test_a_stream_is_the_text_that_is_generated_at_once(model, config):
  task, params = made(model, config)
  for stop in ((), ('t', 'ca')):
    settings = decoding.Settings(tokens=12, temperature=0.7, top_k=20, stop=stop)
    for prompt in ('the cat', 'the mat'):
      (text, count), = task.generate(params, {}, [prompt], KEY, settings)
      pieces = [*task.stream(params, {}, prompt, KEY, settings)]
      assert ''.join(pieces) == text and all(pieces)
      assert len(pieces) <= count


def test_a_stream_needs_room():
  task, params = made('gpt', Bytes())
  with pytest.raises(decoding.TooLong):
    task.stream(params, {}, 'x' * 70, KEY, decoding.Settings(tokens=12))
  # The widest prompt that fits is not padded beyond the model's length.
  settings = decoding.Settings(tokens=11)
  (text, _), = task.generate(params, {}, ['x' * 69], KEY, settings)
  assert ''.join(task.stream(params, {}, 'x' * 69, KEY, settings)) == text


def pieces(data, *stop):
  tokenizer = tokenizers.load(Bytes().fit(()))
  read = []

  def ids():
    for byte in data.encode():
      read.append(byte)
      yield byte

  return [*streaming.pieces(ids(), tokenizer.decode, stop)], len(read)


def test_parts_of_characters_and_of_stop_texts_are_held_back():
  assert pieces('aé日b') == (['a', 'é', '日', 'b'], 7)
  assert pieces('xEND', 'END') == (['x'], 4)
  assert pieces('xENx', 'END') == (['x', 'ENx'], 4)
  assert pieces('xEN', 'END') == (['x', 'EN'], 3)
  # Nothing is read after a stop text.
  assert pieces('ab\ncd', '\n') == (['a', 'b'], 3)
  assert pieces('ENEND!', 'END') == (['EN'], 5)
  assert pieces('', 'END') == ([], 0)
  assert [*streaming.pieces([0xC3], tokenizers.load(Bytes().fit(())).decode)] == [
    '\ufffd']  # as at once
