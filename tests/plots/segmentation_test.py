"""Tests of plots.segmentation."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from bigmodels import metrics, plots
from bigmodels.plots.segmentation import coloured
from bigmodels.plots.style import mask_colours
from tests.plots.rendering import render


def outputs(count, shape=(12, 15), classes=3):
  rng = np.random.default_rng(0)
  labels = rng.integers(0, classes, (count, *shape)).astype(np.uint8)
  labels[:, 10:], labels[:, :, 13:] = 255, 255  # padding
  predictions = np.where(rng.random(labels.shape) < np.linspace(0.2, 1, count)[
    :, None, None], labels % classes, 0).astype(np.uint8)
  counted = labels < 255
  confusion = metrics.pixel_confusion(
    np.where(counted, labels, 0), predictions, counted, classes)
  return {'labels': labels, 'predictions': predictions,
          'confusion': np.array(confusion)}


def inputs(count):
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (count, 12, 15, 3)).astype(np.uint8)
  return plots.Inputs(lambda rows: images[rows], lambda rows: [
    {'image': f'photo {row}'} for row in rows])


def test_images_from_the_worst_to_the_best():
  given, read = outputs(9), inputs(9)
  drawn = render(plots.segmentation(given, read, ('sky', 'sea', 'land')))
  axes = drawn['Images and masks'].axes
  assert len(axes) == 6 * 4
  each = [jaccard_score(label[label < 255], prediction[label < 255], average='macro',
                        labels=range(3)) for label, prediction in zip(
    given['labels'], given['predictions'], strict=True)]
  order = np.argsort(each)
  for place, row in ((0, order[0]), (5, order[-1])):
    image, true, predicted, mistakes = axes[4 * place : 4 * place + 4]
    assert image.get_title(loc='left') == f'photo {row}'
    assert predicted.get_title(loc='left') == f'predicted, mean IoU {each[row]:.3f}'
    label, prediction = (given[name][row, :10, :13] for name in (
      'labels', 'predictions'))  # without padding
    np.testing.assert_array_equal(true.images[0].get_array(), mask_colours()[label])
    assert image.images[0].get_array().shape == (10, 13, 3)
    wrong = (label != prediction).mean()
    assert mistakes.get_title(loc='left') == f'mistakes, {wrong:.1%} of pixels'
  legend, = drawn['Images and masks'].legends
  assert [each.get_text() for each in legend.get_texts()] == ['sky', 'sea', 'land']


def test_a_legend_of_long_names_is_not_cut():
  given = outputs(2, classes=9)
  figure = render(plots.segmentation(
    given, None, [f'_a class of a long name {number}' for number in range(9)])
    )['Images and masks']
  legend, = figure.legends
  assert len(legend.get_texts()) == 9
  assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_bars_of_classes():
  given = outputs(4)
  given['confusion'][:, :, 2] = given['confusion'][:, 2] = 0
  axes = render(plots.segmentation(given, None, None))['IoU of each class'].axes[0]
  found = metrics.segmentation(given)
  assert [bar.get_width() for bar in axes.patches] == pytest.approx(
    [found['iou/0'], found['iou/1']])
  assert axes.get_title(loc='left') == (
    f'dashed: the mean, {found["mean_iou"]:.4f}\n1 class without pixels left out')


def test_one_image_and_many_classes():
  render(plots.segmentation(outputs(1, classes=40), None, None))


def test_no_pixels_that_count():
  given = outputs(2)
  given['confusion'][:] = 0
  assert plots.segmentation(given, None, None) == {}


def test_colours_are_those_of_pascal_voc():
  """aeroplane, bicycle, bird, and tvmonitor of its development kit."""
  found = mask_colours()
  assert found[[0, 1, 2, 3, 20]].tolist() == [
    [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 64, 128]]
  assert len({*map(tuple, found.tolist())}) == 256
  assert coloured(np.array([[1, 255]]), 2).tolist() == [[[128, 0, 0], [224, 224, 192]]]
