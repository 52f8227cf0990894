"""Tests of bigmodels.tasks.diffusion: the loss, guidance, generated images."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import tasks
from bigmodels.parallel.precision import in_precision
from bigmodels.tasks import noising, samplers

KEY = jax.random.PRNGKey(0)


class Gain(nn.Module):
  """The noisy image times a number, plus the label and the time."""

  classes: int = 3

  @nn.compact
  def __call__(self, images, labels, times, *, train):
    gain = self.param('gain', nn.initializers.ones, ())
    return gain * images + (labels + times)[:, None, None, None]


def task_of(model=None, **settings):
  model = Gain() if model is None else model
  return tasks.diffusion(model, open_run=None, examples=None, **settings)


def batch(rows, masked=0):
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (9, 2, 3, 1)).astype(np.float32)[np.array(rows)]
  mask = (np.arange(len(rows)) < len(rows) - masked).astype(np.float32)
  images[mask == 0] = np.nan
  return {'inputs': images, 'labels': np.array(rows, np.int32) % 3, 'mask': mask,
          'row': np.array(rows, np.int32)}


PARAMS = {'gain': jnp.float32(0.7)}


def evaluated(task, rows, masked=0):
  return jax.device_get(jax.jit(partial(task.loss, train=False))(
    PARAMS, {}, batch(rows, masked), KEY))


@pytest.mark.parametrize('masked', [0, 4])
@pytest.mark.parametrize('schedule, prediction', [
  (noising.cosine, noising.of_v), (noising.straight, noising.of_velocity),
  (noising.linear, noising.of_noise)])
def test_the_loss_is_that_of_numpy(schedule, prediction, masked):
  task = task_of(schedule=schedule, prediction=prediction, drop=0.5)
  data = batch(range(9), masked)
  value, (_, sums, _) = jax.jit(partial(task.loss, train=True))(PARAMS, {}, data, KEY)
  noise_key, timing, dropping, _ = jax.random.split(KEY, 4)
  noise = np.asarray(jax.random.normal(noise_key, data['inputs'].shape))
  times = jax.random.uniform(timing, (9,))
  dropped = np.asarray(jax.random.bernoulli(dropping, 0.5, (9,)))
  assert 0 < dropped.sum() < 9
  errors = []
  for i in np.flatnonzero(data['mask']):
    signal, level = map(float, schedule(times[i]))
    image_factor, noise_factor = map(float, prediction(*schedule(times[i])))
    image = data['inputs'][i]
    label = 3 if dropped[i] else data['labels'][i]
    found = 0.7 * (signal * image + level * noise[i]) + label + float(times[i])
    errors.append(np.mean((found - image_factor * image - noise_factor * noise[i])**2))
  np.testing.assert_allclose(value, np.mean(errors), rtol=1e-4)
  np.testing.assert_allclose(sums['loss'], [np.sum(errors), 9 - masked], rtol=1e-4)


class Clock(nn.Module):
  """Predicts the time."""

  classes: int = 3

  @nn.compact
  def __call__(self, images, labels, times, *, train):
    self.param('gain', nn.initializers.ones, ())
    return jnp.zeros_like(images) + times[:, None, None, None]


def test_times_are_as_exact_in_bfloat16():
  values = [jax.jit(partial(task_of(model).loss, train=True))(
    PARAMS, {}, batch(range(9)), KEY)[0]
    for model in (Clock(), in_precision(Clock(), 'bfloat16'))]
  np.testing.assert_allclose(*values, rtol=1e-6)


class Normed(nn.Module):
  """A model with statistics of batches."""

  classes: int = 3

  @nn.compact
  def __call__(self, images, labels, times, *, train):
    return nn.BatchNorm(use_running_average=not train)(images)


def test_statistics_of_batches_are_kept():
  task = task_of(Normed())
  params, state = jax.jit(task.init)(KEY, batch(range(9)))
  _, (after, _, _) = jax.jit(partial(task.loss, train=True))(
    params, state, batch(range(9)), KEY)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state, after)
  assert min(jax.tree.leaves(moved)) > 1e-4
  assert jax.jit(partial(task.loss, train=False))(
    params, after, batch(range(9)), KEY)[1][2]['generated'].shape == (9, 2, 3, 1)


def test_an_evaluation_does_not_depend_on_how_a_split_is_cut():
  task = task_of(sampler=partial(samplers.ddim, steps=3, eta=1.0))
  _, (_, whole, outputs) = evaluated(task, range(9))
  parts = [evaluated(task, rows, masked)[1]
           for rows, masked in (((0, 1, 2, 3, 4), 0), ((5, 6, 7, 8, 8), 1))]
  np.testing.assert_allclose(
    whole['loss'], np.add(parts[0][1]['loss'], parts[1][1]['loss']), rtol=1e-5)
  for name in ('generated', 'real', 'labels'):
    np.testing.assert_array_equal(outputs[name], np.concatenate(
      [parts[0][2][name], parts[1][2][name][:4]]))
  real = np.round((batch(range(9))['inputs'] + 1) * 127.5)
  np.testing.assert_array_equal(outputs['real'], real)


def test_images_are_those_of_the_sampler():
  """With one step from pure noise, an image is what is predicted for the noise."""
  task = task_of(schedule=noising.straight, prediction=noising.of_velocity,
                 sampler=partial(samplers.ddim, steps=1))
  _, (_, _, outputs) = evaluated(task, range(9))
  noise = jax.vmap(lambda row: jax.random.normal(
    jax.random.fold_in(jax.random.PRNGKey(1), row), (2, 3, 1)))(jnp.arange(9))
  velocity = 0.7 * noise + (np.arange(9) % 3 + 1)[:, None, None, None]
  expected = np.round((np.clip(noise - velocity, -1, 1) + 1) * 127.5)
  assert np.abs(outputs['generated'] - expected).max() <= 1


def test_guidance_goes_beyond_the_class():
  """Of a prediction that is linear in the label, it is another label."""
  made = []
  for guidance, model in ((2.0, Gain()), (1.0, Shifted())):
    task = task_of(model, schedule=noising.straight, prediction=noising.of_velocity,
                   guidance=guidance, sampler=partial(samplers.ddim, steps=4))
    made.append(evaluated(task, range(9))[1][2]['generated'].astype(int))
  assert np.abs(made[0] - made[1]).max() <= 1 and np.ptp(made[0]) > 0


class Shifted(nn.Module):
  """`Gain` of the label that guidance of 2 leads to, away from no class, 3."""

  classes: int = 3

  def setup(self):
    self.gain = self.param('gain', nn.initializers.ones, ())

  def __call__(self, images, labels, times, *, train):
    return self.gain * images + (2 * labels - 3 + times)[:, None, None, None]


def test_the_report_shows_the_way_from_noise():
  task = task_of(sampler=partial(samplers.dpm_solver, steps=12), white=16)
  found = task.samples(PARAMS, {}, lambda rows: batch(rows)['inputs'], 9)
  assert hasattr(found['From noise to images'], 'savefig')


@pytest.mark.parametrize('settings, message', [
  ({'drop': 1.0}, 'drop: must be >= 0 and < 1, got 1.0'),
  ({'guidance': -1.0}, 'guidance: must be >= 0 and finite, got -1.0'),
  ({'guidance': np.inf}, 'guidance: must be >= 0 and finite, got inf'),
  ({'guidance': 2.0, 'drop': 0.0}, 'guidance: must be 1 without classes, or with drop'),
  ({'guidance': 2.0, 'model': Gain(0)}, 'guidance: must be 1 without classes'),
  ({'white': 0}, 'white: must be >= 1 and <= 255, got 0'),
  ({'sampler': partial(samplers.dpm_solver, steps=0)}, 'steps: must be >= 1, got 0'),
  ({'sampler': partial(samplers.ddim, eta=2.0)}, 'eta: must be >= 0 and <= 1, got 2.0'),
  ({'model': nn.Dense(3)}, 'diffusion needs a model with classes, such as models.D')])
def test_settings_out_of_range(settings, message):
  with pytest.raises(ValueError, match=message):
    task_of(**settings)


@pytest.mark.parametrize('change, message', [
  ({'labels': None}, "generation needs the column 'labels', the data has i"),
  ({'labels': np.zeros((4, 2), np.int32)}, 'generation needs labels'),
  ({'inputs': np.zeros((4, 2, 3, 1), np.uint8)}, 'end the transforms with stand')])
def test_data_that_is_not_of_images_with_classes(change, message):
  given = {name: x for name, x in (batch(range(4)) | change).items() if x is not None}
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(task_of().init, KEY, given)
