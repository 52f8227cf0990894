"""Tests of bigmodels.data.folders.audio_files without its packages."""

import sys

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.folders import audio_files
from tests.data.folders.written import context


@pytest.mark.parametrize('package', ['soundfile', 'soxr'])
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, tmp_path,
                                                           package):
  monkeypatch.setitem(sys.modules, package, None)
  for name in ('a/1.wav', 'b/1.wav'):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b'x')
  with pytest.raises(UserError, match=r'sounds need the packages soundfile and soxr.*'
                                      r'pip install -r requirements-audio'):
    data.AudioFolder(str(tmp_path)).open(context(tmp_path))


def test_lengths_at_another_rate():
  found = audio_files.resampled(np.array([8000, 44_100, 7]), np.array(
    [8000, 44_100, 16_000]), 16_000)
  assert found.tolist() == [16_000, 16_000, 7]
