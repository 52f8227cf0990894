"""Tests of --mode=smoke."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import smoke


def test_everything_is_run_once_and_nothing_is_left(
  plots, request_for, tiny, tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  monkeypatch.setattr('tempfile.tempdir', None)
  # Such as AUC, which a batch may have no value for.
  smoke.run(request_for(tiny, steps=10**6, patience=1), steps=3, batches=1)
  out = capsys.readouterr().out
  assert '3 steps of 50 examples' in out and 'report: ' not in out
  assert 'smoke test passed in ' in out
  assert 'evaluation of validation, test on at most 1 batches' in out
  assert not [*tmp_path.iterdir()]


def test_an_error_of_the_run_is_that_of_the_smoke_test(request_for, tiny, tmp_path):
  request = request_for(tiny, monitor__metric='validation/los')
  with pytest.raises(UserError, match="no metric 'validation/los'"):
    smoke.run(request)
  with pytest.raises(UserError, match='--steps=0: must be >= 1'):
    smoke.run(request, steps=0)
