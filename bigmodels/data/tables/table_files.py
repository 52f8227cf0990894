"""Reads one or several files as one table, into columns of numbers or text."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.frames import Frame, booleans_of, is_text, missing, style_of
from bigmodels.data.tables import (
  compressed,
  csv_columns,
  csv_files,
  csv_numbers,
  typed_files,
)
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.csv_files import Part

# The usual names of tables; a file that is given itself may have any.
SUFFIXES = tuple(kind + packed for kind in (
  '.csv', '.tsv', '.txt', *typed_files.JSON_NAMES, *typed_files.PARQUET_NAMES)
  for packed in ('', *compressed.SUFFIXES))


class File(NamedTuple):
  """The content of one or several files.

  Attributes:
    frame: column -> `[rows]`: float64 if every value is a number or missing, else
      `object` of `str`; see `frames`. It is shared and must not be modified.
    digest: digest of the bytes of the files.
    parts: digest and number of rows of each file.
    summary: one line about what was found and inferred.
    where: (row, from 0) -> its place: 'line 5', or 'line 5 of b.csv' if there are
      several files.
    exact: column of integers beyond 2**53 or with leading zeros, which floats cannot
      represent -> `[rows]`, the integers as text, '' where missing.
    lines: more about what was inferred, and the settings that change it.
    refused: column whose values are neither numbers nor text -> why.
  """

  frame: Frame
  digest: str
  parts: tuple[tuple[str, int], ...]
  summary: str
  where: Callable[[int], str]
  exact: Frame
  lines: tuple[str, ...]
  refused: dict[str, str]


def found(path: str | Sequence[str], data_dir: str | None) -> tuple[pathlib.Path, ...]:
  """Returns the files of a path, of a pattern such as `data/*.csv`, or of several.

  Args:
    path: paths and patterns; see `files.matching`.
    data_dir: the folder `--data_dir`, or None.

  Raises:
    UserError: if nothing is at a path or matches a pattern, a path is a folder, or a
      file is given twice.
  """
  result: dict[pathlib.Path, pathlib.Path] = {}
  for each in [path] if isinstance(path, str) else path:
    of_pattern = files.is_pattern(each, data_dir)
    matches = files.matching(each, data_dir)
    kept = [match for match in matches if not of_pattern or not match.is_dir()]
    if not kept:
      raise UserError(f'no file matches {each}, only folders such as {matches[0]}')
    for file in kept:
      files.require_file(file)
      if result.setdefault(file.resolve(), file) is not file:
        raise UserError(f'{file} is given twice')
  return tuple(result.values())


def read(paths: Sequence[pathlib.Path], reading: Reading = Reading()) -> File:  # noqa: B008
  """Reads files with the same columns as one table; the last is cached in memory.

  Each is CSV, JSON with an object a line, or Parquet, and may be compressed.

  Args:
    paths: paths of the files, at least one.
    reading: settings; None values are inferred.

  Raises:
    UserError: if a file is missing, or no such table with at least one row, or
      ambiguous; or columns differ between files.
  """
  stats = []
  for path in paths:
    try:
      stats.append(require(path))
    except UserError as error:
      raise _of(path, paths, error) from None
  return _read(tuple(paths), reading, tuple(stats))


def require(path: pathlib.Path) -> tuple[int, int]:
  """Returns the time of change and the size of a file.

  Raises:
    UserError: if it is missing, cannot be read, or is a folder.
  """
  try:
    if path.is_dir():
      raise UserError(f'is a folder; must be a file, such as {path}/*.csv')
    stat = path.stat()
  except FileNotFoundError:
    raise _absent(path) from None
  except OSError as error:
    raise _unreadable(error) from None
  return stat.st_mtime_ns, stat.st_size


def _of(path: pathlib.Path, paths: Sequence, error: UserError) -> UserError:
  return error if len(paths) == 1 else UserError(f'{path.name}: {error}')


def _absent(path: pathlib.Path) -> UserError:
  if not path.parent.is_dir():
    return UserError(f'there is no folder {path.parent}')
  names = [p.name for p in path.parent.iterdir() if p.name.lower().endswith(SUFFIXES)]
  return UserError(f'there is no such file{nearest(path.name, names)}')


def _unreadable(error: OSError) -> UserError:
  return UserError(f'cannot be read: {error.strerror}')


@functools.lru_cache(maxsize=1)  # the splits of a table are opened one by one
def _read(paths: tuple[pathlib.Path, ...], reading: Reading, stats: tuple) -> File:
  del stats  # they change when a file does
  parts = []
  for path in paths:
    try:
      parts.append(_part(path, reading))
    except UserError as error:
      raise _of(path, paths, error) from None
    except OSError as error:
      raise _of(path, paths, _unreadable(error)) from None
  names = [path.name for path in paths]
  _check(names, parts)
  starts = np.cumsum([0, *(part.rows for part in parts)])

  def where(row: int) -> str:
    index = int(np.searchsorted(starts, row, 'right')) - 1
    line = f'line {parts_lines[index](int(row - starts[index]))}'
    return line if len(paths) == 1 else f'{line} of {names[index]}'

  parts_lines = [part.line for part in parts]
  frame, exact, lines, infinite = _joined(parts, reading, where, starts)
  single = len(parts) == 1
  notes = parts[0].notes if single else []
  if not single:
    frame, respelled = _respelled(frame)
    lines = [*_differing(names, parts), *lines, *respelled]
  texts = sum(is_text(column) for column in frame.values())
  summary = (f'{f"{len(parts):,} files, " * (not single)}{starts[-1]:,} rows, '
             f'{len(frame) - texts} columns of numbers, {texts} of text')
  notes = [*notes, *(['missing: infinite or too large for float32: ' + listed(
    f'{name} ({count:,})' for name, count in infinite.items())] if infinite else [])]
  digest = digest_of([part.digest for part in parts])
  return File(frame, digest, tuple((p.digest, p.rows) for p in parts),
              '; '.join([summary, *notes]), where, exact, tuple(lines),
              {name: _where_of(names, i, why) for i, part in enumerate(parts)
               for name, why in part.refused.items()})


def digest_of(parts: Sequence[str]) -> str:
  """Returns the digest of several files, of the digests of each."""
  return parts[0] if len(parts) == 1 else digests.of_json([*parts])


def _where_of(names: list[str], index: int, why: str) -> str:
  return why if len(names) == 1 else f'{names[index]}: {why}'


def _part(path: pathlib.Path, reading: Reading) -> Part:
  data = compressed.read(path)
  kind = typed_files.format_of(path, data[:8])
  if kind == 'Parquet':
    return typed_files.parquet(data, reading)
  if kind == 'JSON':
    return typed_files.jsonl(data, reading)
  return csv_files.read(path, data, reading)


def _check(names: list[str], parts: list[Part]) -> None:
  """Refuses files with other columns than the first, and copies."""
  first, digests_seen = parts[0].columns, {}
  for name, part in zip(names, parts, strict=True):
    if lacks := [c for c in first if c not in part.columns]:
      raise UserError(f'{name}: no column {lacks[0]!r}, which {names[0]} has'
                      f'{nearest(lacks[0], part.columns)}')
    if more := [c for c in part.columns if c not in first]:
      raise UserError(f'{name}: has a column {more[0]!r}, which {names[0]} does not '
                      f'have{nearest(more[0], first)}')
    if (other := digests_seen.setdefault(part.digest, name)) is not name:
      raise UserError(f'{name}: is a copy of {other}, whose rows would count twice')


def _differing(names: list[str], parts: list[Part]) -> list[str]:
  """Lines about each file, or one if they agree."""
  found = {'; '.join(part.notes) for part in parts}
  if len(found) == 1:
    return [f'every file: {note}' for note in found if note]
  return [f'{name}: {"; ".join(part.notes) or "delimiter " + repr(part.delimiter)}'
          for name, part in zip(names, parts, strict=True)]


def _joined(parts: list[Part], reading: Reading, where: Callable[[int], str],
            starts: np.ndarray) -> tuple[Frame, Frame, list[str], dict[str, int]]:
  """The columns of all files, exact integers, lines, and counts of infinities.

  The numbers of CSV files with the same delimiter have one format.
  """
  import pyarrow as pa

  kinds = list(dict.fromkeys(part.delimiter for part in parts))
  lines, infinite, groups = [], {}, []
  for delimiter in kinds:
    members = [i for i, part in enumerate(parts) if part.delimiter == delimiter]
    rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in members])

    def place(row, rows=rows):
      return where(int(rows[row]))

    if delimiter:
      columns = {name: pa.chunked_array(
        [c for i in members for c in parts[i].columns[name].chunks], pa.string())
        for name in parts[0].columns}
      numbers = csv_columns.numbers(columns, reading, delimiter=delimiter, where=place)
      lines += numbers.lines
      infinite |= numbers.infinite
      groups.append((rows, numbers.frame, numbers.exact, columns))
      continue
    for i in members:
      frame, exact = _typed(parts[i], reading, infinite, where, starts[i])
      groups.append((np.arange(starts[i], starts[i + 1]), frame, exact, None))
  if len(groups) == 1:
    _, frame, exact, _ = groups[0]
    return frame, exact, lines, infinite
  frame, exact = {}, {}
  for name in parts[0].columns:
    frame[name], some = _merged(name, groups, reading, lines)
    exact |= {name: some} if some is not None else {}
  return frame, exact, lines, infinite


def _typed(part: Part, reading: Reading, infinite: dict[str, int],
           where: Callable[[int], str], start: int) -> tuple[Frame, Frame]:
  """The columns of a file with types, and its exact integers."""
  import pyarrow as pa

  frame, exact = {}, {}
  for name, column in part.columns.items():
    if isinstance(column, pa.Array):
      column = pa.chunked_array([column])
    want = 'text' if name in reading.text else (
      'numbers' if name in reading.numbers else '')
    values, texts = typed_files.converted(column, want, reading, trim=True)
    if is_text(values) and want == 'numbers':
      values = typed_files.parsed(name, values, reading,
                                  lambda row: where(int(start + row)))
    if not is_text(values):
      beyond = np.abs(values) > np.finfo(np.float32).max
      if beyond.any():
        infinite[name] = infinite.get(name, 0) + int(beyond.sum())
        values = np.where(beyond, np.nan, values)
    values.flags.writeable = False
    frame[name] = values
    if texts is not None:
      exact[name] = texts
  return frame, exact


def _merged(name: str, groups: list, reading: Reading, lines: list[str]
            ) -> tuple[np.ndarray, np.ndarray | None]:
  """A column of all groups of files: text if it is text in one of them."""
  total = sum(len(rows) for rows, *_ in groups)
  columns = [frame[name] for _, frame, *_ in groups]
  text = any(map(is_text, columns))
  if text and any(not is_text(c) and not missing(c).all() for c in columns):
    lines.append(f'column {name!r} is text in one file and numbers in another, and is '
                 'taken as text (types= sets it)')
  result = np.empty(total, object if text else np.float64)
  exact = np.full(total, '', object)
  precise = not text and any(name in known for _, _, known, _ in groups)
  for (rows, _, known, texts), column in zip(groups, columns, strict=True):
    result[rows] = column
    if precise or (text and not is_text(column)):
      written = known[name] if name in known else _written(name, column, texts, reading)
      (exact if precise else result)[rows] = written
  result.flags.writeable = False
  return result, exact if precise else None


def _respelled(frame: Frame) -> tuple[Frame, list[str]]:
  """One spelling of true and false in each column, and lines about the others."""
  lines, result = [], dict(frame)
  for name, column in frame.items():
    found = booleans_of(column)
    if len({text.lower() for text in found}) == len(found):
      continue
    counts = {text: int((column == text).sum()) for text in sorted(found)}
    styles = {}
    for text, count in counts.items():
      styles[style_of(text)] = styles.get(style_of(text), 0) + count
    style = max(styles, key=styles.get)
    column = column.copy()
    for text in counts:
      column[column == text] = style(text)
    lines.append(f'column {name!r}: ' + listed(
      f'{text!r} ({count:,}) is read as {style(text)!r}'
      for text, count in counts.items() if text != style(text)))
    column.flags.writeable = False
    result[name] = column
  return result, lines


def _written(name: str, column: np.ndarray, texts: dict | None, reading: Reading
             ) -> np.ndarray:
  """Numbers as text: as in the file, or as short as possible."""
  if texts is not None:
    words = csv_numbers.MISSING if reading.missing is None else ('', *reading.missing)
    return csv_numbers.strings(csv_numbers.Texts({name: texts[name]}, words)[name])
  return np.array(['' if np.isnan(v) else str(int(v)) if v.is_integer() else repr(v)
                   for v in column.tolist()], object)


def listed_names(paths: Sequence[pathlib.Path]) -> str:
  """Returns 'a.csv', or 'a.csv, b.csv and 3 more'."""
  return listed([path.name for path in paths], 2)
