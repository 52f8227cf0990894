"""Tests of tasks.detection: normalization, masks, what is found, and its errors."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.learners.gradient import mean_gradient
from bigmodels.tasks import detection, detectors
from bigmodels.tasks.task import Split
from tests.tasks.detecting import SHAPE, truth

KEY = jax.random.PRNGKey(0)


class Cells(nn.Module):
  """A linear map of cells of 4 x 4 pixels; it has the outputs of CenterNet."""

  num_outputs: int = 3

  @nn.compact
  def __call__(self, inputs, *, train):
    del train
    b, h, w, c = inputs.shape
    x = inputs.reshape(b, h // 4, 4, w // 4, 4, c).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, h // 4, w // 4, 16 * c)
    return {name: nn.Dense(count, name=name, kernel_init=nn.initializers.normal(0.1))(x)
            for name, count in (('centres', self.num_outputs), ('sizes', 2),
                                ('offsets', 2))}


TASK, DETECTOR = detection(Cells(), detectors.centernet), detectors.centernet()
cells = jax.jit(lambda params, x: Cells().apply({'params': params}, x, train=False))


def batch(seed=0, images=4, **fields):
  given = truth(seed, images)
  rng = np.random.default_rng(seed)
  areas = np.prod(given.boxes[..., 2:] - given.boxes[..., :2], -1)
  scales = rng.uniform(0.5, 2, (images, 2)).astype(np.float32)
  return {'inputs': rng.normal(size=(images, *SHAPE, 1)).astype(np.float32),
          'boxes': given.boxes, 'labels': given.labels.astype(np.int32),
          'present': given.present, 'crowd': np.zeros_like(given.present),
          'areas': areas, 'scales': scales, 'sizes': SHAPE / scales,
          'mask': np.ones(images, np.float32), **fields}


@pytest.fixture(scope='module')
def params():
  return jax.jit(TASK.init)(KEY, batch())[0]


@pytest.fixture(scope='module')
def loss():
  return jax.jit(partial(TASK.loss, train=True))


@pytest.fixture(scope='module')
def evaluate():
  return jax.jit(partial(TASK.loss, train=False))


def test_losses_are_divided_by_all_positives(params, loss):
  """By objects, not images; an image without objects counts as one."""
  given = batch()
  value, (_, found, _) = loss(params, {}, given, KEY)
  outputs = cells(params, given['inputs'])
  parts = jax.jit(DETECTOR.loss, static_argnums=2)(outputs, truth(0, 4), SHAPE).parts
  objects = np.maximum(given['present'].sum(1), 1).sum()
  assert found['loss'].count == objects
  total = sum(float(part.sum()) for part in parts.values())
  assert value == pytest.approx(total / objects, rel=1e-5)
  assert found['loss_sizes'].compute() == pytest.approx(
    float(parts['sizes'].sum()) / objects, rel=1e-5)


def test_parts_of_a_batch_add_up_whatever_they_have(params):
  """Microbatches with few, many and no objects have the gradient of the whole."""
  given = batch(5, images=4)
  given['present'] = given['present'] & (np.arange(4) % 3 == 0)[:, None]
  given['present'][0] = True
  train = partial(TASK.loss, train=True)
  expected = jax.jit(mean_gradient(train))(params, {}, given, KEY)
  parts = {name: x.reshape(4, 1, *x.shape[1:]) for name, x in given.items()}
  found = jax.jit(mean_gradient(train, microbatches=4))(params, {}, parts, KEY)
  jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-5),
               found[1], expected[1])
  assert found[0][0] == pytest.approx(float(expected[0][0]), rel=1e-5)


def test_masked_images_and_crowds_change_nothing(params, loss):
  values = []
  for seed in (1, 2):
    given, other = batch(1), batch(seed)
    masked = {name: np.concatenate([x[:2], other[name][2:]])
              for name, x in given.items()}
    masked['mask'][2:] = 0
    masked['inputs'][2:] = np.nan
    value, (_, found, _) = loss(params, {}, masked, KEY)
    values.append(float(value))
    assert found['loss'].count == np.maximum(given['present'][:2].sum(1), 1).sum()
  assert np.isfinite(values[0]) and values[0] == values[1]
  crowd = batch(1)
  crowd['crowd'][:, 0] = crowd['present'][:, 0]
  without = batch(1)
  without['present'][:, 0] = False
  assert loss(params, {}, crowd, KEY)[0] == pytest.approx(
    float(loss(params, {}, without, KEY)[0]), rel=1e-6)


def test_boxes_are_found_in_pixels_of_the_originals(params, evaluate):
  given = batch(2)
  _, (_, _, found) = evaluate(params, {}, given, KEY)
  outputs = cells(params, given['inputs'])
  boxes, scores = map(np.asarray, jax.jit(
    DETECTOR.decode, static_argnums=1)(outputs, SHAPE))
  for image in range(4):
    order = np.argsort(-scores[image].ravel(), kind='stable')[:100]
    order = order[scores[image].ravel()[order] >= 0.01]
    count = len(order)
    np.testing.assert_allclose(found['found_scores'][image, :count],
                               scores[image].ravel()[order], rtol=1e-5)
    assert not np.asarray(found['found_scores'])[image, count:].any()
    expected = boxes[image, order // 3] / np.tile(given['scales'][image], 2)
    expected = np.clip(expected, 0, np.tile(given['sizes'][image], 2))
    np.testing.assert_allclose(found['found_boxes'][image, :count], expected,
                               rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found['found_labels'][image, :count], order % 3)
  np.testing.assert_allclose(
    found['boxes'], given['boxes'] / np.tile(given['scales'], 2)[:, None], rtol=1e-5)


def test_images_without_sizes_are_answered_in_their_own_pixels(params, evaluate):
  given = batch(2)
  zeros = np.zeros((4, 2), np.float32)
  found, expected = (evaluate(params, {}, {**given, **more}, KEY)[1][2] for more in (
    {'scales': zeros, 'sizes': zeros},
    {'scales': zeros + 1, 'sizes': zeros + SHAPE}))
  np.testing.assert_allclose(found['found_boxes'], expected['found_boxes'])


def test_overlapping_boxes_are_dropped_in_the_step():
  def twice():
    def decode(outputs, shape):
      del outputs, shape
      boxes = jnp.array([[[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30.0]]])
      return boxes, jnp.array([[[0.5, 0.0], [0.9, 0.3], [0.2, 0.0]]])

    return detectors.centernet()._replace(decode=decode, iou_threshold=0.5)

  task = detection(Cells(2), twice, max_boxes=4)
  given = {name: x[:1] for name, x in batch(0).items()} | {
    'scales': np.ones((1, 2), np.float32), 'sizes': np.array([SHAPE]),
    'labels': np.zeros((1, 4), np.int32)}
  params = jax.jit(task.init)(KEY, given)[0]
  found = jax.jit(partial(task.loss, train=False))(params, {}, given, KEY)[1][2]
  np.testing.assert_allclose(found['found_scores'], [[0.9, 0.3, 0.2, 0]])
  np.testing.assert_array_equal(found['found_labels'], [[0, 1, 0, 0]])
  np.testing.assert_allclose(found['found_boxes'][0, 2], [20, 20, 30, 30])


def test_summary_and_plots_of_an_evaluation(params, evaluate):
  pytest.importorskip('pycocotools', reason='pip install -r '
                                            'requirements-detection.txt')
  given = batch(2)
  outputs = jax.tree.map(np.asarray, evaluate(params, {}, given, KEY)[1][2])
  assert TASK.summarize(outputs) == metrics.detection(outputs)
  inputs = plots.Inputs(lambda rows: np.zeros((len(rows), *SHAPE, 1), np.uint8))
  figures = TASK.plots(outputs, inputs, ('a', 'b', 'c'))
  assert [*figures] == ['Precision and recall', 'True and found boxes', 'Worst misses']
  lines = figures['Precision and recall'].axes[0].get_lines()
  assert len(lines) == 3
  value = np.mean([line.get_ydata().mean() for line in lines])
  assert value == pytest.approx(metrics.detection(outputs)['ap50'])


def test_what_is_refused(params, monkeypatch):
  with pytest.raises(ValueError, match='max_boxes: must be >= 1, got 0'):
    detection(Cells(), detectors.centernet, max_boxes=0)
  with pytest.raises(ValueError, match='score_threshold: must be >= 0 and < 1, got 1'):
    detection(Cells(), detectors.centernet, score_threshold=1)
  for value in (-0.1, 1.1, float('nan')):
    with pytest.raises(ValueError, match=f'draw_threshold: must be .*, got {value}'):
      detection(Cells(), detectors.centernet, draw_threshold=value)
  given = batch()
  del given['crowd']
  with pytest.raises(ValueError, match="needs the column 'crowd', as of data"):
    TASK.loss(params, {}, given, KEY, True)
  monkeypatch.setitem(__import__('sys').modules, 'pycocotools', None)
  with pytest.raises(UserError, match=r'needs the package pycocotools .* install -r '
                                      'requirements-detection.txt'):
    TASK.check(Split('train', 3, None, False, None, {}, None, print))


def test_labels_that_are_not_of_boxes():
  pytest.importorskip('pycocotools', reason='pip install -r '
                                            'requirements-detection.txt')
  with pytest.raises(UserError, match=r'train: labels must be classes of boxes \[n'):
    TASK.check(Split('train', 3, None, False, np.zeros(3, int), {}, None, print))
