"""Tests of metrics.slots."""

import pytest

from bigmodels import metrics


def test_all_slots_and_single_ones():
  true = [(frozenset('ab'), 'it is in the north of town'), (frozenset('c'), 'good bye'),
          (frozenset(), 'hello there my friend')]
  written = [(frozenset('a'), true[0][1]), (frozenset('cd'), true[1][1]),
             (frozenset(), true[2][1])]
  found = metrics.slots(written, true)
  assert found['joint_accuracy'] == pytest.approx(1 / 3)
  assert found['slot_f1'] == pytest.approx(2 * 2 / 6)  # two right of three and three
  assert found['bleu'] == pytest.approx(100)
  assert metrics.slots([], []) == {}
