"""Tests of bigmodels.data.transforms.colour against Pillow and colorsys."""

import colorsys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import stats

from bigmodels.data import transforms

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3)).astype(np.uint8)
ENHANCE = {'brightness': ImageEnhance.Brightness, 'contrast': ImageEnhance.Contrast,
           'saturation': ImageEnhance.Color}


def apply(images, key=KEY, **strengths):
  transform = jax.jit(partial(transforms.colour, **strengths))
  return np.asarray(transform({'inputs': images}, key)['inputs'])


def factors(name, n, strength):
  """What was drawn, from images whose change tells it: red on the left, mid-grey."""
  images = np.full((n, 2, 2, 3), 0.5, np.float32)
  if name == 'contrast':
    images[:, :, 0], images[:, :, 1] = 0.375, 0.625
  if name == 'saturation':
    images[..., 0], images[..., 1] = 0.55, 0.45
  result = apply(images, **{name: strength})
  if name == 'brightness':
    return result[:, 0, 0, 0] / 0.5
  if name == 'contrast':
    return (result[:, 0, 1, 0] - result[:, 0, 0, 0]) / 0.25
  return (result[:, 0, 0, 0] - result[:, 0, 0, 1]) / 0.1


@pytest.mark.parametrize('name', ENHANCE)
def test_each_is_that_of_pillow_at_the_factor_it_drew(name):
  drawn = factors(name, len(IMAGES), 0.6)
  expected = [np.asarray(ENHANCE[name](Image.fromarray(image)).enhance(float(f)))
              for image, f in zip(IMAGES, drawn, strict=True)]
  result = apply(IMAGES, **{name: 0.6})
  assert result.dtype == np.uint8
  # Pillow takes the mean and greys as whole numbers, and cuts off where we round.
  np.testing.assert_allclose(result.astype(int), expected, atol=2)


@pytest.mark.parametrize('name, strength, low, high', [
  ('brightness', 0.4, 0.6, 1.4), ('contrast', 0.4, 0.6, 1.4),
  ('saturation', 1.5, 0.0, 2.5)])
def test_factors_are_uniform(name, strength, low, high):
  drawn = factors(name, 400, strength)
  assert stats.kstest(drawn, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_hue_turns_the_circle_of_colours():
  red = np.zeros((400, 1, 1, 3), np.float32)
  red[..., 0] = 0.8
  turned = [colorsys.rgb_to_hsv(*map(float, rgb))[0]
            for rgb in apply(red, hue=0.2).reshape(-1, 3)]
  turns = (np.array(turned) + 0.5) % 1 - 0.5
  assert stats.kstest(turns, stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-3
  images = np.random.default_rng(1).uniform(size=(400, 2, 2, 3)).astype(np.float32)
  result = apply(images, hue=0.2)
  for image, found, turn in zip(images[:5], result[:5], turns[:5], strict=True):
    hsv = np.array([colorsys.rgb_to_hsv(*map(float, p)) for p in image.reshape(-1, 3)])
    expected = [colorsys.hsv_to_rgb((h + turn) % 1, s, v) for h, s, v in hsv]
    np.testing.assert_allclose(found.reshape(-1, 3), expected, atol=1e-5)


def test_all_four_one_after_the_other():
  strengths = {'brightness': 0.4, 'contrast': 0.4, 'saturation': 0.4, 'hue': 0.1}
  images = IMAGES.astype(np.float32) / 255
  expected = images
  for name, strength in strengths.items():
    expected = apply(expected, **{name: strength})
  np.testing.assert_allclose(apply(images, **strengths), expected, atol=1e-5)
  assert np.abs(expected - images).max() > 0.1


@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'bfloat16'])
def test_dtype_is_kept_and_no_strength_is_nothing(dtype):
  images = jnp.asarray(IMAGES if dtype == 'uint8' else IMAGES / 255).astype(dtype)
  result = transforms.colour({'inputs': images}, KEY)['inputs']
  assert result.dtype == dtype
  np.testing.assert_array_equal(result, images)


def test_images_without_colour():
  one = IMAGES[..., :1]
  result = apply(one, brightness=0.5, contrast=0.5, saturation=0.9)
  assert result.shape == one.shape and not np.array_equal(result, one)
  np.testing.assert_array_equal(apply(one, saturation=0.9), one)
  with pytest.raises(ValueError, match=r'hue needs images of 3 channels, got \(6, 8'):
    apply(one, hue=0.1)


@pytest.mark.parametrize('strengths, message', [
  ({'contrast': -0.1}, 'contrast must be >= 0, got -0.1'),
  ({'hue': 0.6}, 'hue must be 0 to 0.5, got 0.6')])
def test_wrong_strengths_are_refused(strengths, message):
  with pytest.raises(ValueError, match=message):
    apply(IMAGES, **strengths)
