"""Tests of tasks.segmentation: its loss, what does not count, and whole images."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.models import Mlp, SegmentationUnet
from bigmodels.tasks import Split, segmentation
from bigmodels.tasks.tiles import in_tiles
from tests.models.segmenting import random

MODEL = SegmentationUnet(3, width=4, halvings=1)
MEAN, STD = (100.0,), (60.0,)
TASK = segmentation(MODEL, mean=MEAN, std=STD, dice=0.5)
VARIABLES = random(MODEL)
PARAMS, STATS = VARIABLES['params'], {'batch_stats': VARIABLES['batch_stats']}
KEY = jax.random.PRNGKey(0)
evaluate = jax.jit(partial(TASK.loss, train=False))


def batch(n=4, shape=(9, 12)):
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 3, (n, *shape)).astype(np.uint8)
  inside = np.ones((n, *shape), bool)
  inside[1, 5:], inside[1, :, 7:] = False, False
  return {'inputs': (60 * labels + rng.integers(0, 60, labels.shape)).astype(np.uint8)[
    ..., None], 'labels': np.where(rng.random(labels.shape) < 0.1, 255, labels).astype(
      np.uint8), 'inside': inside, 'mask': np.array([1, 1, 1, 0], np.float32)[:n]}


def of(given, rows):
  return {name: x[rows] for name, x in given.items()}


@pytest.fixture(scope='module')
def evaluated():
  value, (_, found, outputs) = evaluate(PARAMS, STATS, batch(), KEY)
  return jax.tree.map(np.asarray, (value, found, outputs))


network = jax.jit(partial(MODEL.apply, VARIABLES, train=False))


def logits_of(given):
  inputs = ((given['inputs'] - 100.0) / 60).astype(np.float32)
  return np.asarray(network(inputs, given['inside']), np.float64)


def test_the_loss_is_cross_entropy_and_dice_of_the_pixels_that_count(evaluated):
  given = batch()
  logits, expected = logits_of(given), []
  counted = given['inside'] & (given['labels'] != 255)
  for row in range(3):
    pixels = logits[row][counted[row]]
    labels = given['labels'][row][counted[row]]
    log_p = pixels - np.log(np.exp(pixels).sum(-1, keepdims=True))
    entropy = -log_p[np.arange(len(labels)), labels].mean()
    p, truth = np.exp(log_p), np.eye(3)[labels]
    dice = 1 - np.mean((2 * (p * truth).sum(0) + 1) / (p.sum(0) + truth.sum(0) + 1))
    expected.append(entropy + 0.5 * dice)
  value, found, outputs = evaluated
  assert value == pytest.approx(np.mean(expected), rel=1e-5)
  assert found['loss'].count == 3
  np.testing.assert_array_equal(outputs['predictions'][:3], logits[:3].argmax(-1))
  right = (outputs['predictions'] == given['labels'])[:3][counted[:3]]
  assert found['accuracy'].compute() == pytest.approx(right.mean())
  assert outputs['confusion'][:3].sum() == counted[:3].sum() == found['accuracy'].count
  assert not outputs['confusion'][3].any()
  assert (outputs['labels'][:3] == 255).sum() == (~counted[:3]).sum()


def test_pixels_that_do_not_count_and_padding_change_nothing(evaluated):
  given, rng = batch(), np.random.default_rng(5)
  given['labels'] = np.where(given['inside'], given['labels'], rng.integers(
    0, 3, given['labels'].shape)).astype(np.uint8)
  noise = rng.integers(0, 256, given['inputs'].shape).astype(np.uint8)
  given['inputs'] = np.where(given['inside'][..., None], given['inputs'], noise)
  given['inputs'][3] = given['labels'][3] = 7  # masked
  value, (_, found, outputs) = evaluate(PARAMS, STATS, given, KEY)
  assert value == evaluated[0] and found['loss'] == evaluated[1]['loss']
  np.testing.assert_array_equal(outputs['confusion'], evaluated[2]['confusion'])


def test_an_image_without_pixels_that_count():
  given = batch()
  given['labels'][0] = 255
  value, (_, found, _) = evaluate(PARAMS, STATS, given, KEY)
  others = evaluate(PARAMS, STATS, of(batch(), [1, 2, 3, 3]), KEY)[0]
  assert found['loss'].count == 2 and value == pytest.approx(float(others), rel=1e-6)


@pytest.mark.parametrize('ignore', [0, -1, 1000])
def test_any_label_may_be_ignored(ignore):
  task = segmentation(MODEL, mean=MEAN, std=STD, ignore=ignore)
  given = batch()  # 255 is outside of an image, as padding is
  value, (_, found, outputs) = jax.jit(partial(task.loss, train=False))(
    PARAMS, STATS, given, KEY)
  assert np.isfinite(value)
  counted = (given['labels'] != ignore) & (given['labels'] != 255) & given['inside']
  counted[3] = False  # masked
  # What does not count is no class: plots draw it as such.
  np.testing.assert_array_equal(
    outputs['labels'], np.where(counted, given['labels'], 255))
  assert found['accuracy'].count == counted.sum()


def test_weights_of_images():
  given = batch() | {'weights': np.array([3, 0, 1, 5], np.float32)}
  value, (_, found, _) = evaluate(PARAMS, STATS, given, KEY)
  each = [evaluate(PARAMS, STATS, of(batch(), [row, 3, 3, 3]), KEY)[0]
          for row in (0, 2)]
  assert found['loss'].count == 4
  assert value == pytest.approx(float(3 * each[0] + each[1]) / 4, rel=1e-5)


def test_one_batch_is_learned_by_heart():
  given, optimizer = of(batch(), slice(0, 3)), optax.adam(1e-2)

  @jax.jit
  def train(params):
    def step(carry, _):
      params, stats, state = carry
      (value, (stats, found, _)), gradient = jax.value_and_grad(
        lambda p: TASK.loss(p, stats, given, KEY, True), has_aux=True)(params)
      updates, state = optimizer.update(gradient, state)
      accuracy = found['accuracy'].total / found['accuracy'].count
      return (optax.apply_updates(params, updates), stats, state), (value, accuracy)
    return jax.lax.scan(step, (params, STATS, optimizer.init(params)), None, 200)[1]

  values, accuracies = train(PARAMS)
  assert values[-1] < 0.1 * values[0] and accuracies[-1] > 0.97


def test_an_image_of_any_size_is_segmented():
  image = np.random.default_rng(2).integers(0, 256, (1, 9, 1)).astype(np.uint8)
  found = TASK.image_to_image(PARAMS, STATS, image)
  assert found.dtype == np.uint8 and found.shape == (1, 9)
  logits = logits_of({'inputs': image[None], 'inside': np.ones((1, 1, 9), bool)})[0]
  np.testing.assert_array_equal(found, logits.argmax(-1))


def test_tiles_have_no_seams():
  """Each is pooled at the same places as the whole image."""
  image = np.random.default_rng(2).integers(0, 256, (21, 18, 1)).astype(np.uint8)

  def first(part, inside):
    return logits_of({'inputs': part[None], 'inside': inside[None]})[0, ..., 0]

  found = in_tiles(first, image, scale=1, radius=MODEL.radius, tile=8)
  np.testing.assert_allclose(found, first(image, np.ones((21, 18), bool)), atol=1e-4)


@pytest.mark.parametrize('more, message', [
  ({'labels': np.zeros((4, 9, 11), int)}, r'needs labels, integers \(4, 9, 12\)'),
  ({'inputs': np.zeros((4, 9, 12, 1), np.float32)}, 'leave standardize out'),
  ({'inputs': np.zeros((4, 9, 12, 3), np.uint8)}, 'mean and std are|shape')])
def test_batches_that_do_not_fit(more, message):
  with pytest.raises(Exception, match=message):
    jax.eval_shape(partial(TASK.loss, train=False), PARAMS, STATS, batch() | more, KEY)


def test_models_that_do_not_fit():
  with pytest.raises(ValueError, match=r'needs logits \[batch, height, width'):
    task = segmentation(Mlp(3), mean=MEAN, std=STD)
    given = {k: v for k, v in batch().items() if k != 'inside'}
    params, stats = jax.eval_shape(task.init, KEY, given)
    jax.eval_shape(partial(task.loss, train=False), params, stats, given, KEY)
  with pytest.raises(ValueError, match='dice: must be >= 0 and finite, got -1'):
    segmentation(MODEL, mean=MEAN, std=STD, dice=-1)
  assert segmentation(Mlp(3), mean=MEAN, std=STD).image_to_image is None


def checked(labels, classes=('a', 'b', 'c'), outputs=()):
  lines = []
  TASK.check(Split('train', len(labels), classes, True, labels, dict(outputs), None,
                   lines.append))
  return lines


def test_masks_that_cannot_be_learned():
  labels = batch()['labels']
  assert checked(labels) == []
  assert checked(np.minimum(labels, 1)) == ['train: no pixel of 1 of 3 classes: c']
  wrong = labels.copy()
  wrong[2, 4, 5] = 3
  with pytest.raises(UserError, match=r'label of row 2 is 3 at \[4, 5\], must be 0 to '
                                      '2 for 3 classes, or 255'):
    checked(wrong)
  with pytest.raises(UserError, match='no pixel of 4 masks counts: all labels are'):
    checked(np.full_like(labels, 255))
  with pytest.raises(UserError, match='model has 5 outputs, the data has 3 classes'):
    checked(labels, outputs={'confusion': jax.ShapeDtypeStruct((4, 5, 5), jnp.int32)})
