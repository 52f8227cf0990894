"""Tests of the record: durations in steps, and fields that are out of range."""

import dataclasses
import math

import pytest

from bigmodels.config import Duration, Monitor, resolving


@pytest.fixture(scope='module')
def digits():
  return resolving.resolve('digits_cnn', {}).experiment


@pytest.mark.parametrize(('duration', 'per_epoch', 'steps'), [
  (Duration(steps=50), 7.5, [50, 100, 150]),
  (Duration(epochs=1), 7.5, [8, 15, 23]),
  (Duration(epochs=2), 10, [20, 40, 60]),
  (Duration(epochs=0.5), 5, [3, 5, 8]),
  (Duration(epochs=1 / 3), 30, [10, 20, 30]),
  (Duration(epochs=0.1), 30, [3, 6, 9]),
  (Duration(epochs=1.1), 10, [11, 22, 33]),  # 1.1 * 10 is a little over 11
  (Duration(epochs=0.01), 10, [1, 2, 3]),  # never twice at one step
])
def test_duration_in_steps(duration, per_epoch, steps):
  assert [duration.step(times, per_epoch) for times in (1, 2, 3)] == steps


@pytest.mark.parametrize('per_epoch', [1, 3, 7.5, 44.90625, 1000 / 7])
@pytest.mark.parametrize('duration', [
  Duration(steps=1), Duration(steps=7), Duration(epochs=1), Duration(epochs=0.3),
  Duration(epochs=1e-3)])
def test_after_is_the_next_multiple(duration, per_epoch):
  ends = sorted({duration.step(times, per_epoch) for times in range(1, 400)})
  for step in range(0, 60):
    expected = next(end for end in ends if end > step)
    assert duration.after(step, per_epoch) == expected, step


def test_after_is_quick_late_in_a_run():
  assert Duration(steps=1).after(10**9, 10.0) == 10**9 + 1
  assert Duration(epochs=1).after(10**9, 10.0) == 10**9 + 10


def test_all_ends_of_fractions_add_up():
  length = 1437 / 32
  assert Duration(epochs=1 / 3).step(3 * 15, length) == math.ceil(15 * length)


@pytest.mark.parametrize('fields', [
  {}, {'steps': 1, 'epochs': 1}, {'steps': 0}, {'steps': -3}, {'epochs': math.nan},
  {'epochs': math.inf}, {'minutes': 0}])
def test_duration_refuses(fields):
  with pytest.raises(ValueError, match='must'):
    Duration(**fields)


def test_minutes_cannot_be_converted_to_steps():
  with pytest.raises(ValueError, match='minutes'):
    Duration(minutes=1).step(1, 10.0)


def test_monitor_compares():
  less, more = Monitor(metric='a/b', goal='min'), Monitor(metric='a/b', goal='max')
  assert less.better(1.0, None) and more.better(1.0, None)
  assert less.better(1.0, 2.0) and not less.better(2.0, 1.0)
  assert more.better(2.0, 1.0) and not more.better(1.0, 2.0)
  assert not less.better(1.0, 1.0) and not more.better(1.0, 1.0)
  assert not less.better(math.nan, 1.0) and not more.better(math.nan, 1.0)


@pytest.mark.parametrize('fields', [{'goal': 'least'}, {'patience': 0}])
def test_monitor_refuses(fields):
  with pytest.raises(ValueError, match=next(iter(fields))):
    Monitor(**{'metric': 'test/loss', 'goal': 'min'} | fields)


@pytest.mark.parametrize(('changes', 'message'), [
  ({'keep': 0}, 'keep'),
  ({'seed': -1}, 'seed'),
  ({'seed': 2**32}, 'seed'),
  ({'duration': Duration(minutes=1)}, 'duration'),
  ({'evaluate_every': Duration(minutes=1)}, 'evaluate_every'),
  ({'log_every': Duration(minutes=1)}, 'log_every'),
  ({'monitor': Monitor(metric='tset/loss', goal='min')}, 'of test; got .tset/loss'),
])
def test_experiment_refuses(digits, changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(digits, **changes)


def test_experiment_is_frozen(digits):
  with pytest.raises(dataclasses.FrozenInstanceError):
    digits.seed = 1
