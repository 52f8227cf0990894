"""Tests of models.SpeechTransformer: padding, causality, and token by token."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import SpeechTransformer
from tests.models import sequences

SMALL = SpeechTransformer(9, width=16, depth=2, decoder_depth=1, heads=2, channels=3)
TARGET = sequences.RNG.integers(1, 9, (4, 5))


def test_padding_changes_nothing():
  sizes, shape = sequences.check_padding(SMALL, TARGET)  # of the encoder
  assert sizes.tolist() == [10, 5, 2, 1] and shape == (4, 10, 9)
  variables = sequences.variables_of(SMALL, sequences.FEATURES, TARGET)
  expected, *_ = sequences.answer(
    SMALL, variables, sequences.FEATURES, TARGET, lengths=sequences.LENGTHS)
  alone, *_ = sequences.answer(SMALL, variables, sequences.FEATURES[1:2, :20],
                               TARGET[1:2])
  np.testing.assert_allclose(alone[0], expected[1], atol=2e-5)


def test_the_decoder_reads_all_of_a_recording_and_the_tokens_before():
  variables = sequences.variables_of(SMALL, sequences.FEATURES, TARGET)

  @jax.jit
  @jax.grad
  def slope_of(inputs, variables):
    logits, *_ = SMALL.apply(variables, inputs, TARGET, lengths=jnp.asarray(
      sequences.LENGTHS), train=False)
    return logits[:, 2].sum()

  # Of several models, as units that are 0 may hide a step of one.
  slope = sum(np.abs(slope_of(sequences.FEATURES, sequences.variables_of(
    SMALL, sequences.FEATURES, TARGET, seed=seed))).sum(-1) for seed in range(4))
  real = np.arange(37) < sequences.LENGTHS[:, None]
  assert (slope[real] > 0).all() and not slope[~real].any()
  changed = TARGET.copy()
  changed[:, 3:] = 9 - changed[:, 3:]
  one, two = (sequences.answer(SMALL, variables, sequences.FEATURES, target)[0]
              for target in (TARGET, changed))
  np.testing.assert_allclose(one[:, :3], two[:, :3], atol=1e-5)
  assert (np.abs(np.asarray(one - two))[:, 3:].max((1, 2)) > 1e-3).all()


def test_token_by_token_is_all_at_once():
  variables = sequences.variables_of(SMALL, sequences.FEATURES, TARGET)
  lengths = jnp.asarray(sequences.LENGTHS)
  expected, *_ = sequences.answer(
    SMALL, variables, sequences.FEATURES, TARGET, lengths=lengths)
  memory, lengths = jax.jit(partial(SMALL.apply, train=False, method='encode'))(
    variables, sequences.FEATURES, lengths=lengths)
  next_token = jax.jit(partial(SMALL.apply, decode=5, train=False, method='decode',
                               mutable=['cache']))
  cache = {}
  for step in range(TARGET.shape[1]):
    logits, cache = next_token(
      {**variables, **cache}, TARGET[:, step : step + 1], memory, lengths=lengths)
    np.testing.assert_allclose(logits[:, 0], expected[:, step], atol=2e-5)


@pytest.mark.parametrize(('settings', 'message'), [
  ({'decoder_depth': 0}, 'decoder_depth: must be >= 1, got 0'),
  ({'heads': 3}, 'heads: must divide the width, 16, got 3')])
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    SMALL.clone(**settings)
