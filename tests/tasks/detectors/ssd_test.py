"""Tests of the detector of SSD: its targets against plain loops."""

import jax
import numpy as np
import pytest

from bigmodels.tasks import detectors
from bigmodels.tasks.detectors import Truth
from bigmodels.tasks.detectors.ssd import (
  decoded,
  default_boxes,
  encoded,
  hardest,
  matched,
)
from tests.tasks.detecting import SHAPE, drawn_outputs, iou, truth

SETTINGS = {'scales': (2.0, 4.0), 'ratios': (1.0, 2.0)}
DETECTOR = detectors.ssd(**SETTINGS)
loss = jax.jit(DETECTOR.loss, static_argnums=2)
decode = jax.jit(DETECTOR.decode, static_argnums=1)


def outputs_of(seed):
  return drawn_outputs(seed, {'classes': (4, 4), 'offsets': (4, 4)})


OUTPUTS = outputs_of(0)
BOXES = default_boxes(OUTPUTS, SHAPE, **SETTINGS)


def matches(boxes, one, match):
  """Default box -> object, one after the other."""
  found = {}
  for index, box in enumerate(boxes):
    values = [iou(box, each) if there else -1
              for each, there in zip(one.boxes, one.present, strict=True)]
    if max(values) > match:
      found[index] = int(np.argmax(values))
  for number in np.flatnonzero(one.present):
    found[int(np.argmax([iou(box, one.boxes[number]) for box in boxes]))] = int(number)
  return found


def test_default_boxes():
  assert len(BOXES) == 4 * (8 * 10 + 4 * 5)
  sizes = BOXES[:, 2:] - BOXES[:, :2]
  np.testing.assert_allclose(sizes[:4], [
    [8, 8], [16, 16], [8 / 2**0.5, 8 * 2**0.5], [8 * 2**0.5, 8 / 2**0.5]], rtol=1e-6)
  np.testing.assert_allclose((BOXES[:4, :2] + BOXES[:4, 2:]) / 2, [[2, 2]] * 4)
  np.testing.assert_allclose(sizes[-4], [16, 16], rtol=1e-6)


def test_matches_are_those_of_a_loop():
  given = truth(4)
  find = jax.jit(jax.vmap(lambda one: matched(BOXES, one, 0.5)))
  has, of = map(np.asarray, find(given))
  for image in range(len(given.boxes)):
    expected = matches(BOXES, Truth(*(x[image] for x in given)), 0.5)
    assert {int(i): int(of[image, i]) for i in np.flatnonzero(has[image])} == expected
  assert has[:-1].any(1).all() and not has[-1].any()  # every object has one


def test_offsets_are_decoded():
  given = truth(5).boxes[0, 0]
  offsets = encoded(given, BOXES)
  np.testing.assert_allclose(decoded(offsets, BOXES), np.broadcast_to(
    given, BOXES.shape), rtol=1e-3, atol=1e-3)
  box = np.array([0.0, 0, 10, 20], np.float32)
  np.testing.assert_allclose(  # a tenth of a size is 1, and e^0.2 times is 1
    encoded(np.array([1 + 0, 4, 1 + 10, 4 + 20], np.float32), box), [1, 2, 0, 0],
    atol=1e-5)


def test_the_hardest_of_the_background():
  values = np.array([[5.0, 1, 4, 2, 3, 9], [1.0, 2, 3, 4, 5, 6]], np.float32)
  has = np.array([[1, 0, 0, 0, 0, 0], [0] * 6], bool)
  found = np.asarray(hardest(values, has, 3.0))
  np.testing.assert_array_equal(found, [[0, 0, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1]])


def test_the_losses_are_those_of_a_loop():
  given = truth(4)
  found = loss(OUTPUTS, given, SHAPE)
  logits, offsets = (np.concatenate([
    level[name].reshape(3, -1, level[name].shape[-1]) for level in OUTPUTS], 1).astype(
      np.float64) for name in ('classes', 'offsets'))
  for image in range(3):
    one = Truth(*(x[image] for x in given))
    pairs = matches(BOXES, one, 0.5)
    log_p = logits[image] - np.log(np.exp(logits[image]).sum(-1, keepdims=True))
    of_box = of_class = 0.0
    for index, number in pairs.items():
      target = np.asarray(encoded(one.boxes[number], BOXES[index]), np.float64)
      far = np.abs(offsets[image, index] - target)
      of_box += np.where(far < 1, far**2 / 2, far - 0.5).sum()
      of_class -= log_p[index, 1 + one.labels[number]]
    others = sorted(-log_p[i, 0] for i in range(len(BOXES)) if i not in pairs)
    of_class += sum(others[-3 * max(len(pairs), 1):])
    assert found.positives[image] == len(pairs)
    assert found.parts['boxes'][image] == pytest.approx(of_box, rel=1e-3)
    assert found.parts['classes'][image] == pytest.approx(of_class, rel=1e-3)


def test_decoded_boxes_have_the_probabilities_of_classes():
  boxes, scores = decode(OUTPUTS, SHAPE)
  assert boxes.shape == (3, len(BOXES), 4) and scores.shape == (3, len(BOXES), 3)
  logits = OUTPUTS[0]['classes'][0, 0, 0, 1]
  expected = np.exp(logits) / np.exp(logits).sum()
  np.testing.assert_allclose(scores[0, 1], expected[1:], rtol=1e-5)
  np.testing.assert_allclose(
    boxes[0, 1], decoded(OUTPUTS[0]['offsets'][0, 0, 0, 1], BOXES[1]), rtol=1e-4,
    atol=1e-4)


@pytest.mark.parametrize('settings, message', [
  ({'scales': ()}, r'scales, ratios: must be > 0'),
  ({'ratios': (2.0,)}, r'the first ratio 1; got \(2.0, 4.0\) and \(2.0,\)'),
  ({'match': 1.0}, 'match: must be > 0 and < 1, got 1.0'),
  ({'negatives': -1.0}, 'negatives: must be >= 0 and finite, got -1.0')])
def test_wrong_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    detectors.ssd(**settings)


def test_a_model_with_other_default_boxes():
  with pytest.raises(ValueError, match=r'are 6 default boxes in a cell, the model has '
                                       r'4: set --config.model.boxes=6'):
    default_boxes(OUTPUTS, SHAPE, (2.0, 4.0), (1.0, 2.0, 3.0))
