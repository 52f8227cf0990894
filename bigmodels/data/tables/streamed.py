"""Reads tables of any size in blocks, for predictions: same values, little memory.

The numbers of a CSV file in plain format are parsed by Arrow directly. A block with
anything else, such as decimal commas or words for missing values, goes through
`csv_columns`, as whole files do. A format that a later block contradicts is refused.
"""

import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.frames import Frame, is_text, rows_of
from bigmodels.data.tables import (
  compressed,
  streamed_csv,
  table_files,
  typed_files,
)
from bigmodels.data.tables.csv_dialects import Reading

_LARGEST = float(np.finfo(np.float32).max)


class Frames:
  """An iterator of frames; see `frames`.

  Attributes:
    unused: columns of the files that were not asked for.
    lines: what was inferred so far, to print.
    infinite: column -> number of values so far that are infinite or too large for
      float32, and are missing.
  """

  def __init__(self, paths: Sequence[pathlib.Path], reading: Reading,
               kinds: Mapping[str, str], rows: int, first: int):
    """Opens the first file; see `frames`."""
    self.unused: list[str] = []
    self.lines: list[str] = []
    self.infinite: dict[str, int] = {}
    self._paths, self._file = paths, 0
    self._stream: Any = None
    self._sizes = [max(path.stat().st_size, 1) for path in paths]
    self._reading, self._kinds, self._skip = reading, dict(kinds), first
    blocks = self._blocks()
    # The first block is read now, so that a file that does not fit is refused at once.
    start = next(blocks, None)
    self._frames = _of_size(
      itertools.chain([] if start is None else [start], blocks), rows)

  def __iter__(self) -> Iterator[Frame]:
    return self

  def __next__(self) -> Frame:
    return next(self._frames)

  @property
  def fraction(self) -> float:
    """Fraction of the files that has been read, 0 to 1."""
    now = 0.0 if self._stream is None else self._stream.fraction
    sizes = self._sizes
    done = sum(sizes[: self._file]) + (
      sizes[self._file] * now if self._file < len(sizes) else 0)
    return min(1.0, done / sum(sizes))

  def _blocks(self) -> Iterator[Frame]:
    for index, path in enumerate(self._paths):
      self._file = index
      try:
        for frame in self._of_file(path):
          skipped = min(self._skip, rows_of(frame))
          self._skip -= skipped
          if skipped < rows_of(frame):
            yield {name: column[skipped:] for name, column in frame.items()}
      except UserError as error:
        raise error if len(self._paths) == 1 else UserError(
          f'{path}: {error}') from None
      finally:
        if self._stream is not None:
          self._stream.close()
    self._file = len(self._paths)

  def _of_file(self, path: pathlib.Path) -> Iterator[Frame]:
    self._stream = compressed.Stream(path)
    kind = typed_files.format_of(path, self._stream.start)
    if kind != 'CSV':
      typed_files.check_settings(kind, self._reading)
      found = self._parquet if kind == 'Parquet' else self._json
      yield from map(self._finite, found(path))
    else:
      yield from map(self._finite, streamed_csv.Csv(self, self._stream, self._reading,
                                                    self._kinds).blocks())

  def columns(self, names: Sequence[str]) -> None:
    """Checks the names of the columns of a file, and notes those that are not used.

    Raises:
      UserError: if one that is asked for is missing.
    """
    for name in self._kinds:
      if name not in names:
        raise UserError(f'no column {name!r}{nearest(name, filter(None, names))}')
    self.unused += [name for name in names if name and name not in self._kinds
                    and name not in self.unused]

  def say(self, lines: Sequence[str]) -> None:
    """Adds lines that are new."""
    self.lines += [line for line in lines if line not in self.lines]

  def _finite(self, frame: Frame) -> Frame:
    for name, column in frame.items():
      if not is_text(column):
        beyond = np.abs(column) > _LARGEST
        if beyond.any():
          self.infinite[name] = self.infinite.get(name, 0) + int(beyond.sum())
          frame = frame | {name: np.where(beyond, np.nan, column)}
    return frame

  def _typed(self, columns: Mapping[str, Any], place: str) -> Frame:
    """Columns with types, in the kinds that are asked for."""
    frame = {}
    for name, kind in self._kinds.items():
      want = 'text' if kind != 'numbers' else (
        kind if name in self._reading.numbers else '')
      values, _ = typed_files.converted(columns[name], want, self._reading,
                                        trim=True)
      if want == 'numbers' and is_text(values):
        values = typed_files.parsed(name, values, self._reading, lambda _: place)
      elif kind == 'numbers' and is_text(values):
        if (values != '').any():
          raise UserError(f'{place}, column {name!r}: is '
                          f'{typed_files.kind_of(columns[name].type)}, and was numbers '
                          'when the run was fitted')
        values = np.full(len(values), np.nan)
      frame[name] = values
    return frame

  def _parquet(self, path: pathlib.Path) -> Iterator[Frame]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
      file = parquet.ParquetFile(path if not self._stream.codec else pa.BufferReader(
        compressed.read(path)))
      self.columns([n for n in file.schema_arrow.names
                    if not n.startswith('__index_level_')])
      self._refuse_types(file.schema_arrow)
      groups, done, meta = [], 0, file.metadata
      for index in range(meta.num_row_groups):  # whole groups are skipped unread
        count = meta.row_group(index).num_rows
        if groups or self._skip < count:
          groups.append(index)
        else:
          self._skip -= count
          done += count
      for batch in file.iter_batches(1 << 16, groups, list(self._kinds)):
        table = pa.Table.from_batches([batch])
        yield self._typed({n: table.column(n) for n in self._kinds},
                          f'row {done + 1}')
        done += len(batch)
        self._stream.at(done / max(meta.num_rows, 1))
    except (pa.ArrowException, OSError) as error:
      raise UserError(f'is not a Parquet file: {" ".join(str(error).split())[:200]}'
                      ) from None

  def _refuse_types(self, schema: Any) -> None:
    for name in self._kinds:
      if not typed_files.kind_of(schema.field(name).type):
        raise UserError(f'column {name!r} is {schema.field(name).type}, neither '
                        'numbers nor text')

  def _json(self, path: pathlib.Path) -> Iterator[Frame]:
    import pyarrow as pa

    del path
    line, seen = 1, False
    for block in streamed_csv.lines_of(self._stream, b''):
      rows, lines = typed_files.objects(block, line)
      line += block.count(b'\n')
      if not rows:
        continue
      if not seen:
        self.columns(list(dict.fromkeys(n for row in rows for n in row)))
        seen = True
      columns = {}
      for name in self._kinds:
        array, why, note = typed_files.json_column(
          name, [row.get(name) for row in rows], lines)
        if why:
          raise UserError(why)
        self.say([note] * bool(note))
        columns[name] = pa.chunked_array([array])
      yield self._typed(columns, f'line {lines[0]} and later')
    if not seen:
      raise UserError('the file is empty')


