"""No change to the files of a run, no kill and no bad input ends in silence."""

import pytest

from tests import attacks
from tests.environments import libraries

CHANGES, KILLS = 1000, 100  # over all kinds


@pytest.mark.slow('changed files')
@pytest.mark.parametrize('name', attacks.TARGETS)
def test_no_change_to_a_file_is_silent(name, tmp_path):
  outcomes = attacks.mutations(name, tmp_path, CHANGES // len(attacks.TARGETS), 0)
  assert not attacks.report(f'changes, {name}', outcomes)
  # The attack itself works: every kind of answer was given.
  assert {'refused', 'said', 'same'} == {outcome.kind for outcome in outcomes}


@pytest.mark.slow('bad input')
def test_no_bad_input_is_silent(tmp_path):
  outcomes = attacks.bad_input(tmp_path)
  assert len(outcomes) >= 100
  assert not attacks.report('bad input', outcomes)


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize('name', attacks.KILLED)
def test_no_kill_is_silent(name, tmp_path):
  libraries.require(*attacks.KILLED[name].needed)
  outcomes = attacks.kill(name, tmp_path, KILLS // len(attacks.KILLED), 0)
  assert not attacks.report(f'kills, {name}', outcomes)
