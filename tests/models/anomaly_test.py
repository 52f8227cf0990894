"""Tests of models.anomaly: scores against loops in NumPy, and the centre."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Autoencoder, DeepSvdd

INPUTS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


def started(model, inputs=INPUTS, seed=0):
  """The variables of a model after the first training batch."""
  zeros = jnp.zeros_like(inputs)
  variables = dict(model.init(jax.random.key(seed), zeros, train=False))
  _, updated = model.apply(
    variables, inputs, train=True, mutable=[n for n in variables if n != 'params'])
  return {**variables, **updated}


def kernels(variables):
  layers = variables['params']
  return [{k: np.asarray(v, np.float64) for k, v in layers[f'Dense_{i}'].items()}
          for i in range(len(layers))]


def test_an_autoencoder_scores_by_the_error_of_its_reconstruction():
  model = Autoencoder(widths=(6, 2))
  variables = started(model)
  layers = kernels(variables)
  assert [layer['kernel'].shape for layer in layers] == [(5, 6), (6, 2), (2, 6), (6, 5)]
  expected = []
  for row in INPUTS.astype(np.float64):
    x = row
    for i, layer in enumerate(layers):
      x = x @ layer['kernel'] + layer['bias']
      x = np.tanh(x) if i < 3 else x
    expected.append(sum((a - b) ** 2 for a, b in zip(x, row, strict=True)) / 5)
  found = model.apply(variables, INPUTS, train=False)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_noise_is_added_to_the_input_in_training_only():
  quiet, noisy = Autoencoder(widths=(6, 2)), Autoencoder(widths=(6, 2), noise=0.5)
  variables, rngs = started(quiet), {'dropout': jax.random.key(1)}
  np.testing.assert_array_equal(noisy.apply(variables, INPUTS, train=False),
                                quiet.apply(variables, INPUTS, train=False))
  found = noisy.apply(variables, INPUTS, train=True, rngs=rngs)
  layers = kernels(variables)

  class Draw(nn.Module):  # the same numbers, from the same place
    @nn.compact
    def __call__(self):
      return jax.random.normal(self.make_rng('dropout'), INPUTS.shape)

  x = np.float64(INPUTS + 0.5 * Draw().apply({}, rngs=rngs))
  for i, layer in enumerate(layers):
    x = x @ layer['kernel'] + layer['bias']
    x = np.tanh(x) if i < 3 else x
  np.testing.assert_allclose(found, ((x - INPUTS) ** 2).mean(-1), rtol=1e-4)
  with pytest.raises(ValueError, match='noise: must be >= 0 and finite, got -1'):
    Autoencoder(noise=-1)


def test_deep_svdd_scores_by_the_distance_from_the_mean_of_its_first_outputs():
  model = DeepSvdd(widths=(6, 3), margin=0.0)
  variables = started(model)
  first, second = (layer['kernel'] for layer in kernels(variables))
  outputs = []
  for row in INPUTS.astype(np.float64):
    x = row @ first
    outputs.append(np.where(x > 0, x, 0.01 * x) @ second)
  centre = sum(outputs) / len(outputs)
  np.testing.assert_allclose(variables['batch_stats']['centre'], centre, atol=1e-6)
  found = model.apply(variables, INPUTS, train=False)
  np.testing.assert_allclose(
    found, [sum((x - centre) ** 2) for x in outputs], rtol=1e-4)


def test_the_centre_stays_when_parameters_and_inputs_change():
  model = DeepSvdd(widths=(6, 3))
  variables = started(model)
  changed = {**variables, 'params': jax.tree.map(lambda x: 2 * x, variables['params'])}
  _, updated = model.apply(changed, 3 * INPUTS + 1, train=True, mutable=['batch_stats'])
  for name, value in variables['batch_stats'].items():
    np.testing.assert_array_equal(updated['batch_stats'][name], value)


def test_the_centre_keeps_away_from_zero():
  centre, free = (np.asarray(started(DeepSvdd(widths=(6, 40), margin=margin))[
    'batch_stats']['centre']) for margin in (0.25, 0.0))
  assert (np.abs(free) < 0.25).any() and (np.abs(free) > 0.25).any()
  np.testing.assert_allclose(
    centre, np.sign(free) * np.maximum(np.abs(free), 0.25), rtol=1e-6)


def test_deep_svdd_has_no_bias_and_no_gradient_through_its_centre():
  model = DeepSvdd(widths=(6, 3), margin=0.0)
  variables = started(model)
  assert {name for layer in kernels(variables) for name in layer} == {'kernel'}
  params, fresh = variables['params'], {'batch_stats': jax.tree.map(
    jnp.zeros_like, variables['batch_stats'])}

  def first(params):  # finds the centre
    return model.apply({'params': params, **fresh}, INPUTS, train=True,
                       mutable=['batch_stats'])[0].mean()

  def later(params):
    return model.apply({**variables, 'params': params}, INPUTS, train=True,
                       mutable=['batch_stats'])[0].mean()

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
               jax.grad(first)(params), jax.grad(later)(params))


@pytest.mark.parametrize('model', [Autoencoder, DeepSvdd])
def test_rows_are_scored_independently(model):
  made = model(widths=(6, 2))
  variables = started(made)
  whole = made.apply(variables, INPUTS, train=False)
  alone = [made.apply(variables, INPUTS[i : i + 1], train=False)[0] for i in range(7)]
  assert whole.shape == (7,)
  np.testing.assert_allclose(whole, alone, rtol=1e-5)


@pytest.mark.parametrize('model', [Autoencoder, DeepSvdd])
@pytest.mark.parametrize('widths, problem', [
  ((), 'widths: must have a layer'), ((4, 0), 'widths: must be >= 1')])
def test_widths_are_checked(model, widths, problem):
  with pytest.raises(ValueError, match=problem):
    model(widths=widths)


def test_an_autoencoder_must_be_narrower_than_its_input():
  with pytest.raises(ValueError, match=r'widths: one must be < 5, the values of an '
                     r'input, got \(8, 5\)'):
    started(Autoencoder(widths=(8, 5)))
