"""Tests of bigmodels.tasks.control in a corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import models, tasks
from tests.environments.corridor import ROOMS, Corridor

MODEL = models.Mlp(num_outputs=2, widths=())


@pytest.mark.parametrize('environment', [Corridor(), Corridor().open()])
def test_an_environment_is_opened_or_open(environment):
  task = tasks.control(MODEL, environment)
  assert task.environment.actions == ('stay', 'go')
  assert task.environment.max_episode_steps == 5


def test_what_is_not_an_environment_is_refused():
  with pytest.raises(ValueError, match=r"environment: must be .*, got 'CartPole-v1'"):
    tasks.control(MODEL, 'CartPole-v1')


@pytest.mark.parametrize(('dtype', 'scale'), [
  (jnp.uint8, 255), (jnp.int32, 1), (jnp.float32, 1)])
def test_pixels_are_scaled_and_other_integers_cast(dtype, scale):
  task, forward, _ = tasks.control(MODEL, Corridor())
  observations = jnp.array([[1, 2, 250], [0, 7, 3]], dtype)
  params, variables = task.init(
    jax.random.PRNGKey(0), {'inputs': observations, 'mask': jnp.ones(2)})
  found, _ = forward(
    params, variables, observations, jax.random.PRNGKey(0), False)
  expected = MODEL.apply(
    {'params': params}, observations.astype(jnp.float32) / scale, train=False)
  np.testing.assert_array_equal(found, expected)


def test_the_summary_is_of_the_returns():
  task = tasks.control(MODEL, Corridor()).task
  returns = np.array([1, 5, 3], np.float32)
  assert task.summarize({'return': returns}) == {
    'return_std': pytest.approx(returns.std()), 'return_min': 1, 'return_max': 5}


def test_plots_show_the_steps_between_frames():
  task = tasks.control(MODEL, Corridor(max_episode_steps=101)).task
  drawn = task.plots({'return': np.zeros(1), 'length': np.full(1, 101),
                      'frames': np.zeros((1, 50, ROOMS))}, None, None)
  line = drawn['Episodes'].axes[0].lines[0]
  np.testing.assert_array_equal(line.get_xdata()[:3], [0, 3, 6])
