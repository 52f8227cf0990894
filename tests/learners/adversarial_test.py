"""Tests of bigmodels.learners.adversarial against loops in NumPy."""

import functools
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import losses, models, tasks
from bigmodels.learners.adversarial import adversarial
from bigmodels.learners.gradient import mean_gradient
from bigmodels.tasks.generated_images import to_bytes
from bigmodels.tasks.generation import PATHS, POINTS
from bigmodels.tasks.generation import _latents as plain_latents

KEY = jax.random.PRNGKey(0)
DCGAN = models.Dcgan(size=(4, 4, 1), classes=3, latent=4, width=2, embedding=2)
STYLE = models.StyleGan(size=(4, 4, 1), classes=3, latent=4, style=4, mapping=1,
                        width=2, widest=4, halvings=1)
_latents = jax.jit(plain_latents, static_argnums=2)


class Dots(nn.Module):
  """Two adversaries of one product each: no example is looked at for another."""

  latent: int = 4
  classes: int = 3

  def setup(self):
    self.generator, self.discriminator = nn.Dense(16), nn.Dense(1)

  def __call__(self, latents, labels, images, *, train):
    return (self.generate(latents, labels, train=train),
            self.discriminate(images, labels, train=train))

  def generate(self, latents, labels, *, train):
    return jnp.tanh(self.generator(latents) + 0.3 * labels[:, None]).reshape(
      -1, 4, 4, 1)

  def discriminate(self, images, labels, *, train):
    return self.discriminator(jnp.tanh(images.reshape(len(images), -1)))[:, 0]


def batch(n=6, first=0, masked=0):
  rng = np.random.default_rng(first)
  rows = np.arange(first, first + n, dtype=np.int32)
  mask = (np.arange(n) < n - masked).astype(np.float32)
  return {'inputs': rng.uniform(-1, 1, (n, 4, 4, 1)).astype(np.float32),
          'labels': rows % 3, 'mask': mask, 'row': np.where(mask > 0, rows, 0)}


def made(model, gradient=mean_gradient, optimizer=None, **settings):
  task = tasks.generation(model, open_run=None, examples=None)
  return adversarial(task, optimizer or optax.sgd(0.1), gradient, **{
    'discriminator_optimizer': optax.sgd(0.2), **settings}), task


@functools.cache
def ran(model, steps=12):
  """A learner, its task, and its state after every step."""
  adam = optax.adam(1e-2)
  learner, task = made(model) if model == Dots() else made(
    model, optimizer=adam, discriminator_optimizer=adam)
  state, sums = jax.device_get(jax.jit(learner.init)(KEY, batch())), []
  # Images that differ, from the first step on.
  generator = jax.tree.map(lambda x: 5 * x, state.params['generator'])
  states = [state._replace(params={**state.params, 'generator': generator})]
  step = jax.jit(learner.step)
  for i in range(steps):
    state, found = jax.device_get(step(states[-1], batch(first=10 * i)))
    states.append(state)
    sums.append(found)
  return learner, task, states, sums


def moved(before, after):
  return jax.tree.leaves(jax.tree.map(
    lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()), before, after))


@pytest.mark.parametrize('model', [
  Dots(), DCGAN, pytest.param(STYLE, marks=pytest.mark.slow('compile'))])
def test_both_sides_move_and_metrics_are_finite(model):
  _, _, states, sums = ran(model, 12 if model != STYLE else 2)
  for side in ('generator', 'discriminator'):
    assert all(moved(states[0].params[side], states[2].params[side]))
  assert int(states[2].step) == 2
  assert set(sums[0]) == {'loss', 'discriminator_loss', 'discriminator_real_accuracy',
                          'discriminator_generated_accuracy'}
  for found in sums:
    assert all(np.isfinite(total) and count == 6 for total, count in found.values())


def test_a_step_is_one_of_the_discriminator_and_then_one_of_the_generator():
  _, task, states, sums = ran(Dots())
  before, after, data = states[0], states[1], batch()
  judging, making = jax.random.split(jax.random.fold_in(KEY, 0))
  judging, = jax.random.split(judging, 1)
  slope = jax.jit(jax.grad(lambda p: task.discriminator(p, {}, data, judging)[0]))(
    before.params)['discriminator']
  updated = jax.tree.map(
    lambda p, g: p - 0.2 * g, before.params['discriminator'], slope)
  chex.assert_trees_all_close(after.params['discriminator'], updated, rtol=1e-5)
  loss, slope = jax.jit(jax.value_and_grad(
    lambda p: task.generator(p, {}, data, making)[0]))(
      {**before.params, 'discriminator': updated})
  chex.assert_trees_all_close(after.params['generator'], jax.tree.map(
    lambda p, g: p - 0.1 * g, before.params['generator'], slope['generator']),
    rtol=1e-5)
  assert sums[0]['loss'] == (pytest.approx(6 * float(loss), rel=1e-5), 6)


