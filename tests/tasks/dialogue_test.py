"""Tests of bigmodels.tasks.dialogue: what is written is what `generate` writes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import data
from bigmodels.data import tokenizers
from bigmodels.data.texts.dialogues import Dialogues
from bigmodels.data.tokenizers import Bytes, Characters
from bigmodels.models import ModernGpt
from bigmodels.plots import Inputs
from bigmodels.tasks import decoding, next_token, slot_responses
from tests.data.given import Given, context

KEY = jax.random.key(0)
TALK = Dialogues([('hi',), ('a thai place',), ('bye', 'now')],
                 [('a=b | yes',), ('food=thai, x=y | no',), ('| ok',)])
TOKENIZER = tokenizers.load(Bytes().fit(()))
MODEL = ModernGpt(257, length=64, depth=1, width=16, heads=2, unroll=True)


def columns():
  source = data.Replies(Given({'train': TALK, 'test': TALK}), Bytes(), 64, prompt=20,
                        selected='test')
  return source.open(context()).load()


def batch_of(found):
  return jax.tree.map(jnp.asarray, found | {'mask': np.ones(3, np.float32)})


@pytest.fixture(scope='module')
def params():
  task = next_token(MODEL, tokenizer=TOKENIZER)
  shapes, _ = jax.eval_shape(task.init, KEY, {'inputs': np.zeros((1, 8), np.int32)})
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: np.float32(0.5 * rng.normal(size=x.shape)), shapes)


def test_an_evaluation_continues_each_context(params):
  task, batch = slot_responses(MODEL, tokenizer=TOKENIZER), batch_of(columns())
  loss, (_, found, outputs) = jax.jit(partial(task.loss, train=False))(
    params, {}, batch, KEY)
  plain = next_token(MODEL, tokenizer=TOKENIZER)
  expected, (_, means, _) = jax.jit(partial(plain.loss, train=False))(
    params, {}, batch, KEY)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert found['loss'].count == means['loss'].count == sum(
    len(each) + 1 for each, in TALK.responses)
  outputs = jax.device_get(outputs)
  settings = decoding.Settings(tokens=20, temperature=0)
  texts = [text for text, _ in plain.generate(
    params, {}, ['hi\n', 'a thai place\n', 'bye\nnow\n'], KEY, settings)]
  assert [TOKENIZER.decode(ids) for ids in outputs['written']] == texts
  assert [TOKENIZER.decode(ids) for ids in outputs['references']] == [
    each for each, in TALK.responses]
  assert {'joint_accuracy', 'slot_f1', 'bleu', 'perplexity'} == {
    *task.summarize(outputs)}
  words = Inputs(None, lambda rows: [{'context': f'c{i}'} for i in rows])
  rows = task.plots(outputs, words, None)['Responses'].rows
  assert rows[1] == ('c1', texts[1], 'food=thai, x=y | no')


def test_right_responses_have_perfect_scores():
  task = slot_responses(MODEL, tokenizer=TOKENIZER)
  same = np.full((3, 30), -1)
  for row, (text,) in zip(same, TALK.responses, strict=True):
    row[: len(text)] = list(text.encode())
  found = task.summarize({'written': same, 'references': same, 'nats': np.ones(3),
                          'tokens': np.ones(3)})
  assert found['joint_accuracy'] == found['slot_f1'] == 1


def test_what_is_refused(params):
  plain = tokenizers.load(Characters().fit(['abc']))
  with pytest.raises(ValueError, match="tokenizer with the special token 'end'"):
    slot_responses(MODEL, tokenizer=plain)
  found = {k: v for k, v in columns().items() if not k.startswith('prompt')}
  with pytest.raises(ValueError, match='needs the column prompts: set prompt of'):
    slot_responses(MODEL, tokenizer=TOKENIZER).loss(
      params, {}, batch_of(found), KEY, False)
