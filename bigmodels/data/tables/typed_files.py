"""Reads tables whose values have types: Parquet, and JSON with one object a line."""

import codecs
import io
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, listed, one_line
from bigmodels.data.tables import csv_columns, csv_numbers
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.csv_files import Part, header_names

JSON_NAMES = ('.jsonl', '.ndjson', '.json')
PARQUET_NAMES = ('.parquet', '.pq')
_FOR_CSV = ('delimiter', 'decimal', 'thousands', 'encoding', 'header')
_EXACT = 2**53  # float64 cannot represent the next integer


def check_settings(kind: str, reading: Reading) -> None:
  """Refuses settings that only a CSV file has.

  Raises:
    UserError: naming the setting.
  """
  for name in _FOR_CSV:
    if getattr(reading, name) is not None:
      raise UserError(f'{name}={getattr(reading, name)!r}: is for CSV, and this is '
                      f'{kind}')


# --- Parquet ----------------------------------------------------------------------


def parquet(data: bytes, reading: Reading) -> Part:
  """Reads a Parquet file; the index of a data frame is skipped.

  Raises:
    UserError: if it is none, or it has no rows.
  """
  import pyarrow as pa
  from pyarrow import parquet as arrow

  check_settings('Parquet', reading)
  try:
    table = arrow.ParquetFile(io.BytesIO(data)).read()
  except (pa.ArrowException, OSError) as error:
    raise UserError(f'is not a Parquet file: {" ".join(str(error).split())[:200]}'
                    ) from None
  columns, notes = named(table)
  if not table.num_rows or not columns:
    raise UserError(f'the file has {table.num_rows} rows and {len(columns)} columns')
  return _part(columns, digests.of_bytes(data), notes, lambda row: row + 1)


def named(table: Any) -> tuple[dict[str, Any], list[str]]:
  """Returns the columns of an Arrow table, without an index, and notes."""
  names = header_names(list(table.schema.names))
  index = [name for name in names if name.startswith('__index_level_')]
  columns = {name: table.column(i) for i, name in enumerate(names)
             if name and name not in index}
  return columns, [f'the index of the data frame ({listed(index)}) is skipped'] * bool(
    index)


# --- JSON -------------------------------------------------------------------------


def jsonl(data: bytes, reading: Reading) -> Part:
  """Reads JSON with one object a line; an absent key is a missing value.

  Raises:
    UserError: for a line that is no object, with its number.
  """
  check_settings('JSON', reading)
  rows, lines = objects(data, 1)
  if not rows:
    raise UserError('the file is empty')
  names = list(dict.fromkeys(name for row in rows for name in row))
  columns, refused, notes = {}, {}, []
  for name in names:
    columns[name], why, note = json_column(name, [row.get(name) for row in rows], lines)
    refused |= {name: why} if why else {}
    notes += [note] * bool(note)
  header_names(names)
  absent = {n: len(rows) - sum(n in row for row in rows) for n in names}
  absent = [f'{n} ({count:,} rows)' for n, count in absent.items() if count]
  if absent:
    notes.append(f'absent keys are missing values: {listed(absent)}')
  part = _part(columns, digests.of_bytes(data), notes, lambda row: lines[row])
  return part._replace(refused=part.refused | refused)


def objects(data: bytes, first: int) -> tuple[list[dict[str, Any]], list[int]]:
  """Returns the objects of lines, and the number of the line of each.

  Args:
    data: whole lines, UTF-8.
    first: number of the first line.

  Raises:
    UserError: for a line that is no object.
  """
  rows, lines = [], []
  if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    raise UserError('is UTF-16 or UTF-32; save it as UTF-8')
  for line, text in enumerate(data.removeprefix(b'\xef\xbb\xbf').split(b'\n'), first):
    if not text.strip():
      continue
    try:
      row = json.loads(text, object_pairs_hook=_unique)
    except UserError as error:
      raise UserError(f'line {line} {error}') from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError too
      hint = '; one object must be on one line' if line == first else ''
      raise UserError(f'line {line} is not JSON: {error}{hint}') from None
    if not isinstance(row, dict):
      raise UserError(f'line {line} must be an object {{"name": value}}, got '
                      f'{one_line(json.dumps(row), 40)}')
    rows.append(row)
    lines.append(line)
  return rows, lines


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise UserError(f'has the key {twice!r} twice')
  return found


def json_column(name: str, values: list[Any], lines: list[int]
                ) -> tuple[Any, str, str]:
  """Returns a column as an Arrow array, why it is refused or '', and a note or ''.

  Args:
    name: name of the column.
    values: its values, `[rows]`.
    lines: the line of each row.
  """
  import pyarrow as pa

  kinds = set(map(type, values)) - {type(None)}
  if nested := kinds & {dict, list}:
    row = next(i for i, value in enumerate(values) if type(value) in nested)
    return (pa.nulls(len(values)),
            f'line {lines[row]}, column {name!r}: is nested: '
            f'{one_line(json.dumps(values[row]), 40)}; give its parts columns of their '
            f'own, or drop={name}', '')
  if kinds <= {int}:
    try:
      return pa.array(values, pa.int64()), '', ''
    except (OverflowError, pa.ArrowInvalid):
      return pa.array([None if v is None else str(v) for v in values], pa.string(
      )).cast(pa.float64()), '', ''
  if kinds <= {int, float}:
    return pa.array([None if v is None else _float(v) for v in values],
                    pa.float64()), '', ''
  if len(kinds) > 1:
    note = (f'column {name!r} has values of several types, '
            f'{listed(sorted(k.__name__ for k in kinds))}, and is text')
    values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(values, pa.string()), '', note
  try:
    return pa.array(values, pa.bool_() if kinds == {bool} else pa.string()), '', ''
  except UnicodeEncodeError as error:
    row = values.index(error.object)
    return (pa.nulls(len(values)), f'line {lines[row]}, column {name!r}: has half of a '
            'character (a lone surrogate)', '')


