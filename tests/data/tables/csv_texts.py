"""Reads text as a CSV file, for tests."""

import pathlib

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.tables import table_files
from bigmodels.data.tables.table_files import Reading


def read_text(folder: pathlib.Path, text: str | bytes, **settings) -> table_files.File:
  """The CSV file with that content."""
  path = folder / 'data.csv'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  table_files._read.cache_clear()  # may be written again within one tick of the clock
  return table_files.read([path], Reading(**settings))


def columns_of(file):
  return {name: column.tolist() for name, column in file.frame.items()}


def refused(read, text, **settings):
  with pytest.raises(UserError) as caught:
    read(text, **settings)
  assert '\n' not in str(caught.value)
  return str(caught.value)
