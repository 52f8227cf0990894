"""Tests of PSNR and SSIM against closed forms, loops and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import metrics

RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, 256, (3, 24, 31)).astype(np.float32)
NOISE = RNG.normal(0, [[[3]], [[12]], [[40]]], TARGETS.shape).round()
IMAGES = np.clip(TARGETS + NOISE, 0, 255).astype(np.float32)
ALL = np.ones(TARGETS.shape, bool)
psnr, ssim = map(jax.jit, (metrics.psnr, metrics.ssim))


def test_psnr_of_a_known_error():
  found = psnr(TARGETS, TARGETS + jnp.array([1, 5, 255])[:, None, None], ALL)
  expected = [20 * np.log10(255), 20 * np.log10(51), 0]
  np.testing.assert_allclose(found, expected, atol=1e-4)
  assert psnr(TARGETS, TARGETS, ALL).tolist() == [100] * 3


def window(x, y):
  """SSIM of two windows of 11 x 11 pixels."""
  at = np.arange(11) - 5
  weights = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
  weights /= weights.sum()
  mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
  var_x = (weights * (x - mean_x) ** 2).sum()
  var_y = (weights * (y - mean_y) ** 2).sum()
  both = (weights * (x - mean_x) * (y - mean_y)).sum()
  low, high = 2.55**2, 7.65**2
  return (2 * mean_x * mean_y + low) * (2 * both + high) / (
    (mean_x**2 + mean_y**2 + low) * (var_x + var_y + high))


def test_ssim_window_by_window():
  for x, y, found in zip(IMAGES.astype(float), TARGETS.astype(float),
                         ssim(IMAGES, TARGETS, ALL), strict=True):
    expected = np.mean([window(x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11])
                        for i in range(14) for j in range(21)])
    assert found == pytest.approx(expected, abs=1e-5)
  np.testing.assert_allclose(ssim(TARGETS, TARGETS, ALL), 1, atol=1e-6)


@pytest.mark.reference
def test_as_scikit_image():
  measure = pytest.importorskip(
    'skimage.metrics', reason='scikit-image is what this compares with')
  for x, y, ours, similar in zip(IMAGES, TARGETS, psnr(IMAGES, TARGETS, ALL),
                                 ssim(IMAGES, TARGETS, ALL), strict=True):
    assert ours == pytest.approx(
      measure.peak_signal_noise_ratio(y, x, data_range=255), abs=1e-4)
    assert similar == pytest.approx(measure.structural_similarity(
      x, y, data_range=255, gaussian_weights=True, sigma=1.5,
      use_sample_covariance=False), abs=1e-5)


@pytest.mark.parametrize('measure', [psnr, ssim])
def test_only_what_counts_is_read(measure):
  counted = np.zeros(ALL.shape, bool)
  counted[:, 3:20, 2:29] = True
  whole = ALL[:, 3:20, 2:29]
  images, targets = (x[:, 3:20, 2:29] for x in (IMAGES, TARGETS))
  np.testing.assert_allclose(measure(IMAGES, TARGETS, counted),
                             measure(images, targets, whole), rtol=1e-5)


def test_smooth_images_keep_their_digits():
  """The variances of bright images are small differences of large numbers."""
  smooth = np.full(TARGETS.shape, 250, np.float32)
  noisy = smooth + RNG.choice([-1, 1], smooth.shape).astype(np.float32)
  expected = [np.mean([window(image[i : i + 11, j : j + 11].astype(float),
                              smooth[0, :11, :11].astype(float))
                       for i in range(14) for j in range(21)]) for image in noisy]
  np.testing.assert_allclose(ssim(noisy, smooth, ALL), expected, atol=1e-4)
