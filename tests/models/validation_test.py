"""Tests of bigmodels.models.validation."""

import math
import types

import pytest

from bigmodels.models import validation


def model(**given):
  return types.SimpleNamespace(**given)


@pytest.mark.parametrize('check, given, message', [
  (validation.check_sizes, {'depth': 0}, 'depth: must be >= 1, got 0'),
  (validation.check_sizes, {'hidden': -4}, 'hidden: must be >= 1, got -4'),
  (validation.check_sizes, {'widths': (8, 0)},
   r'widths: must be >= 1, got \(8, 0\)'),
  (validation.check_rates, {'dropout': 1.0},
   'dropout: must be >= 0 and < 1'),
  (validation.check_rates, {'dropout': math.nan}, 'dropout: must be .*, got nan'),
  (validation.check_probabilities, {'prior': 0.0}, 'prior: must be > 0 and < 1, got 0'),
  (validation.check_probabilities, {'prior': math.nan}, 'prior: must be .*, got nan'),
  (validation.check_positive, {'base': 0.0}, 'base: must be > 0 and finite, got 0.0'),
  (validation.check_positive, {'base': math.nan},
   'base: must be > 0 and finite, got nan'),
  (validation.check_positive, {'base': math.inf},
   'base: must be > 0 and finite, got inf'),
  (validation.check_not_negative, {'penalty': -1.0},
   'penalty: must be >= 0 and finite, got -1.0'),
  (validation.check_not_negative, {'penalty': math.nan}, 'penalty: .*, got nan'),
])
def test_a_wrong_field_is_named(check, given, message):
  with pytest.raises(ValueError, match=message):
    check(model(**given), *given)


@pytest.mark.parametrize('heads', [0, -2, 5])
def test_heads_that_do_not_divide(heads):
  with pytest.raises(ValueError, match=f'must divide the width, 24, got {heads}'):
    validation.check_heads(model(width=24, heads=heads))


def test_what_is_legal_passes():
  legal = model(width=24, heads=4, hidden=None, widths=(1, 2), dropout=0.0, base=1e4)
  validation.check_sizes(legal, 'width', 'widths', 'hidden')
  validation.check_heads(legal)
  validation.check_rates(legal, 'dropout')
  validation.check_positive(legal, 'base')
  validation.check_choices(legal, heads=(2, 4), hidden=(None, 8))


def test_choices_are_listed():
  with pytest.raises(ValueError, match=r"^pool: must be one of 'a', 'b'; got 'c'$"):
    validation.check_choices(model(pool='c', depth=3), depth=(3,), pool=('a', 'b'))
  with pytest.raises(ValueError, match=r'^depth: must be one of 18, 34; got 20$'):
    validation.check_choices(model(depth=20), depth={18: 1, 34: 2})
