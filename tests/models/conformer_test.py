"""Tests of models.Conformer: padding, counts of parameters, and settings."""

import jax
import pytest

from bigmodels.models import Conformer
from tests.models import sequences

SMALL = Conformer(9, width=16, depth=2, heads=4, kernel=5, channels=3, dropout=0.2,
                  attention_dropout=0.1)


def test_padding_changes_nothing():
  sizes, shape = sequences.check_padding(SMALL)
  assert sizes.tolist() == [10, 5, 2, 1] and shape == (4, 10, 9)


def test_padding_gets_no_gradient():
  sequences.check_gradient_of_padding(SMALL)


def test_the_small_model_of_the_paper_has_its_parameters():
  """10.3 million with relative positions, which have weights of their own; table 1."""
  model = Conformer(1000)
  shapes = jax.eval_shape(lambda: model.init(
    jax.random.key(0), sequences.RNG.normal(size=(1, 40, 80)), train=False))
  count = sum(x.size for x in jax.tree.leaves(shapes['params']))
  # A block: two feed-forward layers, attention, convolution, five norms.
  width, hidden = 144, 576
  block = (2 * (2 * width * hidden + hidden + width) + 4 * (width**2 + width)
           + 2 * width * width + 2 * width + 31 * width + width + 2 * width
           + width * width + width + 5 * 2 * width)
  subsampling = (9 * width + width) + (9 * width**2 + width) + (20 * width**2 + width)
  assert count == 16 * block + subsampling + width * 1000 + 1000
  assert 8.5e6 < count < 10.3e6


@pytest.mark.parametrize(('settings', 'message'), [
  ({'kernel': 4}, 'kernel: must be odd, got 4'),
  ({'heads': 5}, 'heads: must divide the width, 16, got 5'),
  ({'halvings': -1}, 'halvings: must be >= 0, got -1'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0')])
def test_settings_are_checked(settings, message):
  with pytest.raises(ValueError, match=message):
    SMALL.clone(**settings)


def test_inputs_of_another_rank_are_refused():
  with pytest.raises(ValueError, match='inputs: must be features'):
    sequences.variables_of(SMALL, sequences.FEATURES[..., 0])
