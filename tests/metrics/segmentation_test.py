"""Tests of metrics.segmentation: scikit-learn's numbers, of all pixels of a split."""

import numpy as np
import pytest
from sklearn import metrics as sk

from bigmodels import metrics

CLASSES = 4
rng = np.random.default_rng(0)
LABELS = rng.integers(0, 3, (5, 7, 6))  # no pixel of the last class
PREDICTIONS = np.where(rng.random(LABELS.shape) < 0.6, LABELS, rng.integers(
  0, 3, LABELS.shape))
COUNTED = rng.random(LABELS.shape) < np.linspace(0, 1, 5)[:, None, None]  # of 0, none


@pytest.fixture(scope='module')
def confusion():
  return np.asarray(metrics.pixel_confusion(LABELS, PREDICTIONS, COUNTED, CLASSES))


def test_counts_are_scikit_learns(confusion):
  assert confusion.dtype == np.int32 and confusion.shape == (5, CLASSES, CLASSES)
  assert not confusion[0].any()
  for label, prediction, counted, found in zip(
    LABELS[1:], PREDICTIONS[1:], COUNTED[1:], confusion[1:], strict=True):
    np.testing.assert_array_equal(found, sk.confusion_matrix(
      label[counted], prediction[counted], labels=range(CLASSES)))


def test_metrics_are_scikit_learns_over_all_pixels(confusion):
  found = metrics.segmentation({'confusion': confusion})
  label, prediction = LABELS[COUNTED], PREDICTIONS[COUNTED]
  for name, function in (('iou', sk.jaccard_score), ('dice', sk.f1_score)):
    expected = function(label, prediction, labels=range(3), average=None)
    np.testing.assert_allclose([found[f'{name}/{c}'] for c in range(3)], expected)
    assert found[f'mean_{name}'] == pytest.approx(expected.mean())
  assert found['accuracy'] == pytest.approx(np.mean(label == prediction))
  assert 'iou/3' not in found and 'dice/3' not in found


def test_large_images_count_more():
  """A split is not the mean of its images: 1 of 4 pixels, and 6 of 6."""
  confusion = np.array([[[1, 3], [0, 0]], [[0, 0], [0, 6]]])
  found = metrics.segmentation({'confusion': confusion})
  assert found['iou/0'] == 1 / 4 and found['iou/1'] == 6 / 9
  assert found['mean_iou'] == pytest.approx((1 / 4 + 6 / 9) / 2)


def test_more_pixels_than_float32_counts():
  confusion = np.full((3, 2, 2), 2**31 - 1, np.int32)
  confusion[:, 1, 0] = 0
  assert metrics.segmentation({'confusion': confusion})['accuracy'] == 2 / 3


def test_no_pixels():
  assert metrics.segmentation({'confusion': np.zeros((2, 3, 3), np.int32)}) == {}
