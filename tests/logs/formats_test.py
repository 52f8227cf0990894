"""Tests of numbers and durations as text."""

import math

import pytest

from bigmodels.logs import formats


@pytest.mark.parametrize(('seconds', 'text'), [
  (0, '0 s'), (0.0123, '0.012 s'), (4.21, '4.2 s'), (59.4, '59 s'),
  (59.7, '1 min 00 s'), (192, '3 min 12 s'), (3599.6, '1 h 00 min'),
  (7500, '2 h 05 min'), (360000, '100 h 00 min')])
def test_a_duration(seconds, text):
  assert formats.duration(seconds) == text


@pytest.mark.parametrize(('value', 'text'), [
  (None, 'NaN'), (math.inf, 'inf'), (-math.inf, '-inf'), (1234567, '1,234,567'),
  (0.0, '0.0000'), (0.98765, '0.9877'), (12.3456, '12.35'), (1234.5, '1,234'),
  (1e-5, '1e-05')])
def test_a_number(value, text):
  assert formats.number(value) == text


@pytest.mark.parametrize(('count', 'text'), [
  (999_999, '999,999'), (1_500_000, '1.5 M'), (175e9, '175 B'), (2e12, '2 T')])
def test_a_count(count, text):
  assert formats.large(count) == text
