"""Tests of bigmodels.tasks.captioning and models.Captioner: against all texts."""

import functools
import itertools
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from bigmodels.data import tokenizers
from bigmodels.models import Captioner, ResNet
from bigmodels.plots import Inputs
from bigmodels.tasks import captioning

KEY = jax.random.key(0)
SPECIAL = ('pad', 'unknown', 'begin', 'end')
PAD, _, BEGIN, END = range(4)
WORDS = tokenizers.load(tokenizers.Words(6, special=SPECIAL).fit(['a b']))
MODEL = Captioner(ResNet(None, depth=18, width=2), vocabulary=6, depth=1, width=8,
                  heads=2, dropout=0.0, unroll=True)
COUNT = 3  # tokens of a caption, with 'end'
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 32, 64, 3)).astype(np.float32)  # two places
CAPTIONS = [['a b', 'b'], ['b b', 'a'], ['a'], ['', 'b a']]


def batch(captions=CAPTIONS, masked=()):
  tokens = np.full((len(captions), 2, COUNT + 1), PAD, np.uint16)
  segments = np.zeros(tokens.shape, np.int32)
  for row, texts in enumerate(captions):
    for place, text in enumerate(texts):
      ids = [BEGIN, *WORDS.encode(text), END]
      tokens[row, place, : len(ids)], segments[row, place, : len(ids)] = ids, 1
  return {'inputs': IMAGES, 'captions': tokens, 'caption_segments': segments,
          'caption_groups': np.where(segments.any(-1), 0, -1),
          'mask': np.isin(np.arange(len(captions)), masked, invert=True).astype(
            np.float32)}


@functools.cache
def variables():
  """Of a model with something to say."""
  made = jax.eval_shape(captioning(MODEL, tokenizer=WORDS).init, KEY, batch())
  rng = np.random.default_rng(3)

  def draw(path, x):
    name = path[-1].key
    shift = name in ('scale', 'var')
    spread = 0.1 if shift else 1.0 if name == 'kernel' else 0.4
    return np.float32(shift + spread * np.abs(rng.normal(size=x.shape)) if shift else
                      spread * rng.normal(size=x.shape))

  return jax.tree_util.tree_map_with_path(draw, made)


@jax.jit
def forward(images, captions):
  params, state = variables()
  return MODEL.apply({'params': params, **state}, images, captions, train=False)


@functools.cache
def evaluated(beams):
  task = captioning(MODEL, tokenizer=WORDS, beams=beams, penalty=0.6)
  data = batch(masked=(1,))
  return task, data, jax.device_get(
    jax.jit(partial(task.loss, train=False))(*variables(), data, KEY))


def every_text():
  """All texts that a search may end with."""
  others = [token for token in range(6) if token != END]
  for length in range(COUNT):
    for tokens in itertools.product(others, repeat=length):
      yield [*tokens, END]
  yield from map(list, itertools.product(others, repeat=COUNT))


def test_a_search_of_many_beams_finds_the_best_of_all_texts():
  texts = [*every_text()]
  rows = np.array([[BEGIN, *text, *[PAD] * (COUNT - len(text))] for text in texts])
  logits = np.float64(forward(IMAGES, np.broadcast_to(rows, (4, *rows.shape))[
    ..., :-1]))
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  _, _, (_, (_, _, outputs)) = evaluated(160)
  for image in (0, 2, 3):
    scores = [logs[image, row, np.arange(len(text)), text].sum() / (
      (5 + len(text)) / 6) ** 0.6 for row, text in enumerate(texts)]
    best = texts[int(np.argmax(scores))]
    assert outputs['written'][image].tolist() == best + [END] * (COUNT - len(best))


def test_the_loss_is_over_all_captions_of_unmasked_images():
  _, data, (value, (_, sums, outputs)) = evaluated(160)
  logits = forward(IMAGES, data['captions'][..., :-1])
  labels = data['captions'][..., 1:].astype(int)
  kept = (data['caption_segments'][..., 1:] > 0) & (data['mask'] > 0)[:, None, None]
  nats = np.asarray(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
  assert value == pytest.approx(nats[kept].mean(), rel=1e-5)
  assert sums['loss'].count == kept.sum()
  np.testing.assert_array_equal(outputs['references'], np.where(kept, labels, -1))


def test_training_is_on_all_captions_of_a_batch():
  # A run that is opened without its data is traced with those of an evaluation.
  task, data, _ = evaluated(160)
  loss = jax.jit(lambda data: task.loss(*variables(), data, KEY, True)[0])
  parts = [{**data, **{name: data[name][:, place : place + 1] for name in (
    'captions', 'caption_segments', 'caption_groups')}} for place in (0, 1)]
  kept = (data['caption_segments'][..., 1:] > 0) & (data['mask'] > 0)[:, None, None]
  assert loss(data) == pytest.approx(np.average(
    [*map(loss, parts)], weights=kept.sum((0, 2))), rel=1e-4)


def test_bleu_and_the_report_are_of_texts():
  task, data, _ = evaluated(160)
  captions = data['captions'].astype(int)
  references = np.where(data['caption_segments'] > 0, captions, -1)[..., 1:]
  outputs = {'written': references[:, 0], 'references': references,
             'nats': np.ones(4), 'tokens': np.ones(4)}
  found = task.summarize(outputs)
  assert found['bleu_1'] == pytest.approx(100) and 'perplexity' in found
  assert task.answers(outputs)['caption'] == ['a b', 'b b', 'a', '']
  names = [{'image': f'{i}.jpg'} for i in range(4)]
  table = task.plots(outputs, Inputs(None, lambda rows: [names[i] for i in rows]),
                     None)['Captions']
  assert table.rows[1] == ('1.jpg', 'b b', 'b b')


class Pixels(nn.Module):
  """Images as they are: one map."""

  def __call__(self, images, *, train):
    return (images,)


def test_the_image_decides_what_is_written():
  """Four images of one pixel learn a caption each, and keep it in another order."""
  model = Captioner(Pixels(), vocabulary=6, depth=1, width=16, heads=2, dropout=0.0,
                    unroll=True)
  task, texts = captioning(model, tokenizer=WORDS, smoothing=0.0), ['a b', 'b', '', 'a']
  data = {name: x[:, :1] if name.startswith('caption') else x
          for name, x in batch([[text] for text in texts]).items()}
  data['inputs'] = np.eye(4, dtype=np.float32).reshape(4, 1, 1, 4)
  adam = optax.adam(3e-2)

  @jax.jit
  def written(images):
    def step(carry, _):
      params, state = carry
      grads = jax.grad(lambda p: task.loss(p, {}, data, KEY, True)[0])(params)
      updates, state = adam.update(grads, state)
      return (optax.apply_updates(params, updates), state), None

    params, _ = task.init(KEY, data)
    (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), length=150)
    return task.loss(params, {}, {**data, 'inputs': images}, KEY, False)[1][2]

  for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
    found = jax.device_get(written(data['inputs'][order]))
    assert task.answers(found)['caption'] == [texts[i] for i in order]


@pytest.mark.parametrize(('given', 'message'), [
  ({'tokenizer': tokenizers.load(tokenizers.Bytes().fit([]))},
   "with the special token 'begin'"),
  ({'smoothing': 1.0}, 'smoothing: must be >= 0 and < 1'),
  ({'beams': 0}, 'beams: must be >= 1')])
def test_tasks_that_cannot_be(given, message):
  with pytest.raises(ValueError, match=message):
    captioning(MODEL, **{'tokenizer': WORDS, **given})
