"""Tests of models.CenterNet: its outputs, its prior, and one batch learned by heart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import models
from bigmodels.tasks import detection, detectors
from tests.tasks.detecting import SHAPE, painted, truth

BODY = models.CifarResNet(None, depth=8, width=4)
MODEL = models.CenterNet(3, BODY, width=8, strides=(4,))


def test_shapes_and_the_prior():
  images = np.random.default_rng(0).normal(size=(2, *SHAPE, 1)).astype(np.float32)
  outputs, _ = jax.jit(lambda key: MODEL.init_with_output(key, images, train=False))(
    jax.random.key(0))
  assert {name: x.shape for name, x in outputs.items()} == {
    'centres': (2, 8, 10, 3), 'sizes': (2, 8, 10, 2), 'offsets': (2, 8, 10, 2)}
  np.testing.assert_allclose(jax.nn.sigmoid(outputs['centres']), 0.1, atol=0.01)


def test_wrong_settings():
  with pytest.raises(ValueError, match=r'strides: must be >= 1, got \(0,\)'):
    models.CenterNet(3, BODY, strides=(0,))


def test_one_batch_is_learned_by_heart():
  """And its boxes are found again."""
  given = truth(0, images=2, most=2)
  batch = painted(given)
  task = detection(MODEL, detectors.centernet, most=4)
  params, model_state = jax.jit(task.init)(jax.random.PRNGKey(1), batch)
  optimizer = optax.adam(2e-2)

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
      step, (params, model_state, optimizer.init(params)), None, 120)
    outputs = task.loss(*carry[:2], batch, jax.random.PRNGKey(0), False)[1][2]
    return values, outputs

  values, outputs = train(params, model_state)
  assert values[-1] < 0.1 * values[0]
  count = int(given.present[0].sum())
  found, scores = outputs['found_boxes'][0, :count], outputs['found_scores'][0]
  assert (scores[:count] > 0.5).all() and (scores[count:] < 0.5).all()
  order = jnp.argsort(found[:, 0])
  expected = given.boxes[0, :count]
  expected = expected[np.argsort(expected[:, 0])]
  np.testing.assert_allclose(found[order], np.clip(expected, 0, [*SHAPE, *SHAPE]),
                             atol=2)
