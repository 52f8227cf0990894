"""Reads text as a CSV file, for tests."""

import pathlib

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.tables import csv_files
from bigmodels.data.tables.csv_files import Reading


def read_text(folder: pathlib.Path, text: str | bytes, **settings) -> csv_files.File:
  """The CSV file with that content."""
  path = folder / 'data.csv'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  csv_files._read.cache_clear()  # may be written again within one tick of the clock
  return csv_files.read(path, Reading(**settings))


def columns_of(file):
  return {name: column.tolist() for name, column in file.frame.items()}


def refused(read, text, **settings):
  with pytest.raises(UserError) as caught:
    read(text, **settings)
  assert '\n' not in str(caught.value)
  return str(caught.value)
