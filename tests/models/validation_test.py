"""Tests of bigmodels.models.validation."""

import math
import types

import pytest

from bigmodels.models import validation


def model(**given):
  return types.SimpleNamespace(**given)


@pytest.mark.parametrize('check, given, message', [
  (validation.check_sizes, {'depth': 0}, 'depth: wants at least 1, got 0'),
  (validation.check_sizes, {'hidden': -4}, 'hidden: wants at least 1, got -4'),
  (validation.check_sizes, {'widths': (8, 0)},
   r'widths: wants at least 1, got \(8, 0\)'),
  (validation.check_shares, {'dropout': 1.0},
   'dropout: wants 0 or more and less than 1'),
  (validation.check_shares, {'dropout': math.nan}, 'dropout: wants .*, got nan'),
  (validation.check_positive, {'base': 0.0}, 'base: wants a number above 0, got 0.0'),
  (validation.check_positive, {'base': math.nan},
   'base: wants a number above 0, got nan'),
  (validation.check_positive, {'base': math.inf},
   'base: wants a number above 0, got inf'),
])
def test_a_wrong_field_is_named(check, given, message):
  with pytest.raises(ValueError, match=message):
    check(model(**given), *given)


@pytest.mark.parametrize('heads', [0, -2, 5])
def test_heads_that_do_not_divide(heads):
  with pytest.raises(ValueError, match=f'divisor of the width, 24, got {heads}'):
    validation.check_heads(model(width=24, heads=heads))


def test_what_is_legal_passes():
  legal = model(width=24, heads=4, hidden=None, widths=(1, 2), dropout=0.0, base=1e4)
  validation.check_sizes(legal, 'width', 'widths', 'hidden')
  validation.check_heads(legal)
  validation.check_shares(legal, 'dropout')
  validation.check_positive(legal, 'base')
