"""A finished run, which each test of storage gets a copy of."""

import pathlib
import shutil

import pytest

from bigmodels.modes import train
from bigmodels.storage.workdir import Workdir


@pytest.fixture(scope='session')
def whole(tmp_path_factory, cache_dir, tiny) -> pathlib.Path:
  """A finished run with checkpoints of the steps 22 (the latest but one) and 30."""
  from bigmodels.cli.request import Request

  path = tmp_path_factory.mktemp('sealed') / 'run'
  train.run(Request(str(tiny), {'steps': '30'}, str(path), None, cache_dir, None))
  return path


@pytest.fixture
def run(whole, tmp_path) -> Workdir:
  shutil.copytree(whole, tmp_path / 'run')
  return Workdir(tmp_path / 'run')