@pytest.mark.parametrize('count', [2, 3])
def test_updates_of_the_discriminator_share_the_batch(count):
  learner, task = made(Dots(), discriminator_updates=count)
  state, data = jax.jit(learner.init)(KEY, batch()), batch()
  after, sums = jax.jit(learner.step)(state, data)
  judging, making = jax.random.split(jax.random.fold_in(KEY, 0))
  params, size = state.params, 6 // count
  total = 0
  slopes = jax.jit(jax.value_and_grad(
    lambda p, data, key: task.discriminator(p, {}, data, key)[0]))
  for i, key in enumerate(jax.random.split(judging, count)):
    share = {name: x[i::count] for name, x in data.items()}
    value, slope = slopes(params, share, key)
    total += size * float(value)
    params = {**params, 'discriminator': jax.tree.map(
      lambda p, g: p - 0.2 * g, params['discriminator'], slope['discriminator'])}
  chex.assert_trees_all_close(after.params['discriminator'], params['discriminator'],
                              rtol=1e-5)
  assert sums['discriminator_loss'] == (pytest.approx(total, rel=1e-5), 6)
  assert sums['discriminator_real_accuracy'][1] == 6
  first = {name: x[::count] for name, x in data.items()}
  slope = jax.jit(jax.grad(lambda p: task.generator(p, {}, first, making)[0]))(params)
  chex.assert_trees_all_close(after.params['generator'], jax.tree.map(
    lambda p, g: p - 0.1 * g, params['generator'], slope['generator']), rtol=1e-5)
  assert sums['loss'][1] == size


def test_each_side_has_its_optimizer():
  learner, _ = made(Dots(), discriminator_optimizer=optax.adam(1e-3, b1=0.5))
  state = jax.jit(learner.init)(KEY, batch())
  assert set(state.opt_state) == {'generator', 'discriminator'}
  after, _ = jax.jit(learner.step)(state, batch())
  moves = jax.tree.map(lambda a, b: a - b, after.params, state.params)
  # The first step of Adam is of its rate whatever the slope.
  np.testing.assert_allclose(
    np.abs(moves['discriminator']['kernel']), 1e-3, rtol=0.01)
  assert np.abs(moves['generator']['kernel']).max() > 2e-3


def _evaluate_of(learner):
  return jax.jit(learner.evaluate)


