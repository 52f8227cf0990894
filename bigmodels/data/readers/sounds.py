"""Reads new sounds of any length for a run of recordings."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.core.paths import readable
from bigmodels.data.folders import audio_files, decoding, index, labels, listing
from bigmodels.data.readers.reader import Chunk, Examples
from bigmodels.data.sources import Columns

_FILES = 32  # of a chunk
_SECONDS = 60  # a longer sound would make all of its batch as long


@dataclasses.dataclass(frozen=True)
class SoundReader:
  """Reads sounds: files, those of folders, or those that a table lists.

  Attributes:
    reading: number of samples -> how a sound is read.
    rate: samples per second.
    file_column: column of a CSV file.
    say: prints a line.
  """

  reading: Callable[[int], audio_files.AudioReading]
  rate: int
  file_column: str = 'file'
  say: Callable[[str], None] = print

  def takes(self, values: Any) -> bool:
    """See `Reader.takes`: sounds of one length, or a list of sounds."""
    return isinstance(values, np.ndarray | list | tuple)

  def columns(self, values: Any, others: Mapping[str, Any]) -> Columns:
    """Returns the columns of sounds in memory, padded to the longest.

    Args:
      values: `[n, samples]`, or `n` arrays `[samples]`, at the rate of the run.
      others: must be empty.

    Raises:
      UserError: for anything else, and values that are not finite.
    """
    sounds = [np.asarray(each) for each in values]
    if others or not sounds or any(
      each.ndim != 1 or not len(each) or each.dtype.kind != 'f' for each in sounds):
      raise UserError('a run of recordings reads sounds: a list of float arrays '
                      f'[samples], in [-1, 1], at {self.rate:,} samples per second')
    lengths = np.array([*map(len, sounds)], np.int32)
    inputs = np.zeros((len(sounds), lengths.max()), np.float32)
    loud = 0
    for row, sound in enumerate(sounds):
      if not np.isfinite(sound).all():
        raise UserError(f'sound {row}: has values that are not finite')
      loud += np.abs(sound).max() > 1
      inputs[row, : len(sound)] = np.clip(sound, -1, 1)
    if loud:
      self.say(f'{loud:,} of {len(sounds):,} sounds clipped to [-1, 1]')
    return {'inputs': inputs, 'lengths': lengths}

  def examples(self, paths: Sequence[pathlib.Path], *, labels: bool) -> Examples:
    """Returns the sounds of files; see `Reader`.

    Raises:
      UserError: if there is no such file, or labels are asked for.
    """
    if labels:
      raise UserError('transcripts are read with the source of a run: set its table, '
                      'such as --config.path')
    found = self._found(paths)
    facts = index.read(found, audio_files.header).facts
    lengths = np.where(facts[:, 0] < 0, 0, audio_files.resampled(
      np.maximum(facts[:, 0], 0), np.maximum(facts[:, 1], 1), self.rate))
    most = _SECONDS * self.rate
    long = {int(row): f'is {lengths[row] / self.rate:,.0f} s long, must be at most '
            f'{_SECONDS} s: cut it at pauses' for row in np.flatnonzero(lengths > most)}
    kept = lengths[lengths <= most]
    reading = self.reading(max(1, int(kept.max(initial=1))))
    for line in reading.lines(facts[facts[:, 0] >= 0]):
      self.say(line)

    def chunks(first: int) -> Iterator[Chunk]:
      for start in range(first, len(found), _FILES):
        part = found[start : start + _FILES]
        inputs, reasons, notes = decoding.examples(
          reading, part, np.zeros((len(part), 2), np.uint64), threads=True)
        for line in decoding.counted(notes, part, 'sound'):
          self.say(line)
        faults = {i: f'cannot be decoded: {why}' for i, why in enumerate(reasons)
                  if why is not None}
        faults |= {row - start: why for row, why in long.items()
                   if start <= row < start + len(part)}
        sizes = np.minimum(lengths[start : start + len(part)], inputs.shape[1])
        yield Chunk({'inputs': inputs, 'lengths': sizes.astype(np.int32)},
                    [*map(readable, part)], (start + len(part)) / len(found), 'file',
                    faults=faults)

    return Examples(chunks, found, len(found))

  def _found(self, paths: Sequence[pathlib.Path]) -> list[str]:
    """The files."""
    tables = [path for path in paths if path.suffix.lower() == '.csv']
    if tables and len(paths) > 1:
      raise UserError(f'{tables[0]}: a CSV file must be the only input')
    if tables:
      found = labels.of_csv(
        tables[0], 'sound', folder=tables[0].parent, file=self.file_column, label=None,
        split='', numbers=False)
      return found.paths
    found = listing.find([*map(str, paths)], audio_files.SUFFIXES, what='sound')
    for line in found.lines:
      self.say(line)
    if not found.files:
      raise UserError(f'{listed(map(str, paths))}: there is no sound')
    return [file.path for file in found.files]
