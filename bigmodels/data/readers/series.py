"""Reads new series for a run of `data.Series`, scaled as in training."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.readers.paths import of_suffix
from bigmodels.data.readers.reader import Chunk, Examples
from bigmodels.data.series import clock as clocks
from bigmodels.data.series import fitting, prepared, windows
from bigmodels.data.series.rows import Rows
from bigmodels.data.sources import Columns
from bigmodels.data.tables import table_files
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.table_files import SUFFIXES


@dataclasses.dataclass(frozen=True)
class SeriesReader:
  """Reads files of series: an example is what comes after the last row of a series.

  The last row is the last one with a value of a target. Rows after it are those of the
  forecast, with what is known of them.

  Attributes:
    series: the `data.Series` of the run, with its targets.
    fitted: what the run keeps of it.
    reading: settings for reading files.
    say: prints a line.
  """

  series: Any
  fitted: Mapping[str, Any]
  reading: Reading
  say: Any = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`."""
    return isinstance(values, Mapping) or hasattr(values, 'columns')

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns the columns of the last window of each series, `[series, ...]`.

    Args:
      values: name -> column `[rows]`, or a DataFrame: rows of one or several series.
      others: must be empty.

    Raises:
      UserError: for columns that do not fit the run.
    """
    if others:
      raise UserError(f'a run of series reads rows, not {listed(others)}')
    frame = {str(name): _column(values[name]) for name in (
      values if isinstance(values, Mapping) else values.columns)}
    for name in (self.series.time, self.series.series):
      if name in frame and frame[name].dtype != object:
        frame[name] = np.array([f'{x:.17g}' for x in frame[name]], object)
    if len({len(column) for column in frame.values()}) != 1:
      raise UserError('the columns of a series must be of one length')
    chunk = self._last(table_files.File(
      frame, '', (), '', lambda row: f'row {row}', {}, (), {}))
    for index, why in chunk.faults.items():
      raise UserError(f'{chunk.names[index]}: {why}')
    return chunk.columns

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the end of every series of files, or with labels all windows.

    Raises:
      UserError: for files that do not fit the run.
    """
    files = [file for path in paths for file in of_suffix(path, SUFFIXES, self.say)]
    try:
      file = table_files.read(files, self.reading)
      chunk = self._windows(file) if labels else self._last(file)
    except UserError as error:
      raise UserError(f'{listed(map(str, files), 2)}: {error}') from error
    for line in (file.summary, *file.lines):
      self.say(line)

    def chunks(first: int) -> Iterator[Chunk]:
      if first < chunk.length:
        yield chunk.part(first, chunk.length)

    steps = next((column.shape[1] for column in chunk.steps.values()), 1)
    return Examples(chunks, files, chunk.length, steps)

  # --- windows ----------------------------------------------------------------------

  def _prepared(self, file: table_files.File
                ) -> tuple[Rows, dict[str, np.ndarray], fitting.Values]:
    rows = self.series.arranged(file)
    ours, theirs = rows.clock, clocks.of_json(self.fitted['clock'])
    if None not in (ours, theirs) and (ours.step, ours.monthly) != (
      theirs.step, theirs.monthly):
      raise UserError(f'its rows are {ours} apart, those that the run was trained on '
                      f'{theirs}')
    for line in rows.lines:
      self.say(line)
    return rows, *prepared.arrays(self.series, file, rows, self.fitted)

  def _windows(self, file: table_files.File) -> Chunk:
    """Every window of a file, with its labels."""
    rows, arrays, values = self._prepared(file)
    series, shape = self.series, self.series.shape
    for line in fitting.missing_lines(
      values.observed, self.fitted['channels'], shape.targets):
      self.say(line)
    whole = np.stack([rows.starts[:-1], rows.starts[1:]], 1)
    first, number = windows.firsts(rows, whole, shape, reach=False)
    if not len(first):
      windows.check_any('file', rows, whole, shape, reach=False)
    for line in windows.too_short(rows, np.bincount(
      number, minlength=len(rows.names))):
      self.say(line)
    if series.directions is not None:
      labels = prepared.directions(values.levels[:, 0], first, series.length,
                                   series.horizon, series.directions)
      said = f'{len(first):,} windows{prepared.left_out(labels, series.directions)}'
      kept = labels >= 0
      if not kept.any():
        raise UserError(said)
      self.say(said)
      first, number, arrays['labels'] = first[kept], number[kept], labels[kept]
    found = windows.gather(
      shape, {**arrays, 'first': first, 'series': number}, np.arange(len(first)))
    return Chunk(found, range(len(first)), 1.0, labels=found.pop('labels'))

  def _last(self, file: table_files.File) -> Chunk:
    """The window at the end of each series."""
    rows, arrays, values = self._prepared(file)
    series, (length, horizon, targets, _) = self.series, self.series.shape
    names, observed = self.fitted['channels'], values.observed
    ends, faults, filled, ahead = [], {}, np.zeros(len(names), int), 0
    for index, (begin, end) in enumerate(zip(
      rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True)):
      there = np.flatnonzero(observed[begin:end, :targets].any(1))
      ahead += end - begin - (there[-1] + 1 if len(there) else 0)
      end = begin + (int(there[-1]) + 1 if len(there) else 0)
      filled += (~observed[max(end - length, begin) : end]).sum(0)
      if end - begin < length:
        faults[index] = (f'has {end - begin:,} rows, a forecast needs {length:,}')
        end = begin + length  # of any rows: their forecast is not used
      ends.append(end)
    if ahead:
      self.say(f'{ahead:,} rows after the last one with a target: these are forecast')
    if filled.any():
      counts = listed(f'{name} {count:,}' for name, count in zip(
        names, filled.tolist(), strict=True) if count)
      self.say(f'missing: {counts} of the inputs; the last value is repeated')
    first = np.array(ends) - length
    size = len(arrays['values'])
    past = np.minimum(first[:, None] + np.arange(length), size - 1)
    columns = {'inputs': arrays['values'][past]} | {
      name: arrays[name] for name in windows.PER_SERIES if name in arrays}
    if 'known' in arrays:
      columns['known'] = np.stack([
        self._known(file, rows, arrays['known'], index, end)
        if index not in faults else np.zeros(
          (length + horizon, arrays['known'].shape[1]), np.float32)
        for index, end in enumerate(ends)])
    if series.series is None:
      names, unit, extra = range(1), 'row', {}
    else:
      names, unit, extra = [*rows.names], series.series, {}
    last = np.minimum(np.array(ends), rows.starts[1:]) - 1
    steps = {}
    if rows.clock is not None and series.gaps != 'keep':
      steps = {series.time: rows.clock.text(np.stack([
        rows.clock.after(rows.moments[row], horizon) for row in last]))}
    else:
      steps = {'step': np.tile(np.arange(1, horizon + 1), (len(ends), 1))}
      if rows.clock is not None:  # when trading days come is not known
        extra = {'after': rows.clock.text(rows.moments[last]).tolist()}
    if series.directions is not None:  # one class for the whole horizon
      steps = {}
    return Chunk(columns, names, 1.0, unit, extra, faults, steps=steps,
                 targets=series.targets if targets > 1 and steps else ())

  def _known(self, file: table_files.File, rows: Rows, known: np.ndarray, index: int,
             end: int) -> np.ndarray:
    """What is known of a window and of the steps after it, `[steps, features]`."""
    series, stop = self.series, int(rows.starts[index + 1])
    there = known[end - series.length : min(end + series.horizon, stop)]
    missing = series.length + series.horizon - len(there)
    for name in series.known:
      column = rows.take(file.frame[name])[end : end + series.horizon]
      gone = missing + int(np.isnan(column[: stop - end]).sum())
      if gone:
        raise UserError(f'known: {name!r} has no value for {gone:,} of the '
                        f'{series.horizon:,} rows to forecast; the file must have rows '
                        'for them, with empty targets')
    if not missing:
      return there
    moments = rows.clock.after(rows.moments[stop - 1], missing)
    return np.concatenate([there, clocks.phases(moments, series.calendar).astype(
      np.float32)])


def _column(values: Any) -> np.ndarray:
  """A column of a frame, `[rows]`: float64, or `object` of `str`; see `frames`."""
  array = np.asarray(values)
  if array.dtype.kind in 'biuf':
    return array.astype(np.float64)
  values = array if array.dtype.kind == 'M' else array.tolist()
  return np.array(['' if value is None or value != value else str(value)
                   for value in values], object)
