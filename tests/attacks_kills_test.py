"""No run that is killed ends in other bits; apart, to run beside other attacks."""

import pytest

from tests import attacks
from tests.environments import libraries

KILLS = 100  # over all kinds


@pytest.mark.slow('kill runs')
@pytest.mark.parametrize('name', attacks.KILLED)
def test_no_kill_is_silent(name, tmp_path):
  libraries.require(*attacks.KILLED[name].needed)
  outcomes = attacks.kill(name, tmp_path, KILLS // len(attacks.KILLED), 0)
  assert not attacks.report(f'kills, {name}', outcomes)
