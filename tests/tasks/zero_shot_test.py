"""Tests of bigmodels.tasks.zero_shot."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from bigmodels import losses
from bigmodels.models import BagOfWords, Clip, Linear
from bigmodels.tasks import image_text, zero_shot

KEY = jax.random.key(0)
MODEL = Clip(Linear(num_outputs=6), BagOfWords(20, width=8, dropout=0.0), width=4,
             scale=5.0)
RNG = np.random.default_rng(0)
PROMPTS = SimpleNamespace(
  tokens=RNG.integers(1, 20, (3, 2, 4)).astype(np.uint16),
  segments=(np.arange(4) < np.array([[4, 3], [2, 4], [1, 4]])[..., None]).astype(
    np.int32))
LABELS = np.array([0, 2, 1, 1, 2])
BATCH = {'inputs': RNG.normal(size=(5, 3, 3, 1)).astype(np.float32), 'labels': LABELS,
         'mask': np.float32([1, 1, 1, 0, 1]), 'captions': PROMPTS.tokens[LABELS][:, :1],
         'caption_segments': PROMPTS.segments[LABELS][:, :1],
         'caption_groups': LABELS[:, None]}
TASK = zero_shot(MODEL, losses.softmax_contrastive, prompts=PROMPTS)
PARAMS, STATE = TASK.init(KEY, BATCH)


def unit(x):
  x = np.float64(x)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_a_class_is_the_mean_of_its_prompts():
  images, texts, *_ = MODEL.apply(
    {'params': PARAMS}, BATCH['inputs'], captions=PROMPTS.tokens,
    caption_segments=PROMPTS.segments, train=False)
  logits = 5 * unit(images) @ unit(unit(texts).mean(1)).T
  expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  value, (_, found, outputs) = jax.jit(partial(TASK.loss, train=False))(
    PARAMS, STATE, BATCH, KEY)
  rows = BATCH['mask'] > 0
  np.testing.assert_allclose(outputs['probabilities'][rows], expected[rows], atol=1e-5)
  np.testing.assert_array_equal(outputs['predictions'][rows], logits.argmax(1)[rows])
  assert value == pytest.approx(
    -np.log(expected[np.arange(5), LABELS])[rows].mean(), rel=1e-5)
  assert found['accuracy'].total == (logits.argmax(1) == LABELS)[rows].sum()


def test_training_is_that_of_images_and_captions():
  other = image_text(MODEL, losses.softmax_contrastive)
  values = [jax.jit(partial(task.loss, train=True))(PARAMS, STATE, BATCH, KEY)[0]
            for task in (TASK, other)]
  assert values[0] == values[1] > 0


def test_without_captions_images_are_classified_alike():
  evaluate = jax.jit(partial(TASK.loss, train=False))
  zeros = {**BATCH, **{name: np.zeros_like(BATCH[name]) for name in (
    'captions', 'caption_segments', 'caption_groups')}}
  found = [evaluate(PARAMS, STATE, batch, KEY)[1][2] for batch in (BATCH, zeros)]
  np.testing.assert_array_equal(
    found[0]['probabilities'], found[1]['probabilities'])
