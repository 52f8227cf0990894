"""Sound files and a table of their transcripts."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Literal

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed
from bigmodels.data.cached import scratch
from bigmodels.data.folders import audio_files, decoding, index, labels, splitting
from bigmodels.data.folders.listing import counted
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.recordings.recording import Recordings, divided, shared_speakers
from bigmodels.data.sources import FRACTIONS, DataContext, check_fractions
from bigmodels.data.tables import text_columns
from bigmodels.data.tables.csv_dialects import Reading

_FULL = 0.01  # of the samples at full scale: the recording was too loud


@dataclasses.dataclass(frozen=True)
class SpeechReading(audio_files.AudioReading):
  """How a sound becomes an example; see `AudioReading`.

  Shorter sounds are padded with zeros. It notes silence and overload.
  """

  def __call__(self, data: bytes, seed: np.ndarray
               ) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns float32 `[length]` and notes; see `decoding.Reading`."""
    samples, notes = super().__call__(data, seed)
    size = np.abs(samples)
    if not size.any():
      notes = (*notes, 'silent')
    elif np.mean(size >= 0.999) > _FULL:
      notes = (*notes, f'at full scale in more than {_FULL:.0%} of the samples, so '
               'probably clipped when recorded')
    return samples, notes

  def lines(self, facts: np.ndarray) -> list[str]:
    """See `AudioReading.lines`; of rates and channels, int `[n, 3]`."""
    return [line for line in super().lines(facts) if 'seconds=' not in line]


