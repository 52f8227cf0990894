"""Tests of bigmodels.models.memory: against a plain loop in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import MemoryNetwork

WORDS, ANSWERS, SENTENCES = 12, 5, 6
RNG = np.random.default_rng(0)
STORIES = RNG.integers(1, WORDS, (3, SENTENCES, 4))
STORIES[0, 4:], STORIES[1, :, 2:], STORIES[2, 1, 3] = 0, 0, 0
QUESTIONS = RNG.integers(1, WORDS, (3, 3))
QUESTIONS[1, 2] = 0


def variables_of(model, scale=0.5):
  made = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), STORIES,
                        QUESTIONS)
  rng = np.random.default_rng(1)
  return {**jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), dict(made)),
          'params': jax.tree.map(
            lambda x: np.float32(scale * rng.normal(size=x.shape)), made['params'])}


def applied(model, variables, *inputs):
  return jax.jit(partial(model.apply, train=False))(variables, *inputs)


def sentence(table, words):
  """Equation 4: the position of a word in a sentence weighs its embedding."""
  words = [word for word in words if word]
  count, width = len(words), table.shape[1]
  total = np.zeros(width)
  for j, word in enumerate(words, 1):
    for k in range(1, width + 1):
      weight = (1 - j / count) - (k / width) * (1 - 2 * j / count)
      total[k - 1] += weight * table[word, k - 1]
  return total


def loop(params, story, question, hops, softmax=True):
  u = sentence(params['words'][0], question)
  real = [i for i in range(len(story)) if story[i].any()]
  for hop in range(hops):
    m, c = ([sentence(params['words'][k], story[i]) + params['ages'][k, i]
             for i in real] for k in (hop, hop + 1))
    products = np.array([u @ each for each in m])
    p = np.exp(products) / np.exp(products).sum() if softmax else products
    u = u + sum(weight * each for weight, each in zip(p, c, strict=True))
  return u @ params['head']['kernel'] + params['head']['bias']


@pytest.mark.parametrize(('hops', 'linear'), [(1, 0), (3, 0), (2, 5)])
def test_the_network_is_a_loop(hops, linear):
  model = MemoryNetwork(WORDS, ANSWERS, width=7, hops=hops, linear=linear)
  variables = variables_of(model)
  expected = [loop(variables['params'], *each, hops, softmax=not linear)
              for each in zip(STORIES, QUESTIONS, strict=True)]
  np.testing.assert_allclose(
    applied(model, variables, STORIES, QUESTIONS), expected, rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing():
  model = MemoryNetwork(WORDS, ANSWERS, width=7, hops=2)
  variables = variables_of(model)
  wide = np.pad(STORIES, ((0, 0), (0, 0), (0, 3)))
  asked = np.pad(QUESTIONS, ((0, 0), (0, 2)))
  one, two = (applied(model, variables, *each) for each in (
    (STORIES, QUESTIONS), (wide, asked)))
  np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_no_story_at_all_is_no_nan():
  model = MemoryNetwork(WORDS, ANSWERS, width=7, hops=2)
  variables = variables_of(model)
  value, grad = jax.jit(jax.value_and_grad(lambda v: model.apply(
    v, np.zeros_like(STORIES), QUESTIONS, train=False).sum()))(variables)
  assert np.isfinite(value)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(grad))
  assert not np.asarray(grad['params']['ages']).any()


def test_linear_start_ends_after_its_steps():
  model = MemoryNetwork(WORDS, ANSWERS, width=7, noise=0.0, linear=2)
  variables = variables_of(model)
  softmax = applied(MemoryNetwork(WORDS, ANSWERS, width=7), {
    'params': variables['params']}, STORIES, QUESTIONS)
  step = jax.jit(partial(model.apply, train=True, mutable=['steps']))
  same = []
  for _ in range(4):
    found, updated = step(variables, STORIES, QUESTIONS)
    variables = {**variables, **updated}
    same.append(np.allclose(found, softmax, rtol=1e-5))
  assert same == [False, False, True, True]
  np.testing.assert_allclose(
    applied(model, variables, STORIES, QUESTIONS), softmax, rtol=1e-5)


def test_noise_makes_sentences_older_in_training():
  model = MemoryNetwork(WORDS, ANSWERS, width=7, noise=0.5)
  variables = variables_of(model)

  @jax.jit
  def trained(variables, seed):
    return model.apply(variables, STORIES, QUESTIONS, train=True,
                       rngs={'dropout': jax.random.key(seed)})

  one, two = trained(variables, 0), trained(variables, 1)
  assert not np.allclose(one, two)
  # Without ages it changes nothing.
  variables['params']['ages'] = np.zeros_like(variables['params']['ages'])
  np.testing.assert_allclose(
    trained(variables, 0), applied(model, variables, STORIES, QUESTIONS), rtol=1e-5)


def test_it_learns_one_batch():
  model = MemoryNetwork(WORDS, ANSWERS, width=16, noise=0.0)
  params = variables_of(model, 0.1)['params']
  labels = jnp.array([3, 0, 4])

  def loss(params):
    logits = model.apply({'params': params}, STORIES, QUESTIONS, train=False)
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(3), labels])

  @jax.jit
  def step(params):
    value, grads = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda x, g: x - 0.5 * g, params, grads), value

  for _ in range(200):
    params, value = step(params)
  assert value < 0.02


@pytest.mark.parametrize(('settings', 'message'), [
  ({'hops': 0}, 'hops: must be >= 1'), ({'noise': 1.0}, 'noise: must be >= 0 and < 1'),
  ({'linear': -1}, 'linear: must be >= 0')])
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    MemoryNetwork(WORDS, ANSWERS, **settings)
