"""Tests of models.Yolo and models.Ssd; and batches that detectors learn by heart."""

import jax
import numpy as np
import optax
import pytest

from bigmodels import models
from bigmodels.tasks import detection, detectors
from tests.tasks.detecting import SHAPE, painted, truth

BODY = models.CifarResNet(None, depth=8, width=4)
YOLO = models.Yolo(3, BODY, 8, (4,), depth=1)
SSD = models.Ssd(3, BODY, 8, (4,))
CENTERNET = models.CenterNet(3, BODY, 8, (4,))


def shapes(model):
  return jax.eval_shape(lambda: model.init_with_output(
    jax.random.key(0), np.zeros((2, *SHAPE, 3), np.float32), train=False)[0])


def test_shapes():
  for model, expected in (
    (YOLO, {'boxes': (4,), 'classes': (3,), 'objects': (1,)}),
    (SSD, {'classes': (4, 4), 'offsets': (4, 4)})):
    level, = shapes(model)
    assert {name: x.shape for name, x in level.items()} == {
      name: (2, 8, 10, *features) for name, features in expected.items()}
  assert [x['boxes'].shape[1:3] for x in shapes(
    models.Yolo(3, BODY, 8, (2, 4)))] == [(16, 20), (8, 10)]


@pytest.mark.parametrize('model', [models.Yolo, models.Ssd, models.CenterNet])
def test_wrong_settings(model):
  with pytest.raises(ValueError, match='width: must be >= 1, got 0'):
    model(3, BODY, width=0)
  for strides in ((), (8, 4), (4, 4)):
    with pytest.raises(ValueError, match='strides: must be one or more, asc'):
      model(3, BODY, strides=strides)
  if model is not models.Ssd:  # the bias is the logarithm of the odds
    with pytest.raises(ValueError, match=r'prior: must be > 0 and < 1, got 0\.0'):
      model(3, BODY, prior=0.0)


@pytest.mark.slow('train')
@pytest.mark.parametrize('model, detector', [
  (CENTERNET, detectors.centernet), (YOLO, detectors.yolo), (SSD, detectors.ssd)],
  ids=['centernet', 'yolo', 'ssd'])
def test_one_batch_is_learned_by_heart(model, detector):
  """And its boxes are found again."""
  given = truth(0, images=2, most=2)
  batch = painted(given)
  task = detection(model, detector, max_boxes=6)
  params, model_state = jax.jit(task.init)(jax.random.PRNGKey(1), batch)
  optimizer = optax.adam(1e-2)

  @jax.jit
  def train(params, model_state):
    def step(carry, _):
      params, model_state, state = carry
      (value, (model_state, _, _)), gradient = jax.value_and_grad(
        lambda p: task.loss(p, model_state, batch, jax.random.PRNGKey(0), True),
        has_aux=True)(params)
      updates, state = optimizer.update(gradient, state)
      return (optax.apply_updates(params, updates), model_state, state), value
    carry, values = jax.lax.scan(
      step, (params, model_state, optimizer.init(params)), None, 400)
    return values, task.loss(*carry[:2], batch, jax.random.PRNGKey(0), False)[1][2]

  values, outputs = train(params, model_state)
  assert values[-1] < 0.3 * values[0]
  count = int(given.present[0].sum())
  found = np.asarray(outputs['found_boxes'])[0, :count]
  expected = np.clip(given.boxes[0, :count], 0, [*SHAPE, *SHAPE])
  np.testing.assert_allclose(found[np.argsort(found[:, 0])],
                             expected[np.argsort(expected[:, 0])], atol=2)
  assert not (np.asarray(outputs['found_scores'])[1] > 0.5).any()  # no object is there
