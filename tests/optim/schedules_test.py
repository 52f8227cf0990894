"""Tests of bigmodels.optim.schedules against the formulas."""

import math
from functools import partial

import numpy as np
import pytest

from bigmodels.optim import schedules

PEAK, END = 0.4, 0.01


def cosine(fraction, end=END):
  return end + (PEAK - end) * (1 + math.cos(math.pi * fraction)) / 2


def linear(fraction):
  return PEAK + (END - PEAK) * fraction


@pytest.mark.parametrize('steps', [20, 1000])
def test_step_is_multiplied_at_fractions_of_the_run(steps):
  rate = schedules.step(steps, peak=PEAK, at=(0.5, 0.75), factor=0.1)
  expected = {0: 1, steps // 2 - 1: 1, steps // 2: 0.1, 3 * steps // 4 - 1: 0.1,
              3 * steps // 4: 0.01, steps: 0.01}
  for at, factor in expected.items():
    assert rate(at) == pytest.approx(PEAK * factor, rel=1e-5), at


def test_step_takes_fractions_in_any_order_and_twice():
  rate = schedules.step(100, peak=PEAK, at=(0.6, 0.2, 0.6), factor=0.5)
  values = [float(rate(at)) for at in (19, 20, 59, 60)]
  assert values == pytest.approx([PEAK, PEAK / 2, PEAK / 2, PEAK / 8])


def test_step_without_fractions_is_constant():
  rate = schedules.step(10, peak=PEAK, at=())
  assert rate(0) == rate(10) == pytest.approx(PEAK)


def test_step_after_a_warm_up():
  rate = schedules.step(100, peak=PEAK, at=(0.5, 0.2), factor=0.1, warmup=0.1)
  expected = {0: 0.1, 4: 0.5, 9: 1, 10: 1, 19: 1, 20: 0.1, 49: 0.1, 50: 0.01, 99: 0.01}
  for at, factor in expected.items():
    assert rate(at) == pytest.approx(PEAK * factor, rel=1e-5), at
  with pytest.raises(ValueError, match=r'fractions >= warmup, 0\.3, got 0\.2'):
    schedules.step(100, peak=PEAK, at=(0.5, 0.2), warmup=0.3)


@pytest.mark.parametrize('steps', [10, 1000])
@pytest.mark.parametrize('fraction', [0, 0.1, 0.5, 0.9, 1])
def test_exponential_is_geometric(steps, fraction):
  rate = schedules.exponential(steps, peak=PEAK, end=END)
  expected = PEAK ** (1 - fraction) * END**fraction
  assert rate(round(steps * fraction)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('steps', [10, 1000])
@pytest.mark.parametrize('fraction', [0, 0.1, 0.5, 0.9, 1])
def test_warmup_cosine_without_warm_up_is_half_a_cosine(steps, fraction):
  rate = schedules.warmup_cosine(steps, peak=PEAK, warmup=0.0, end=END)
  assert rate(round(steps * fraction)) == pytest.approx(cosine(fraction), rel=1e-5)


@pytest.mark.parametrize('schedule, fall', [
  (schedules.warmup_cosine, cosine), (schedules.warmup_linear, linear)])
@pytest.mark.parametrize('steps', [40, 1000])
def test_warm_up_is_linear_and_then_the_rest_falls(schedule, fall, steps):
  rate = schedule(steps, peak=PEAK, warmup=0.2, end=END)
  rise = steps // 5
  for at in (0, 1, rise // 2, rise - 1):  # the first step moves, the last is at peak
    assert rate(at) == pytest.approx(PEAK * (at + 1) / rise, rel=1e-5)
  for fraction in (0, 0.25, 0.5, 1):
    at = rise + round(fraction * (steps - rise))
    assert rate(at) == pytest.approx(fall(fraction), rel=1e-5)
  every = [float(rate(at)) for at in range(0, steps + 1, steps // 20)]
  assert max(every) <= PEAK * (1 + 1e-6)


@pytest.mark.parametrize('schedule', [schedules.warmup_cosine, schedules.warmup_linear])
@pytest.mark.parametrize(
  'warmup, first', [(0.0, 1), (0.01, 1), (0.02, 1 / 2), (1, 0.01)])
def test_shortest_and_longest_warm_up(schedule, warmup, first):
  rate = schedule(100, peak=PEAK, warmup=warmup)
  assert rate(0) == pytest.approx(PEAK * first, rel=1e-5)
  assert rate(round(100 * warmup)) == pytest.approx(PEAK)


@pytest.mark.parametrize('schedule', [schedules.warmup_cosine, schedules.warmup_linear])
def test_rates_end_at_zero_by_default(schedule):
  assert schedule(50, peak=PEAK)(50) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize('name', [
  'step', 'exponential', 'warmup_cosine', 'warmup_linear'])
def test_a_run_of_one_step_begins_at_the_peak(name):
  end = {} if name == 'step' else {'end': END}
  at = {'at': (1.0,)} if name == 'step' else {}
  assert getattr(schedules, name)(1, peak=PEAK, **end, **at)(0) == pytest.approx(PEAK)


@pytest.mark.parametrize('bad', [-0.1, 1.1, 100, float('nan')])
def test_bad_fractions_are_refused(bad):
  with pytest.raises(ValueError, match='at: must be a fraction'):
    schedules.step(10, peak=1.0, at=(0.5, bad))
  for schedule in (schedules.warmup_cosine, schedules.warmup_linear):
    with pytest.raises(ValueError, match='warmup: must be a fraction'):
      schedule(10, peak=1.0, warmup=bad)


@pytest.mark.parametrize('peak, end', [(0, 1), (1, 0)])
def test_exponential_refuses_rates_of_zero(peak, end):
  with pytest.raises(ValueError, match='peak and end must be > 0'):
    schedules.exponential(10, peak=peak, end=end)


def test_schedules_can_be_traced():
  import jax

  rate = schedules.warmup_cosine(100, peak=PEAK, warmup=0.1, end=END)
  actual = jax.jit(jax.vmap(rate))(np.arange(101))
  np.testing.assert_allclose(actual, [float(rate(i)) for i in range(101)], rtol=1e-4)
  assert actual.shape == (101,)


@pytest.mark.parametrize('rate', [-1.0, float('nan'), float('inf')])
@pytest.mark.parametrize('schedule', [
  schedules.step, schedules.warmup_cosine, schedules.warmup_linear,
  partial(schedules.exponential, end=0.1)])
def test_invalid_rates_are_refused(schedule, rate):
  with pytest.raises(ValueError, match=f'peak: must be finite and >= 0, got {rate}'):
    schedule(100, peak=rate)


def test_one_cycle_is_that_of_pytorch():
  """`OneCycleLR(SGD, 0.4, total_steps=100)`, by its formula: two half cosines."""
  def half(first, last, fraction):
    return last + (first - last) / 2 * (1 + math.cos(math.pi * fraction))

  rate = schedules.one_cycle(100, peak=PEAK)
  for step in range(100):
    up = 0.3 * 100 - 1
    expected = half(PEAK / 25, PEAK, step / up) if step <= up else (
      half(PEAK, PEAK / 25 / 1e4, (step - up) / (99 - up)))
    assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-7), step


@pytest.mark.parametrize('growth,ends', [(2.0, (10, 30, 70)), (1.0, (23, 47, 70))])
def test_warm_restarts_are_half_cosines(growth, ends):
  rate = schedules.warm_restarts(70, peak=PEAK, end=END, cycles=3, growth=growth)
  for first, last in zip((0, *ends), ends, strict=False):
    for step in (first, (first + last) // 2, last - 1):
      assert float(rate(step)) == pytest.approx(
        cosine((step - first) / (last - first)), rel=1e-5)


@pytest.mark.parametrize('given,message', [
  ({'cycles': 0}, 'cycles: must be 1 to 10, the steps of the run, got 0'),
  ({'cycles': 11}, 'got 11'), ({'growth': 0.0}, 'growth: must be finite and > 0'),
  ({'growth': float('nan')}, 'growth')])
def test_warm_restarts_refuses(given, message):
  with pytest.raises(ValueError, match=message):
    schedules.warm_restarts(10, peak=PEAK, **given)
