"""Tests of models.RecurrentCtc: padding, its equations, and settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.recurrent import Gru, Lstm
from bigmodels.models import RecurrentCtc
from tests.models import sequences

SMALL = RecurrentCtc(7, width=5, depth=3, stack=2, halve=1, cell=Gru, dropout=0.2)


def test_padding_changes_nothing():
  sizes, shape = sequences.check_padding(SMALL)
  assert sizes.tolist() == [10, 5, 2, 1] and shape == (4, 10, 7)


def test_padding_gets_no_gradient():
  sequences.check_gradient_of_padding(SMALL)


def test_is_two_directions_a_norm_and_a_dense_layer():
  model = RecurrentCtc(7, width=5, depth=1, stack=3)
  variables = sequences.variables_of(model, sequences.FEATURES)
  params = variables['params']
  found, _ = sequences.answer(model, variables, sequences.FEATURES)
  x = np.pad(sequences.FEATURES, ((0, 0), (0, 2), (0, 0)))
  x = np.stack([x[:, i : i + 3].reshape(4, -1) for i in range(0, 39, 3)], 1)
  both = [Lstm(5, reverse=reverse).apply({'params': params[name]}, x, train=False)[0]
          for name, reverse in (('forward_0', False), ('backward_0', True))]
  x = np.concatenate(both, -1)
  mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
  x = (x - mean) / np.sqrt(variance + 1e-6) * params['norm_0']['scale'] + (
    params['norm_0']['bias'])
  np.testing.assert_allclose(
    found, x @ params['head']['kernel'] + params['head']['bias'], atol=1e-4)


def test_dropout_is_for_training():
  variables = sequences.variables_of(SMALL, sequences.FEATURES)

  @jax.jit
  def run(seed):
    return SMALL.apply(variables, jnp.asarray(sequences.FEATURES), train=True,
                       rngs={'dropout': jax.random.key(seed)})[0]

  assert (np.asarray(run(0)) != np.asarray(run(1))).any()
  np.testing.assert_array_equal(run(0), run(0))


@pytest.mark.parametrize(('settings', 'message'), [
  ({'halve': 3}, 'halve: must be 0 to 2, below the depth, got 3'),
  ({'stack': 0}, 'stack: must be >= 1, got 0')])
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    SMALL.clone(**settings)
