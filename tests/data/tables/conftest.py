"""Fixtures of the tests of tables."""

from functools import partial

import pytest

from tests.data.tables.rows import printing, write_csv


@pytest.fixture
def context(tmp_path):
  return printing(tmp_path)


@pytest.fixture
def write(tmp_path):
  return partial(write_csv, tmp_path)
