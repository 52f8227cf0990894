"""Tests of plots.super_resolution."""

import numpy as np
import pytest

from bigmodels import plots
from tests.plots.rendering import render


def outputs(count, size=70):
  rng = np.random.default_rng(0)
  truth = rng.integers(0, 256, (count, size, size + 9)).astype(np.uint8)
  smooth = truth.copy()
  smooth[:, 5:8, 40:44] = 255 - truth[:, 5:8, 40:44]
  return {
    'targets': truth, 'predictions': truth, 'bicubic': smooth,
    'sizes': np.full((count, 2), (size, size + 4)), 'psnr': np.full(count, 40.0),
    'ssim': np.full(count, 0.95), 'psnr_bicubic': np.linspace(30, 20, count),
    'ssim_bicubic': np.full(count, 0.9)}


def words(rows):
  return [{'image': f'picture {row}'} for row in rows]


def test_images_beside_each_other():
  drawn = render(plots.super_resolution(
    outputs(7), plots.Inputs(None, words), None))
  axes = drawn['Enlarged images'].axes
  assert len(axes) == 5 * 4  # of seven images five
  titles = [each.get_title(loc='left') for each in axes[:4]]
  assert titles == ['picture 0\n74 x 70 pixels', 'bicubic\n30.00 dB, SSIM 0.9000',
                    'enlarged\n40.00 dB, SSIM 0.9500', 'truth\n ']
  left, top = axes[0].patches[0].get_xy()
  assert left <= 40 and left + 64 >= 44 and top <= 5
  truth = outputs(7)['targets'][0]
  np.testing.assert_array_equal(axes[3].images[0].get_array(),
                                truth[top : top + 64, left : left + 64])
  scores = drawn['PSNR of each image'].axes[0]
  assert scores.get_yticklabels()[0].get_text() == 'picture 6'
  assert [each.get_text() for each in scores.get_legend().get_texts()] == [
    'bicubic, 25.00 dB', 'enlarged, 40.00 dB']


@pytest.mark.parametrize('count, size', [(1, 32), (60, 70)])
def test_few_and_many(count, size):
  drawn = render(plots.super_resolution(
    outputs(count, size), plots.Inputs(None), None))
  axes = drawn['Enlarged images'].axes[0]
  frame, (height, width) = axes.patches[0].get_bbox(), outputs(count, size)['sizes'][0]
  assert frame.x1 <= width - 1 and frame.y1 <= height - 1  # inside of the image