def frames(paths: Sequence[pathlib.Path], reading: Reading, kinds: Mapping[str, str],
           rows: int = 2**14, first: int = 0) -> Frames:
  """Yields the rows of files as frames, in memory that does not grow with the files.

  The values are those of `table_files.read`, or the file is refused.

  Args:
    paths: CSV, JSON lines or Parquet, perhaps compressed; at least one.
    reading: settings; None values are inferred from the first rows.
    kinds: the columns to read, by name, in any order -> 'text' or 'numbers'; or
      'written', text of which no word means that it is missing.
    rows: number of rows of a frame; the last one may have fewer.
    first: number of rows, over all files, to skip.

  Returns:
    An iterator of frames, see `frames`: float64 `[rows]` with NaN, or `object` of
    `str`. Its attributes say what was not used and how much has been read.

  Raises:
    UserError: if a file cannot be read as such a table, or lacks a column.
  """
  for path in paths:
    table_files.require(path)
  return Frames([*paths], reading, kinds, rows, first)


def _of_size(blocks: Iterator[Frame], rows: int) -> Iterator[Frame]:
  """Frames of a number of rows, from blocks of any."""
  held, count = [], 0
  for block in blocks:
    held.append(block)
    count += rows_of(block)
    if count < rows:
      continue
    whole = held[0] if len(held) == 1 else {
      name: np.concatenate([each[name] for each in held]) for name in block}
    for start in range(0, count - rows + 1, rows):
      yield {name: column[start : start + rows] for name, column in whole.items()}
    rest = count % rows
    held = [{n: column[count - rest:] for n, column in whole.items()}] * bool(rest)
    count = rest
  if held:
    yield held[0] if len(held) == 1 else {
      name: np.concatenate([each[name] for each in held]) for name in held[0]}
