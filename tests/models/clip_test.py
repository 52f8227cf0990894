"""Tests of bigmodels.models.clip."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels.models import BagOfWords, CifarResNet, Clip, Vit

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 8, 8, 3)).astype(np.float32)
CAPTIONS = RNG.integers(1, 20, (2, 4, 6))  # not as many as images
COUNTS = np.array([[6, 3, 1, 0], [2, 6, 6, 5]])  # of tokens
SEGMENTS = (np.arange(6) < COUNTS[..., None]).astype(int)
VIT = Vit(None, size=8, patch=4, depth=1, width=8, heads=2, pooling='mean', unroll=True)
MODEL = Clip(VIT, BagOfWords(20, width=8, dropout=0.0), width=5, bias=-10.0)


def variables(model):
  made = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), IMAGES,
                        captions=CAPTIONS)
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: np.float32(0.4 * rng.normal(size=x.shape)), made)


def test_a_caption_is_the_mean_of_its_tokens():
  made = variables(MODEL)
  images, texts, scale, bias = jax.jit(partial(MODEL.apply, train=False))(
    made, IMAGES, captions=CAPTIONS, caption_segments=SEGMENTS)
  params = jax.tree.map(np.float64, made['params'])
  table = params['encoder']['tokens']['embedding'] * params['encoder']['weights'][
    :, None]
  for row in np.ndindex(2, 4):
    kept = CAPTIONS[row][: SEGMENTS[row].sum()]
    mean = table[kept].mean(0) if len(kept) else np.zeros(8)
    np.testing.assert_allclose(
      texts[row], mean @ params['text_head']['kernel'], atol=1e-5)
  alone = VIT.apply({'params': made['params']['image']}, IMAGES, train=False)
  assert alone.shape == (3, 8)
  np.testing.assert_allclose(
    images, alone @ params['image_head']['kernel'], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(scale, np.exp(params['log_scale']), rtol=1e-6)
  assert bias == made['params']['bias']
  again, none, *_ = jax.jit(partial(MODEL.apply, train=False))(made, IMAGES)
  assert none is None
  np.testing.assert_allclose(again, images, atol=1e-6)


def test_maps_are_averaged_and_the_scale_is_bounded():
  model = Clip(CifarResNet(None, depth=8, width=2), BagOfWords(20, width=8), width=5)
  made = jax.jit(partial(model.init, train=False))(
    jax.random.key(0), IMAGES, captions=CAPTIONS)
  assert 'bias' not in made['params']
  np.testing.assert_allclose(made['params']['log_scale'], np.log(1 / 0.07), rtol=1e-6)
  made['params']['log_scale'] += 9
  images, _, scale, bias = jax.jit(partial(model.apply, train=False))(made, IMAGES)
  assert images.shape == (3, 5) and bias == 0
  np.testing.assert_allclose(scale, 100, rtol=1e-5)


def test_settings_that_are_refused():
  with pytest.raises(ValueError, match='max_scale: must be > 0'):
    Clip(VIT, None, max_scale=0.0)
  with pytest.raises(ValueError, match='scale: must be at most max_scale'):
    Clip(VIT, None, max_scale=5.0)
