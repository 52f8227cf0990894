"""Knobs of the experiments on series."""

import pytest

from bigmodels.config import resolving
from bigmodels.core.errors import UserError


@pytest.mark.parametrize('name', ['etth1_dlinear', 'etth1_patchtst'])
def test_the_season_is_a_day_only_if_it_is_not_given(name):
  source = resolving.resolve(name, {}).experiment.train.source
  assert source.season == 24
  with pytest.raises(UserError, match='season: must be an integer >= 1, got 0'):
    resolving.resolve(name, {'season': '0'})