def _evaluated(learner, state, total, size, start=0):
  """Outputs of a split of so many rows, in batches of a size; masked rows dropped."""
  evaluate, parts = _evaluate_of(learner), []
  for first in range(start, total, size):
    data = batch(size, first, max(0, first + size - total))
    sums, outputs = jax.device_get(evaluate(state, data))
    parts.append({name: x[data['mask'] > 0] for name, x in outputs.items()})
  return sums, {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


@pytest.fixture(scope='module')
def evaluated():
  """A run of the DCGAN, and what its evaluation gives."""
  learner, task, states, _ = ran(DCGAN)
  return learner, task, states[-1], *_evaluated(learner, states[-1], 70, 70)


def test_an_evaluation_does_not_depend_on_how_a_split_is_cut(evaluated):
  learner, _, state, _, whole = evaluated
  for size, start in ((20, 0), (70, 30)):
    _, parts = _evaluated(learner, state, 70, size, start)
    for name in ('generated', 'labels', 'between'):
      away = np.abs(parts[name].astype(int) - whole[name][start:])
      if name == 'between':  # at places beside it, too, where it is shown
        away = away[: PATHS * POINTS - start]
      # A rounding may be another one in a product of other sizes.
      assert away.max() <= 1 and (away > 0).mean() < 1e-2, name
  assert len(np.unique(whole['generated'].reshape(70, -1), axis=0)) > 60


def test_an_evaluation_with_noise_does_not_depend_on_how_a_split_is_cut():
  learner, _ = made(STYLE)
  state = jax.jit(learner.init)(KEY, batch())
  params = {**state.params, 'generator': jax.tree.map(
    lambda x: 5 * x, state.params['generator'])}
  state = state._replace(params=jax.tree.map_with_path(
    lambda path, x: x + np.float32('noise' in str(path[-1])), params))
  (_, one), (_, two) = (_evaluated(learner, state, first + 4, 4, first)
                        for first in (0, 2))
  away = np.abs(one['generated'][2:].astype(int) - two['generated'][:2])
  assert away.max() <= 1


@jax.jit
def images_of(state, latents, labels):
  """Images of the DCGAN as in the data."""
  return to_bytes(DCGAN.apply(
    {'params': state.params, **state.model_state}, latents, labels, train=False,
    method='generate'), 255)


def test_what_is_evaluated_is_the_generator(evaluated):
  _, _, state, sums, outputs = evaluated
  rows = jnp.arange(70)
  expected = images_of(state, _latents(1, rows, 4), rows % 3)
  np.testing.assert_array_equal(outputs['generated'], expected)
  np.testing.assert_array_equal(outputs['labels'], rows % 3)
  np.testing.assert_array_equal(outputs['real'], to_bytes(batch(70)['inputs'], 255))
  assert sums['loss'][1] == sums['discriminator_loss'][1] == 70
  assert sums['loss'][0] != sums['discriminator_loss'][0]  # that of the generator


def test_a_path_is_from_one_image_to_another(evaluated):
  _, _, state, _, outputs = evaluated
  ways = outputs['between'][: PATHS * POINTS].reshape(PATHS, POINTS, 4, 4, 1)
  numbers = jnp.arange(PATHS)
  for point, end in ((0, 0), (POINTS - 1, 1)):
    expected = images_of(state, _latents(2, 2 * numbers + end, 4), numbers % 3)
    assert np.abs(ways[:, point].astype(int) - expected).max() <= 1


def test_parts_of_a_batch_give_the_step_of_the_whole():
  outcomes = []
  for parts in (1, 3):
    learner, _ = made(Dots(), partial(mean_gradient, microbatches=parts))
    data = batch(6, masked=1)
    state = jax.jit(learner.init)(KEY, data)
    if parts > 1:
      data = {name: x.reshape(parts, -1, *x.shape[1:]) for name, x in data.items()}
    after, sums = jax.jit(learner.step)(state, data)
    outcomes.append((after.params, after.model_state, sums))
  chex.assert_trees_all_close(*outcomes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('updates', [
  pytest.param(1, marks=pytest.mark.slow('compile')), 2])
def test_parts_with_batch_normalisation_are_finite(updates):
  learner, _ = made(DCGAN, partial(mean_gradient, microbatches=2),
                    discriminator_updates=updates)
  state, data = jax.jit(learner.init)(KEY, batch()), batch(8)
  data = {name: x.reshape(2, 4, *x.shape[1:]) for name, x in data.items()}
  after, sums = jax.jit(learner.step)(state, data)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves((after.params, sums)))
  assert all(moved(state.params, after.params))
  assert sums['discriminator_loss'][1] == 8 and sums['loss'][1] == 8 / updates


@pytest.mark.parametrize('parts', [1, 2])
def test_updates_that_do_not_divide_the_batch(parts):
  learner, _ = made(Dots(), partial(mean_gradient, microbatches=parts),
                    discriminator_updates=4)
  state, data = jax.eval_shape(learner.init, KEY, batch()), batch(6 * parts)
  if parts > 1:
    data = {name: x.reshape(parts, 6, *x.shape[1:]) for name, x in data.items()}
  with pytest.raises(ValueError, match='discriminator_updates: 4 do not divide a batch '
                     'of 6'):
    jax.eval_shape(learner.step, state, data)


def test_no_update_of_the_discriminator_is_refused():
  with pytest.raises(ValueError, match='discriminator_updates: must be >= 1, got 0'):
    made(Dots(), discriminator_updates=0)


def test_a_model_of_other_parts():
  class Other(Dots):
    def setup(self):
      self.generator, self.critic = nn.Dense(16), nn.Dense(1)

    def discriminate(self, images, labels, *, train):
      return self.critic(images.reshape(len(images), -1))[:, 0]

  learner, _ = made(Other())
  with pytest.raises(ValueError, match=r'adversarial needs a model of two parts, '
                     'discriminator, generator, got .*critic'):
    learner.init(KEY, batch())


def test_a_penalty_trains_both_sides():
  task = tasks.generation(DCGAN.clone(discriminator_norm=False), losses.wasserstein_gan,
                          losses.gradient_penalty, open_run=None, examples=None)
  adam = optax.adam(1e-3)
  learner = adversarial(task, adam, discriminator_optimizer=adam,
                        discriminator_updates=3)
  state = jax.jit(learner.init)(KEY, batch())
  after, sums = jax.jit(learner.step)(state, batch())
  assert all(np.isfinite(x).all() for x in jax.tree.leaves((after.params, sums)))
  assert np.mean(moved(state.params, after.params)) > 0.7
