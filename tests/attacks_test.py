"""No change to the files of a run and no bad input ends in silence."""

import pytest

from tests import attacks

CHANGES = 1000  # over all kinds


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
