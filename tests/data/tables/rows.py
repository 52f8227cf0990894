"""What tests of tables share: files of rows, and the lines that are printed."""

import pathlib

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext


def printing(folder: pathlib.Path) -> DataContext:
  """A context whose `lines_of` are what it prints."""
  lines = []
  return DataContext(None, folder, {}, lines.append)


def write_csv(folder: pathlib.Path, rows, name: str = 'data.csv') -> str:
  """Writes a CSV file of rows, the header first, and returns its path."""
  text = '\n'.join(','.join(str(v) for v in row) for row in rows) + '\n'
  (folder / name).write_text(text)
  return str(folder / name)


def lines_of(context):
  return context.say.__self__


def line_of(context, start):
  """The one line that begins so."""
  line, = [x for x in lines_of(context) if x.strip().startswith(start)]
  return line.strip()


def fitted(context):
  found, = [v for k, v in context.kept.items() if k.startswith('table ')]
  return found


def refusal(table, context):
  with pytest.raises(UserError) as error:
    table.open(context)
  text, = str(error.value).splitlines()
  return text


def numbers(values, count=60):
  return [values[i % len(values)] for i in range(count)]