@dataclasses.dataclass(frozen=True)
class SoundTable:
  """A table, CSV, JSON lines or Parquet, with a sound and its transcript in each row.

    SoundTable('speech/index.csv', rate=16_000)    # file,text,speaker,split

  WAV, FLAC, Ogg, MP3, AIFF and AU are read, by the packages of requirements-audio.txt.

  Attributes:
    path: the table.
    rate: samples per second, to which other rates are resampled; None for the rate that
      all files have.
    seconds: longer sounds are left out of the split 'train'; None for no limit.
    file, text: columns of the table.
    speaker: column of speakers; None if there is none.
    split: column of splits; None divides by `splits`.
    splits: split -> fraction, with every speaker in one split.
    duplicates: treatment of a sound that is equal to one of another split: 'refuse', or
      'drop', which leaves it out of training.
    folder: folder to which names of files are relative; None for that of the table.
    cache: whether to keep decoded sounds on disk, in `--cache_dir`.
  """

  path: str
  _: dataclasses.KW_ONLY
  rate: int | None = None
  seconds: float | None = None
  file: str = 'file'
  text: str = 'text'
  speaker: str | None = None
  split: str | None = None
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: FRACTIONS)
  duplicates: Literal['refuse', 'drop'] = 'refuse'
  folder: str | None = None
  cache: bool = True

  def __post_init__(self):
    for name in ('path', 'folder'):
      if getattr(self, name) is not None:
        object.__setattr__(self, name, files.absolute(getattr(self, name), name))
    audio_files.check_rate(self.rate)
    if self.seconds is not None and not self.seconds > 0:
      raise ValueError(f'seconds: must be > 0, got {self.seconds}')
    if self.duplicates not in ('refuse', 'drop'):
      raise ValueError(f"duplicates: must be 'refuse' or 'drop', got "
                       f'{self.duplicates!r}')
    check_fractions(self.splits)

  @property
  def name(self) -> str:
    path = pathlib.Path(self.path)
    return f'{path.parent.name}/{path.name}'

  def read(self, split: str, context: DataContext) -> Recordings:
    """Reads the table, and the headers of the sounds of a split.

    Raises:
      UserError: if a column, a file or the split is missing, equal sounds are in two
        splits, or no sound can be read.
    """
    table = files.find(self.path, context.data_dir)
    columns, line = self._columns(table)
    folder = table.parent if self.folder is None else files.find(
      self.folder, context.data_dir)
    paths = self._paths(columns[self.file], folder, table, line)
    scratch.sweep(context.cache_dir / 'decoded', context.say)
    known = index.of_files(paths, audio_files.header, kind='sound', name=self.name,
                           context=context)
    speakers = columns[self.speaker] if self.speaker else None
    splits, notes = self._splits(columns, speakers, len(paths))
    names = columns[self.file]
    kept, equal = splitting.settle_equal(
      splits, known.digests, known.readable, None, names,
      drop=self.duplicates == 'drop')
    splits[~kept] = ''
    rows = splitting.select(splits, split, f'the column {self.split!r}'
                            if self.split else '', self.splits)
    rate = self.rate or context.keep('sample rate', lambda: audio_files.common(
      known.facts, names, 1, 'sample rates', 'rate=, such as rate=16_000'))
    frames, rates, _ = known.facts[rows].T
    lengths = np.where(frames < 0, 0, audio_files.resampled(
      np.maximum(frames, 0), np.maximum(rates, 1), rate))
    notes = [*notes, *equal]
    if split == 'train' and self.seconds is not None:
      long = lengths > self.seconds * rate
      if long.all():
        raise UserError(f'{self.name}: every sound of train is longer than '
                        f'{self.seconds:g} s')
      if long.any():
        notes.append(f'{counted(int(long.sum()), "sound")} of train longer than '
                     f'{self.seconds:g} s, so left out (seconds= sets this)')
      rows, lengths = rows[~long], lengths[~long]
    if not lengths.any():
      raise UserError(f'{self.name}: none of {len(rows):,} sounds of {split} can be '
                      f'read, such as {names[rows[0]]}')
    reading = SpeechReading(rate, max(1, int(lengths.max())), 'start')
    part, inside = known.take(rows), [paths[row] for row in rows]
    notes += reading.lines(part.facts[part.readable])
    entry = decoding.entry(reading, f'{self.name}-{split}', inside, part,
                           context.cache_dir) if self.cache else None
    chosen = [names[row] for row in rows]
    examples = decoding.Rows(reading, inside, chosen, None, np.arange(len(rows)),
                             entry, context.say)
    texts = [columns[self.text][row] for row in rows]
    return Recordings(
      chosen, texts, lengths, rate, reading.shape, reading.dtype, examples.read,
      f'{self.name} {split}: {len(rows):,} sounds at {rate} Hz, sha256 '
      f'{index.identity(chosen, None, part)}',
      lambda row: f'{table}, line {line(int(rows[row]))}', examples.describe,
      None if speakers is None else [speakers[row] for row in rows], notes,
      Origin({splitting.KEYS: splitting.content_codes(part.digests)}, {
        f'splits of {self.path}': self.split or dict(self.splits)}))

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new sounds; see `readers`."""
    from bigmodels.data.readers.sounds import SoundReader

    rate = self.rate or context.kept['sample rate']
    return SoundReader(lambda length: SpeechReading(rate, length, 'start'), rate,
                       self.file, context.say)

  def _columns(self, table: pathlib.Path):
    """Column -> texts, stripped, and the line of a row."""
    asked = [self.file, self.text, *filter(None, (self.speaker, self.split))]
    try:
      found = text_columns.read(table, asked, Reading())
    except UserError as error:
      raise UserError(f'{table}: {error}') from None
    except OSError as error:
      raise UserError(f'{table}: cannot be read: {error.strerror}') from None
    columns = {name: [*map(str.strip, found.columns[name])] for name in asked}
    for name in filter(None, (self.speaker, self.split)):
      if '' in columns[name]:
        row = columns[name].index('')
        raise UserError(f'{table}, line {found.line(row)}: no value of {name!r}')
    return columns, found.line

  def _paths(self, names, folder, table, line) -> list[str]:
    """The file of each row."""
    paths = [labels.file_at(folder, name) if name else None for name in names]
    missing = [row for row, path in enumerate(paths) if path is None]
    if missing:
      raise UserError(
        f'{table}: {len(missing):,} of {len(paths):,} sounds are not in {folder}, such '
        f'as {names[missing[0]]!r} (line {line(missing[0])}); folder= sets where they '
        'are')
    return paths

  def _splits(self, columns, speakers, length: int) -> tuple[np.ndarray, list[str]]:
    """The split of each row, object `[n]`, and lines."""
    if self.split:
      given = columns[self.split]
      found = np.array([*map(labels.canonical, given)], object)
      return found, [*labels.renamed_splits(given, f'in the column {self.split!r},'),
                     *shared_speakers(speakers, found)]
    found = np.empty(length, object)
    for name in self.splits:
      found[divided(speakers, length, name, self.splits, self.name)] = name
    by = f'by the column {self.speaker!r}' if self.speaker else 'at random'
    parts = listed(f'{value:g} {name}' for name, value in self.splits.items())
    return found, [f'divided {by}: {parts} (splits= sets the fractions)']
