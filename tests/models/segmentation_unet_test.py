"""Tests of models.segmentation_unet: sides, padding, what a pixel reads."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import SegmentationUnet
from tests.models.segmenting import random

SMALL = SegmentationUnet(3, width=2, halvings=2)
VARIABLES = random(SMALL)
logits = jax.jit(lambda x, inside=None: SMALL.apply(
  VARIABLES, x, inside, train=False))


@pytest.mark.parametrize('shape', [(1, 1), (7, 10)])
def test_images_of_any_size(shape):
  images = np.random.default_rng(0).normal(size=(2, *shape, 1)).astype(np.float32)
  found = logits(images)
  assert found.shape == (2, *shape, 3) and np.isfinite(found).all()


def test_padding_changes_nothing():
  """Whatever lies around an image, in whole steps before it, it has the same logits."""
  image = np.random.default_rng(1).normal(size=(7, 10, 1)).astype(np.float32)
  margin = ((4, 3), (8, 5))
  padded = np.pad(image, (*margin, (0, 0)), constant_values=0.7)
  inside = np.pad(np.ones((7, 10), bool), margin)
  found, plain = logits(np.stack([padded] * 2), np.stack([inside, inside | True])
                        )[:, 4:11, 8:18]
  np.testing.assert_allclose(found, logits(image[None])[0], atol=2e-5)
  assert not np.allclose(plain, found, atol=1e-2)


def test_what_a_pixel_reads_is_within_its_radius():
  """A value that is not a number is spread as far as it is read."""
  radius, step = SMALL.radius, 2**SMALL.halvings
  assert radius % step == 0
  size = 2 * radius + 2 * step
  places = np.arange(size // 2, size // 2 + step)
  images = np.zeros((step, size, 9, 1), np.float32)
  images[np.arange(step), places] = np.nan
  read = np.isnan(logits(images)).any((2, 3))
  first, last = read.argmax(1), size - 1 - read[:, ::-1].argmax(1)
  # All of 7 * 4 - 5 pixels at the worst place, and never more than the radius.
  assert max((places - first).max(), (last - places).max()) == 7 * step - 5 <= radius


def test_parameters_are_those_of_the_paper():
  # 64 channels, four halvings, 2 x 2 up-convolutions, and 1 x 1 to two classes; here
  # scales and biases of normalization in place of biases.
  model = SegmentationUnet(2)
  params = jax.eval_shape(lambda: model.init(
    jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False))['params']
  count = sum(x.size for x in jax.tree.leaves(params))
  widths = [64 * 2**level for level in range(5)]
  down = sum(9 * (a * b + b * b) + 4 * b for a, b in zip(
    [1, *widths[:-1]], widths, strict=True))
  up = sum(4 * 2 * b * b + b + 9 * (2 * b * b + b * b) + 4 * b for b in widths[:-1])
  assert count == down + up + 64 * 2 + 2
  assert round(count / 1e6, 1) == 31.0


def test_dropout_and_statistics_in_training_only():
  model = SMALL.clone(dropout=0.5)
  images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)

  @jax.jit
  def train(key):
    return model.apply(VARIABLES, images, train=True, rngs={'dropout': key},
                       mutable='batch_stats')

  (one, stats), (other, _) = (train(jax.random.key(i)) for i in (0, 1))
  assert np.abs(one - other).max() > 1e-3
  before = VARIABLES['batch_stats']['down0_0']['norm']['mean']
  assert np.abs(stats['batch_stats']['down0_0']['norm']['mean'] - before).max() > 1e-3
  np.testing.assert_array_equal(
    jax.jit(partial(model.apply, VARIABLES, train=False))(images), logits(images))


@pytest.mark.reference
def test_as_in_pytorch():
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional
  images = np.random.default_rng(0).normal(size=(2, 11, 6, 1)).astype(np.float32)

  def tensors(name, collection='params'):
    return jax.tree.map(
      lambda x: torch.tensor(np.array(x)), VARIABLES[collection][name])

  def layers(x, name):
    for layer in range(2):
      given, stats = tensors(f'{name}_{layer}'), tensors(
        f'{name}_{layer}', 'batch_stats')
      x = functional.conv2d(
        x, given['conv']['kernel'].permute(3, 2, 0, 1), padding=1)
      x = functional.relu(functional.batch_norm(
        x, stats['norm']['mean'], stats['norm']['var'], given['norm']['scale'],
        given['norm']['bias'], eps=1e-5))
    return x

  x, skips = torch.tensor(images).permute(0, 3, 1, 2), []
  for level in range(2):
    x = layers(x, f'down{level}')
    skips.append(x)
    x = functional.max_pool2d(x, 2, ceil_mode=True)
  x = layers(x, 'down2')
  for level in (1, 0):
    given, skip = tensors(f'enlarge{level}'), skips.pop()
    x = functional.conv_transpose2d(
      x, given['kernel'].permute(3, 2, 0, 1), given['bias'], stride=2)
    x = layers(torch.cat([skip, x[..., : skip.shape[2], : skip.shape[3]]], 1),
               f'up{level}')
  head = tensors('head')
  expected = x.permute(0, 2, 3, 1) @ head['kernel'] + head['bias']
  np.testing.assert_allclose(logits(images), expected, atol=2e-5)


@pytest.mark.parametrize('settings, message', [
  ({'width': 0}, 'width: must be >= 1, got 0'),
  ({'halvings': 7}, 'halvings: must be 1 to 6, got 7'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1')])
def test_settings_out_of_range(settings, message):
  with pytest.raises(ValueError, match=message):
    SegmentationUnet(3, **settings)


def test_images_of_integers():
  with pytest.raises(ValueError, match='Unet needs images of floats, got int32'):
    jax.eval_shape(
      partial(SMALL.apply, VARIABLES, train=False), jnp.zeros((1, 8, 8, 1), int))
