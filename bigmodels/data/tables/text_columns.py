"""Reads columns of text from a table, unchanged: white space and 'NA' included."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bigmodels.core import digests
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.tables import compressed, csv_dialects, typed_files
from bigmodels.data.tables.csv_dialects import Reading


class TextColumns(NamedTuple):
  """Columns of text of one file.

  Attributes:
    columns: name -> texts, '' if missing.
    line: row, from 0 -> its line, from 1.
    digest: digest of the content of the file, uncompressed.
    notes: what was inferred, to print.
  """

  columns: dict[str, list[str]]
  line: Callable[[int], int]
  digest: str
  notes: list[str]


def read(path: pathlib.Path, names: Sequence[str], reading: Reading) -> TextColumns:
  """Reads columns of a CSV, JSON lines or Parquet file, perhaps compressed.

  Args:
    path: path of the file.
    names: names of the columns.
    reading: settings, of which CSV needs the delimiter and the encoding.

  Raises:
    UserError: if it is no such file, lacks a column, or has no rows.
    OSError: if it cannot be read.
  """
  data = compressed.read(path)
  kind = typed_files.format_of(path, data[:8])
  if kind == 'Parquet':
    return _parquet(data, names, reading)
  if kind == 'JSON':
    return _json(data, names, reading)
  return _csv(data, names, reading)


def _csv(data: bytes, names: Sequence[str], reading: Reading) -> TextColumns:
  content = csv_dialects.of_bytes(data, reading)
  records = content.records()
  _, header = next(records, (1, []))
  if not header:
    raise UserError('the file is empty')
  header = [name.strip() for name in header]
  _check(names, header)
  places = [header.index(name) for name in names]
  columns, lines = [[] for _ in names], []
  for line, values in records:
    if len(values) != len(header):
      raise UserError(f'line {line} has {len(values)} values, the header has '
                      f'{len(header)}')
    for column, place in zip(columns, places, strict=True):
      column.append(values[place])
    lines.append(line)
  if not lines:
    raise UserError('the file has a header and no rows')
  return TextColumns(dict(zip(names, columns, strict=True)), lines.__getitem__,
                     content.digest, content.notes)


def _json(data: bytes, names: Sequence[str], reading: Reading) -> TextColumns:
  typed_files.check_settings('JSON', reading)
  rows, lines = typed_files.objects(data, 1)
  if not rows:
    raise UserError('the file is empty')
  _check(names, list(dict.fromkeys(name for row in rows for name in row)))
  columns = {name: [] for name in names}
  for line, row in zip(lines, rows, strict=True):
    for name in names:
      value = row.get(name)
      if isinstance(value, dict | list):
        raise UserError(f'line {line}, column {name!r}: is nested, must be text')
      columns[name].append('' if value is None else value if isinstance(value, str) else
                           json.dumps(value))
  return TextColumns(columns, lines.__getitem__, digests.of_bytes(data), [])


def _parquet(data: bytes, names: Sequence[str], reading: Reading) -> TextColumns:
  part = typed_files.parquet(data, reading)
  _check(names, list(part.columns))
  for name in names:
    if name in part.refused:
      raise UserError(part.refused[name])
  as_they_are = dataclasses.replace(reading, missing=None)
  return TextColumns(
    {name: typed_files.converted(part.columns[name], 'text', as_they_are)[0].tolist()
     for name in names}, lambda row: row + 1, part.digest, [])


def _check(names: Sequence[str], header: Sequence[str]) -> None:
  for name in names:
    if name not in header:
      raise UserError(f'no column {name!r}{nearest(name, filter(None, header))}')
    if header.count(name) > 1:
      raise UserError(f'several columns are called {name!r}')