def _float(value: float) -> float:
  try:
    return float(value)
  except OverflowError:
    return float('inf') if value > 0 else float('-inf')


# --- types ------------------------------------------------------------------------


def _part(columns: dict[str, Any], digest: str, notes: list[str], line: Any) -> Part:
  import pyarrow as pa

  refused, kinds = {}, {'bool': [], 'date': []}
  for name, column in columns.items():
    kind = kind_of(column.type)
    if not kind:
      refused[name] = (f'column {name!r} is {column.type}, neither numbers nor text; '
                       f'drop={name}')
      columns = columns | {name: pa.nulls(len(column))}
    elif kind in kinds:
      kinds[kind].append(name)
  notes = [*notes, *(f'{what} are text in {listed(names)}' for what, names in (
    ('true and false', kinds['bool']), ('dates and times', kinds['date'])) if names)]
  return Part(columns, '', digest, notes, line, refused)


def kind_of(arrow_type: Any) -> str:
  """Returns 'number', 'text', 'bool' or 'date'; '' for another type."""
  import pyarrow as pa

  types = pa.types
  if types.is_dictionary(arrow_type):
    return kind_of(arrow_type.value_type)
  if types.is_boolean(arrow_type):
    return 'bool'
  if types.is_integer(arrow_type) or types.is_floating(arrow_type) or (
    types.is_decimal(arrow_type) or types.is_null(arrow_type)):
    return 'number'
  if types.is_string(arrow_type) or types.is_large_string(arrow_type) or (
    arrow_type == pa.string_view()):
    return 'text'
  return 'date' if types.is_temporal(arrow_type) and not types.is_duration(
    arrow_type) else ''


def converted(column: Any, want: str, reading: Reading, *, trim: bool = False
              ) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns a column `[rows]`: float64 with NaN, or `object` of `str`, see `frames`.

  Args:
    column: chunked array of numbers, text, bools or dates.
    want: 'text' or 'numbers'; '' for the type that it has.
    reading: `missing` are words of text that are missing values.
    trim: whether blanks around texts are removed, as in a table of CSV.

  Returns:
    The column, and its integers as text if float64 cannot represent them, or None.

  Raises:
    UserError: if it is text and numbers are wanted.
  """
  import pyarrow as pa
  from pyarrow import compute

  if pa.types.is_dictionary(column.type):
    column = column.cast(column.type.value_type)
  kind = kind_of(column.type)
  if kind == 'number' and want == 'text':
    return _texts(csv_numbers.integers(column.cast(pa.string())), reading), None
  if kind == 'number' or (kind == 'bool' and want == 'numbers'):
    values = column.cast(pa.float64(), safe=False).to_numpy()
    exact = None
    if pa.types.is_integer(column.type) and len(values) and (
      np.fmax.reduce(np.abs(values)) >= _EXACT):
      exact = csv_numbers.strings(column.cast(pa.string()))
    return values, exact
  if kind == 'bool':
    column = compute.if_else(column, 'true', 'false')
  column = column.cast(pa.string())
  return _texts(compute.utf8_trim_whitespace(column) if trim else column, reading), None


def parsed(name: str, texts: np.ndarray, reading: Reading,
           where: Callable[[int], str]) -> np.ndarray:
  """Returns the numbers in texts, float64 `[rows]`, read as those of CSV.

  Args:
    name: name of the column.
    texts: `[rows]`, `object` of `str`.
    reading: has the column in `numbers`.
    where: row -> its place.

  Raises:
    UserError: for a text that is not a number.
  """
  import pyarrow as pa

  column = pa.chunked_array([pa.array(texts, pa.string())])
  return csv_columns.numbers({name: column}, reading, delimiter=',', where=where
                             ).frame[name]


def _texts(column: Any, reading: Reading) -> np.ndarray:
  import pyarrow as pa
  from pyarrow import compute

  if reading.missing:
    gone = compute.is_in(column, value_set=pa.array(reading.missing))
    column = compute.if_else(gone, pa.scalar(None, pa.string()), column)
  return csv_numbers.strings(column)


def format_of(path: pathlib.Path, start: bytes) -> str:
  """Returns 'Parquet', 'JSON' or 'CSV', by the first bytes or the name of a file."""
  name = path.name.lower().removesuffix('.gz').removesuffix('.zst')
  if start.startswith(b'PAR1') or name.endswith(PARQUET_NAMES):
    return 'Parquet'
  return 'JSON' if name.endswith(JSON_NAMES) else 'CSV'
