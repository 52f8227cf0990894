"""Tests of layers.bicubic against plain loops, Pillow and published numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from bigmodels.data import Downscaled
from bigmodels.layers import bicubic
from tests import conftest
from tests.data.folders.written import context

IMAGE = np.random.default_rng(0).uniform(0, 255, (13, 17))


def kernel(x):
  x = abs(x)
  if x <= 1:
    return 1.5 * x**3 - 2.5 * x**2 + 1
  return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


def loop(line, factor):
  """A line resized: each new pixel is a weighted mean over the mirrored line."""
  stretch = max(1, 1 / factor)
  found = []
  for new in range(math.ceil(len(line) * factor)):
    position, total, weights = (new + 0.5) / factor - 0.5, 0.0, 0.0
    for at in range(int(position - 2 * stretch) - 1, int(position + 2 * stretch) + 2):
      weight = kernel((position - at) / stretch)
      mirrored = at % (2 * len(line))
      mirrored = min(mirrored, 2 * len(line) - 1 - mirrored)
      total, weights = total + weight * line[mirrored], weights + weight
    found.append(total / weights)
  return found


@pytest.mark.parametrize('numerator, denominator', [(1, 2), (1, 3), (1, 4), (2, 1),
                                                    (3, 1), (4, 1)])
def test_every_pixel_by_a_loop(numerator, denominator):
  factor = numerator / denominator
  rows = np.array([loop(line, factor) for line in IMAGE.T]).T
  expected = np.array([loop(line, factor) for line in rows])
  found = bicubic.resize(IMAGE, numerator, denominator)
  assert found.shape == tuple(math.ceil(n * factor) for n in IMAGE.shape)
  np.testing.assert_allclose(found, expected, atol=1e-9)
  traced = jax.jit(lambda x: bicubic.resize(x, numerator, denominator))(
    jnp.asarray(IMAGE, jnp.float32))
  np.testing.assert_allclose(traced, expected, atol=1e-3)


@pytest.mark.parametrize('numerator, denominator', [(1, 2), (1, 3), (1, 4), (3, 1)])
def test_away_from_the_edges_as_pillow(numerator, denominator):
  image = np.random.default_rng(0).uniform(0, 255, (48, 60)).astype(np.float32)
  size = [n * numerator // denominator for n in image.shape]
  expected = np.asarray(Image.fromarray(image).resize(
    size[::-1], Image.Resampling.BICUBIC))
  edge = 2 * max(1, numerator)
  np.testing.assert_allclose(
    bicubic.resize(image, numerator, denominator)[edge:-edge, edge:-edge],
    expected[edge:-edge, edge:-edge], atol=1e-3)


def test_a_padded_image_is_enlarged_as_without_padding():
  image = IMAGE.astype(np.float32)
  padded = np.pad(image, ((0, 4), (0, 6)), constant_values=99)
  found = jax.jit(lambda x, sizes: bicubic.resize(x, 3, sizes=sizes))(
    padded, jnp.array(image.shape))
  np.testing.assert_allclose(found[:39, :51], bicubic.resize(image, 3), atol=1e-3)


# Set5 and Set14 at scales of 2, 3 and 4, in dB. Published numbers are of smaller images
# that are not rounded to 8 bits: 33.66, 30.39, 28.42 and 30.23, 27.54, 26.00.
@pytest.mark.parametrize('name, scale, expected', [
  ('set5', 2, 33.65), ('set5', 3, 30.39), ('set5', 4, 28.42),
  ('set14', 2, 30.23), ('set14', 3, 27.54), ('set14', 4, 26.00)])
def test_the_published_psnr_of_bicubic_enlargement(name, scale, expected, tmp_path):
  folder = conftest.SHARED / 'data' / 'sr' / name
  if not folder.is_dir():
    pytest.skip('the images of ../shared/data/sr are not here')
  columns = Downscaled(str(folder), scale).open(context(tmp_path)).load()
  found = []
  for low, high, inside in zip(*(columns[n] for n in ('inputs', 'labels', 'inside')),
                               strict=True):
    height, width = inside.any(1).sum(), inside.any(0).sum()
    large = np.round(np.clip(bicubic.resize(
      low[:height, :width, 0].astype(float), scale), 0, 255))
    errors = (large - high[: height * scale, : width * scale, 0])[
      scale:-scale, scale:-scale]
    found.append(10 * np.log10(255**2 / np.mean(errors**2)))
  assert round(float(np.mean(found)), 2) == pytest.approx(expected)
