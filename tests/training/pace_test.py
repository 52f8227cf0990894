"""bigmodels.training.pace, on a clock and a device that are simulated; and Stop."""

import os
import signal
import types

import numpy as np
import pytest

from bigmodels.training import pace as paces
from bigmodels.training.pace import Pace, Votes
from bigmodels.training.stop import Stop

NOTHING = Votes(False, False, -1)


def dispatch(pace, number, votes=NOTHING):
  """The dispatch of one step, with what all agree on by it."""
  agreed = None if votes is None else np.array(votes, np.int32)
  pace.dispatched(number, np.zeros(()), agreed)


def test_what_is_agreed_on_is_read_two_dispatches_later():
  pace = Pace(64, 0)
  for number in range(1, 10):
    dispatch(pace, number, Votes(number == 4, number == 5, -10 * number))
    read = number - 2
    if read < 1:
      assert (pace.done, pace.agreed, pace.count) == (0, NOTHING, 1)
    else:
      assert pace.done == read and pace.count == 10 * read
      assert pace.agreed == (read == 4, read == 5, -10 * read)


def test_it_does_not_matter_when_a_process_reads():
  slow, fast = Pace(64, 0), Pace(64, 0)
  slow._finished, fast._finished = 1e9, -1e9  # their clocks say otherwise
  for number in range(1, 8):
    for pace in (slow, fast):
      dispatch(pace, number, Votes(count=-number))
    assert slow.agreed == fast.agreed and slow.count == fast.count


@pytest.mark.parametrize('before', [1, 2, 5])
def test_a_save_that_was_asked_for_before_it_was_done_is_not_heard_again(before):
  pace = Pace(64, 0)
  for number in range(before):
    dispatch(pace, number, Votes(save=True, stop=number == before - 1))
  pace.saved()
  assert not pace.agreed.save
  received = []
  for number in range(before, before + 5):
    # One more is asked for by the first dispatch after it.
    dispatch(pace, number, Votes(save=number == before))
    received.append(tuple(map(bool, pace.agreed[:2])))
  # Both are received two dispatches later: the stop of the last before it, and the
  # save.
  assert received == [(number == 1, number == 2) for number in range(5)]


def test_saved_twice_is_saved_once():
  pace = Pace(64, 0)
  for number in range(3):
    dispatch(pace, number, Votes(save=True))
  pace.saved()
  pace.saved()
  received = []
  for number in range(3, 8):
    dispatch(pace, number, Votes(save=number == 3))
    received.append(bool(pace.agreed.save))
  assert received == [False, False, True, False, False]


class Device:
  """Takes some seconds a step, one dispatch after the other; so does its clock."""

  def __init__(self, monkeypatch, seconds):
    self.now, self.free, self.step, self.seconds = 0.0, 0.0, 0, seconds
    self.pace = Pace(64, 0)
    monkeypatch.setattr(
      paces, 'time', types.SimpleNamespace(perf_counter=lambda: self.now))
    monkeypatch.setattr(paces.jax, 'block_until_ready', self.wait)

  def wait(self, until):
    self.now = max(self.now, until)

  def dispatch(self):
    """Steps as the pace has it; returns how many."""
    count = self.pace.count
    self.now += 1e-4  # what a dispatch takes the host
    self.free = max(self.free, self.now) + count * self.seconds
    self.step += count
    self.pace.dispatched(self.step, self.free, None)
    return count


@pytest.mark.parametrize('seconds, expected', [
  (1.0, 1), (0.1, 2), (0.04, 6), (0.011, 22), (1e-3, 64), (1e-6, 64)])
def test_alone_a_dispatch_takes_a_quarter_of_a_second(monkeypatch, seconds, expected):
  device = Device(monkeypatch, seconds)
  counts = [device.dispatch() for _ in range(20)]
  assert counts[:3] == [1, 1, 1]  # before anything is known
  assert all(1 <= count <= 64 for count in counts)
  assert counts[-1] == expected
  assert device.pace.agreed == (False, False, -expected)


def test_alone_the_pace_outlives_an_evaluation(monkeypatch):
  device = Device(monkeypatch, 0.04)
  for _ in range(20):
    device.dispatch()
  device.now = device.free + 3  # waited for what was under way, then did other things
  device.pace.paused()
  assert max(device.dispatch() for _ in range(10)) <= 6


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGHUP'])
def test_a_signal_is_heard(name):
  number = signal.Signals[name]
  before = signal.signal(number, signal.SIG_DFL)  # the tests may be run under nohup
  try:
    with Stop() as stop:
      os.kill(os.getpid(), number)
    assert stop.name == name
  finally:
    signal.signal(number, before)


def test_under_nohup_a_run_outlives_its_terminal():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with Stop() as stop:
      os.kill(os.getpid(), signal.SIGHUP)
    assert stop.name is None and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, before)
