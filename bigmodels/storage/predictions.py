"""Files of predictions: CSV, JSON lines or Parquet, written in parts.

Parts are written to a hidden folder beside the file, and joined at the end. A run that
was killed goes on after the last whole part.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError

SUFFIXES = ('.csv', '.jsonl', '.parquet')

# Name -> values `[n]`; or name -> key -> values: a column for each key, an object in
# JSON. A masked value is missing.
Table = Mapping[str, Any]


class PredictionsFile:
  """A file of predictions that is being written.

  Attributes:
    path: of the file.
    rows: number of rows in the parts so far.
  """

  def __init__(self, path: pathlib.Path, identity: Any, *, overwrite: bool = False):
    """Opens the parts of an earlier run with the same identity, or starts again.

    Args:
      path: of the file; its suffix, one of `SUFFIXES`, is the format.
      identity: JSON, which changes when the predictions do.
      overwrite: whether an existing file may be replaced.

    Raises:
      UserError: for a file that cannot be written or exists.
    """
    self.path, self._suffix = path, path.suffix.lower()
    if files.exists(path) and not overwrite:
      raise UserError(f'--output={path}: exists; choose another, or replace it with '
                      '--overwrite')
    self._folder = path.with_name(f'.{path.name}.parts')
    identity = json.loads(json.dumps(identity))
    self._state = {'identity': identity, 'rows': []}
    self.rows = 0
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
      found = json.loads((self._folder / 'state.json').read_text())
      if found.keys() == self._state.keys() and found['identity'] == identity and all(
        self._part(index).is_file() for index in range(len(found['rows']))):
        self.rows = sum(found['rows'])
        self._state = found
    with self._writing():
      if not self.rows:
        shutil.rmtree(self._folder, ignore_errors=True)

  def write(self, table: Table) -> None:
    """Writes rows as the next part.

    Args:
      table: the rows; every part has the same columns.

    Raises:
      UserError: if it cannot be written.
    """
    rows, part = _rows_of(table), self._part(len(self._state['rows']))
    scratch = part.with_suffix('.tmp')
    with self._writing():
      self._folder.mkdir(exist_ok=True)
      if self._suffix == '.jsonl':
        scratch.write_text(''.join(_lines(table)), encoding='utf-8')
      else:
        self._write_arrow(scratch, _arrow(table), header=not self._state['rows'])
      scratch.replace(part)
      self._state['rows'].append(rows)
      files.write(self._folder / 'state.json', json.dumps(self._state))
    self.rows += rows

  def finish(self) -> None:
    """Joins the parts to the file, and removes them.

    Raises:
      UserError: if it cannot be written.
    """
    scratch = self._folder / 'whole'
    parts = [self._part(index) for index in range(len(self._state['rows']))]
    with self._writing():
      self._folder.mkdir(exist_ok=True)
      if self._suffix == '.parquet':
        _join_parquet(parts, scratch)
      else:
        with scratch.open('wb') as whole:
          for part in parts:
            with part.open('rb') as file:
              shutil.copyfileobj(file, whole, 2**20)
      scratch.replace(self.path)
      shutil.rmtree(self._folder)

  def _part(self, index: int) -> pathlib.Path:
    return self._folder / f'{index:06}{self._suffix}'

  def _write_arrow(self, path: pathlib.Path, table: Any, *, header: bool) -> None:
    if self._suffix == '.parquet':
      from pyarrow import parquet

      parquet.write_table(table, path)
      return
    from pyarrow import csv

    csv.write_csv(table, path, csv.WriteOptions(
      include_header=header, quoting_style='needed'))

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      raise UserError(f'--output={self.path}: cannot be written: '
                      f'{error.strerror or error}; the same command goes on after '
                      f'{self.rows:,} rows') from error


def _rows_of(table: Table) -> int:
  first = next(iter(table.values()))
  return len(next(iter(first.values())) if isinstance(first, Mapping) else first)


def _arrow(table: Table) -> Any:
  """A table of Arrow, with a column `NAME_KEY` for each key."""
  import pyarrow as pa

  columns = {}
  for name, values in table.items():
    each = {f'{name}_{key}': column for key, column in values.items()} if (
      isinstance(values, Mapping)) else {name: values}
    for key, column in each.items():
      while key in columns:
        key += '_'
      columns[key] = _arrow_column(column)
  return pa.table(columns)


def _arrow_column(values: Any) -> Any:
  import pyarrow as pa

  if isinstance(values, np.ma.MaskedArray):
    return pa.array(values.data, mask=np.ma.getmaskarray(values))
  with contextlib.suppress(pa.ArrowException):
    if isinstance(values, list):  # a part without any value has the same type
      return pa.array(values, pa.string())
  return pa.array(values)


def _lines(table: Table) -> Iterator[str]:
  """An object for each row, as JSON; what is missing is null."""
  columns = {name: {key: _values(column) for key, column in values.items()}
             if isinstance(values, Mapping) else _values(values)
             for name, values in table.items()}
  for row in range(_rows_of(table)):
    yield json.dumps({
      name: {key: column[row] for key, column in values.items()}
      if isinstance(values, dict) else values[row]
      for name, values in columns.items()}, ensure_ascii=False) + '\n'


def _values(column: Any) -> list:
  """A column as Python's values: floats with as few digits as they need."""
  if isinstance(column, np.ndarray) and column.dtype == np.float32:
    digits = [float(text) for text in column.astype(str).tolist()]
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    return digits if mask is None else [
      None if gone else x for x, gone in zip(digits, mask, strict=True)]
  return column.tolist() if hasattr(column, 'tolist') else list(column)


def _join_parquet(parts: list[pathlib.Path], path: pathlib.Path) -> None:
  from pyarrow import parquet

  with parquet.ParquetWriter(path, parquet.read_schema(parts[0])) as writer:
    for part in parts:
      writer.write_table(parquet.read_table(part))
