"""Time series in files as windows: past rows as inputs, the rows after as labels."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest, one_line
from bigmodels.data.frames import is_text
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.series import clock, graphs, prepared, windows
from bigmodels.data.series.rows import Gaps, Rows, arranged
from bigmodels.data.sources import Compact, DataContext, Dataset
from bigmodels.data.tables import table_files
from bigmodels.data.tables.settings import names_of

FITTED = 'series'  # name of what is fitted in `DataContext.keep`


@dataclasses.dataclass(frozen=True)
class Series:
  """Windows of time series in a file: `length` rows, then `horizon` rows to forecast.

  The file is CSV, Parquet or JSON lines as for `Table`: a row for each time, a column
  for each variable. Rows of several series may be in one file. Windows begin at every
  row and are not copied: they are gathered from the rows when a batch is made.

  Opened, with L = `length`, H = `horizon` and C targets: `inputs` float32 `[n, L,
  channels]`, the targets first and then `past`; `labels` float32 `[n, H, C]`. Both are
  scaled: `center` and `scale` `[n, C]` are what was subtracted, and divided by.
  `naive_error` `[n, C]` is the error in training of repeating the value of `season` (or
  1) rows before, see `metrics.Mase`. If there are such: `known` float32 `[n, L + H,
  features]`; `static` float32 `[n, features]`; `seasonal` `[n, H, C]`, the forecast
  that repeats the last season; `observed` uint8 `[n, H, C]`, 0 where a label is not in
  the file. With `directions`, `labels` are instead int32 `[n]`: 0 for a fall, 1 for a
  rise.

  Statistics are fitted on the rows of the split 'train' and stored with the run. A
  missing value is replaced by the last value before it, never by a later one. Whatever
  is inferred, changed or left out is printed.

  Attributes:
    path: a file, a pattern, or several. A relative path is also looked up under
      `--data_dir`.
    length: number of rows that a forecast is made from.
    horizon: number of rows that are forecast.
    targets: columns to forecast, `a,b` or `('a', 'b')`; none means all columns of
      numbers that have no other use.
    time: column of times: ISO dates, or numbers. None if rows are in order, at equal
      distances.
    series: column whose values name the series of each row; None for one series.
    past: further columns that are inputs, whose future is not known.
    known: columns that are known ahead of time, such as holidays.
    static: columns that never change in a series: numbers, or text that is categories.
    calendar: cycles of `clock.CYCLES` whose phase is known ahead: 'hour', 'day',
      'week', 'year'.
    splits: name -> fraction of the rows of each series; or number of rows, where rows
      after the last split are not used; or the time at which the split begins.
    until: the time at which the last split ends, if splits begin at times.
    reach: whether the inputs of a window may be rows of the split before its own, as in
      most published protocols. The rows that it forecasts are always in its own split.
    scale: 'column' subtracts the mean of each column and divides by its deviation;
      'series' does so for each series; None keeps values.
    change: 'relative' replaces values by their relative change since the row before.
    directions: classes instead of numbers: a relative change of the first target from
      the last input to the last forecast row up to the first number is a fall, above
      the second a rise; windows between them are left out.
    season: number of rows after which a pattern repeats, such as 24 for hours.
    gaps: 'fill' inserts rows where times are missing, 'keep' takes rows as they follow
      each other, such as trading days. None refuses a file with gaps.
    graph: file with the adjacency matrix of the targets, which a run supplies to models
      as `adjacency`.
    selected: the split that `open` returns.
    delimiter, decimal, thousands, missing, encoding: see `Table`.
  """

  path: str | tuple[str, ...]
  length: int
  horizon: int
  _: dataclasses.KW_ONLY
  targets: str | tuple[str, ...] = ()
  time: str | None = None
  series: str | None = None
  past: str | tuple[str, ...] = ()
  known: str | tuple[str, ...] = ()
  static: str | tuple[str, ...] = ()
  calendar: str | tuple[str, ...] = ()
  splits: Mapping[str, float | str] = dataclasses.field(
    default_factory=lambda: {'train': 0.7, 'validation': 0.1, 'test': 0.2})
  until: str | None = None
  reach: bool = True
  scale: Literal['column', 'series'] | None = 'column'
  change: Literal['relative'] | None = None
  directions: tuple[float, float] | None = None
  season: int | None = None
  gaps: Gaps | None = None
  graph: str | None = None
  selected: str = 'train'
  delimiter: str | None = None
  decimal: Literal['.', ','] | None = None
  thousands: str | None = None
  missing: tuple[str, ...] | str | None = None
  encoding: str | None = None

  def __post_init__(self):
    paths = [self.path] if isinstance(self.path, str) else self.path
    if not paths or not all(paths):
      raise UserError(f'path: must be the path of a file, or several, got '
                      f'{self.path!r}')
    found = tuple(files.absolute(each, 'path') for each in paths)
    object.__setattr__(self, 'path', found[0] if isinstance(self.path, str) else found)
    if self.graph is not None:
      object.__setattr__(self, 'graph', files.absolute(self.graph, 'graph'))
    for field in ('targets', 'past', 'known', 'static', 'calendar'):
      object.__setattr__(self, field, names_of(getattr(self, field)))
    for field in ('length', 'horizon', 'season'):
      value = getattr(self, field)
      if value is not None and (type(value) is not int or value < 1):
        raise UserError(f'{field}: must be an integer >= 1, got {value!r}')
    for field, legal in (('scale', ('column', 'series')), ('change', ('relative',)),
                         ('gaps', ('keep', 'fill'))):
      value = getattr(self, field)
      if value not in (None, *legal):
        choices = ' or '.join(map(repr, legal))
        raise UserError(f'{field}: must be {choices} or None, got {value!r}')
    if self.season is not None and self.season > self.length:
      raise UserError(f'season: must be at most {self.length}, the length, as it is '
                      f'repeated from the inputs, got {self.season}')
    for cycle in self.calendar:
      if cycle not in clock.CYCLES:
        raise UserError(f'calendar: no cycle {cycle!r}{nearest(cycle, clock.CYCLES)}')
    if self.directions is not None and not (
      len(self.directions) == 2 and self.directions[0] <= self.directions[1]):
      raise UserError('directions: must be two relative changes in order, such as '
                      f'(-0.005, 0.005), got {self.directions!r}')
    self._check_roles()
    self.reading()  # refuses invalid settings

  @property
  def shape(self) -> windows.Shape:
    """The shape of windows, if the number of targets is known from `targets`."""
    return windows.Shape(self.length, self.horizon, len(self.targets), self.season)

  def split(self, name: str) -> 'Series':
    return dataclasses.replace(self, selected=name)

  def reading(self) -> table_files.Reading:
    """Returns how the files are read."""
    words = self.missing if isinstance(self.missing, str | None) else (
      tuple(self.missing))
    return table_files.Reading(
      self.delimiter, self.decimal, self.thousands, words, self.encoding,
      tuple(n for n in (self.time, self.series) if n),
      (*self.targets, *self.past, *self.known))

  def open(self, context: DataContext) -> Dataset:
    """Reads the file, fits what is to be fitted, and finds the windows of the split.

    Raises:
      UserError: if the file and the settings give no windows.
    """
    try:
      return self._open(context)
    except UserError as error:
      name = self.path if isinstance(self.path, str) else ', '.join(self.path[:2])
      raise UserError(one_line(f'{name}: {error}')) from error

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new rows, which are scaled by what the run keeps."""
    from bigmodels.data.readers.series import SeriesReader

    fitted = context.kept[FITTED]
    source = dataclasses.replace(
      self, targets=tuple(fitted['channels'][: fitted['targets']]))
    return SeriesReader(source, fitted, source.reading(), context.say)

  def recorded(self, kept: Mapping[str, Any]) -> Mapping[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    return graphs.provided(kept)

  def arranged(self, file: table_files.File) -> Rows:
    """Returns the rows of a file in order; see `rows.arranged`.

    Raises:
      UserError: for columns that are not there, or times that are not in order.
    """
    for field in ('time', 'series', 'targets', 'past', 'known', 'static'):
      value = getattr(self, field)
      for name in (value,) if isinstance(value, str) else value or ():
        if name not in file.frame:
          raise UserError(f'{field}: no column {name!r}{nearest(name, file.frame)}')
    found = arranged(file.frame, self.series, self.time, self.gaps, file.where)
    if self.calendar and found.clock is not None and not found.clock.dates:
      raise UserError(f'calendar: {self.time!r} has numbers, must have dates')
    return found

  def _open(self, context: DataContext) -> Dataset:
    paths = table_files.found(self.path, context.data_dir)
    file = table_files.read(paths, self.reading())
    rows = self.arranged(file)
    border = windows.borders(rows, self.splits, self.until)
    for name in dict.fromkeys(('train', self.selected)):
      if name not in border:
        raise UserError(f'no split {name!r}{nearest(name, border)}')
    targets = self.targets or self._default_targets(file)
    source = dataclasses.replace(self, targets=targets)

    def fit():
      fitted, lines = prepared.fit(source, file, rows, border['train'])
      of_series = f', {len(rows.names):,} series' * (self.series is not None)
      context.note(f'{table_files.listed_names(paths)}: {file.summary}{of_series}')
      for line in [*file.lines, *rows.lines, *lines, *_unused(rows, border)]:
        context.note(f'  {line}')
      return fitted

    fitted = context.keep(FITTED, fit)
    for name in prepared.SETTINGS:
      ours = getattr(source, name)
      ours = [*ours] if isinstance(ours, tuple) else ours
      if fitted['settings'][name] != ours:
        raise UserError(f'{name}: is {ours!r} here and {fitted["settings"][name]!r} in '
                        'another split; must be the same')
    arrays, found = prepared.arrays(source, file, rows, fitted)
    arrays |= self._windows(rows, border[self.selected], found.levels[:, 0], context)
    first, number = arrays['first'], arrays['series']
    gather = functools.partial(windows.gather, source.shape)

    def read(index, seeds=None):
      del seeds
      return gather(arrays, index)

    begin = first + self.length  # of the forecast

    def words(index):
      from_ = begin[index].astype(str) if rows.clock is None else (
        rows.clock.text(rows.moments[begin[index]]))
      of = [{self.series: rows.names[i]} if self.series else {} for i in number[index]]
      return [{**one, 'from': text} for one, text in zip(of, from_, strict=True)]

    if self.graph is not None:
      context.keep(graphs.KEPT, lambda: graphs.read(
        table_files.found(self.graph, context.data_dir)[0], targets))
    return Dataset(
      length=len(first), nbytes=sum(array.nbytes for array in arrays.values()),
      load=lambda: read(np.arange(len(first))), read=read,
      classes=None if self.directions is None else ('fall', 'rise'),
      identity=f'{table_files.listed_names(paths)} sha256 {file.digest}, split '
               f'{self.selected!r} of {windows.described(self.splits)}: {len(first):,} '
               f'windows of {self.length} and {self.horizon} rows',
      describe=lambda row: 'forecast ' + ', '.join(
        f'{name} {text}' for name, text in words(np.array([row]))[0].items()),
      words=words, features=tuple(fitted['channels']),
      target=', '.join(targets) if len(targets) < 9 else None,
      origin=self._origin(file, border[self.selected]),
      provides=graphs.provided(context.kept),
      compact=Compact(lambda: arrays, gather))

  # --- parts of `open` ------------------------------------------------------------

  def _windows(self, rows: Rows, border: np.ndarray, levels: np.ndarray,
               context: DataContext) -> dict[str, np.ndarray]:
    """The first row of each window of the split, its series, and a class if there are.

    Args:
      rows: of the file.
      border: the first row and the end of the split in each series, `[series, 2]`.
      levels: values of the first target, `[rows]`.
      context: prints how many there are.
    """
    shape, name = self.shape, self.selected
    first, number = windows.firsts(rows, border, shape, reach=self.reach)
    if not len(first):
      windows.check_any(name, rows, border, shape, reach=self.reach)
    counts = np.bincount(number, minlength=len(rows.names))
    for line in windows.too_short(rows, counts):
      context.note(f'{name}: {line}')
    said = f'{name}: {len(first):,} windows{self._span(rows, border)}'
    if self.directions is None:
      context.note(said)
      return {'first': first, 'series': number}
    labels = prepared.directions(
      levels, first, self.length, self.horizon, self.directions)
    kept = labels >= 0
    said += prepared.left_out(labels, self.directions)
    if not kept.any():
      raise UserError(said)
    context.note(said)
    return {'first': first[kept], 'series': number[kept], 'labels': labels[kept]}

  def _default_targets(self, file: table_files.File) -> tuple[str, ...]:
    others = {self.time, self.series, *self.past, *self.known, *self.static}
    found = tuple(name for name, column in file.frame.items()
                  if name not in others and not is_text(column))
    if left := [name for name, column in file.frame.items()
                if name not in others and is_text(column)]:
      raise UserError(f'column {left[0]!r} is text: targets= names the columns to '
                      f'forecast{f", time={left[0]} the times" * (not self.time)}')
    if not found:
      raise UserError('targets: no column of numbers is left')
    return found

  def _check_roles(self) -> None:
    uses: dict[str, str] = {}
    for field in ('time', 'series', 'targets', 'past', 'known', 'static'):
      value = getattr(self, field)
      for name in (value,) if isinstance(value, str) else value or ():
        if field == 'static' and uses.get(name) == 'series':
          continue  # a category for each series
        if name in uses:
          raise UserError(f'{field}: {name!r} is in {uses[name]} too')
        uses[name] = field
    if self.calendar and not self.time:
      raise UserError('calendar: needs time=COLUMN')

  def _span(self, rows: Rows, border: np.ndarray) -> str:
    """The times of a split, for people."""
    if rows.moments is None or rows.clock is None:
      return ''
    inside = np.concatenate([rows.moments[a:b] for a, b in border])
    return ' of rows from {} to {}'.format(*rows.clock.text(
      np.array([inside.min(), inside.max()])))

  def _origin(self, file: table_files.File, border: np.ndarray) -> Origin:
    inside = np.concatenate([np.arange(a, b) for a, b in border])
    name = f'the series {file.digest}'
    return Origin({name: inside}, {f'splits of {name}': dict(self.splits),
                                   f'until of {name}': self.until})


def _unused(rows: Rows, border: Mapping[str, np.ndarray]) -> list[str]:
  used = sum(int((b - a).sum()) for a, b in (x.T for x in border.values()))
  left = len(rows.source) - used
  return [f'{left:,} of {len(rows.source):,} rows are in no split ('
          f'{listed(border)})'] if left else []
