"""Tests of bigmodels.data.series.clock: steps, text and phases of times."""

import datetime

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.series import clock


def read(*times):
  moments, style, zone = clock.read('time', np.array(times, object), str)
  return moments, clock.clock_of([moments], style, zone)


@pytest.mark.parametrize(('times', 'after', 'step'), [
  (('2020-01-01', '2020-01-02', '2020-01-03'), ('2020-01-04', '2020-01-05'),
   '1 day, 0:00:00'),
  (('2020-02-28T23:45:00', '2020-02-29T00:00:00'),
   ('2020-02-29T00:15:00', '2020-02-29T00:30:00'), '0:15:00'),
  (('2020-01-01 10:00:00+00:00', '2020-01-01 11:00:00+00:00'),
   ('2020-01-01 12:00:00+00:00', '2020-01-01 13:00:00+00:00'), '1:00:00'),
  (('2019-12-01', '2020-01-01', '2020-02-01'), ('2020-03-01', '2020-04-01'), '1 month'),
  (('2020-01-31', '2020-02-29', '2020-03-31'), ('2020-04-30', '2020-05-31'), '1 month'),
  (('2019-01-01', '2019-04-01', '2019-07-01'), ('2019-10-01', '2020-01-01'),
   '3 months'),
  (('1', '2.5', '4'), ('5.5', '7'), '1.5')])
def test_times_go_on_as_they_are_written(times, after, step):
  moments, found = read(*times)
  assert found.text(found.after(moments[-1], 2)).tolist() == [*after]
  assert str(found) == step
  np.testing.assert_array_equal(found.ticks(moments), np.arange(len(times)))
  assert clock.of_json([*found]) == found


def test_times_after_the_last_year():
  moments, found = read('9999-12-29', '9999-12-30')
  assert found.text(found.after(moments[-1], 1)).tolist() == ['9999-12-31']
  with pytest.raises(UserError, match='beyond the years 1 to 9999'):
    found.text(found.after(moments[-1], 2))


def test_the_step_is_the_most_frequent_one():
  assert str(read('2020-01-01', '2020-01-02', '2020-01-03', '2020-01-06')[1]) == (
    '1 day, 0:00:00')
  assert read('2020-01-01')[1] is None


def test_phases_are_those_of_the_calendar():
  when = datetime.datetime(2021, 7, 3, 15, 30)
  moments, _ = read(str(when))
  day = when.timetuple().tm_yday - 1 + 15.5 / 24
  expected = [30 / 60, 15.5 / 24, (when.weekday() + 15.5 / 24) / 7, day / 365]
  found = clock.phases(moments, clock.CYCLES)[0]
  np.testing.assert_allclose(found[::2], np.sin(2 * np.pi * np.array(expected)),
                             atol=1e-9)
  np.testing.assert_allclose(found[1::2], np.cos(2 * np.pi * np.array(expected)),
                             atol=1e-9)
