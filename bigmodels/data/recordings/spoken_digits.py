"""Spoken digits of TFDS, each recording once."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.origins import Origin
from bigmodels.data.recordings.digit_strings import RATE, WORDS, single_digits
from bigmodels.data.recordings.recording import Recordings
from bigmodels.data.sources import Columns, DataContext
from bigmodels.data.tfds import builders


@dataclasses.dataclass(frozen=True)
class SpokenDigits:
  """The Free Spoken Digit Dataset (Jackson et al., 2016), of TFDS's `spoken_digit`.

  Single digits, 8,000 samples a second, 50 of each digit and speaker. `inputs` are
  int16. The splits are those of its authors: the first 5 of each digit and speaker are
  'test'. See `DigitStrings` for strings of them.

  Attributes:
    splits: split -> the recordings of each digit and speaker that it has, from the
      first number to that before the second.
    speakers: whose recordings; None for all.
  """

  splits: Mapping[str, tuple[int, int]] = dataclasses.field(
    default_factory=lambda: {'train': (5, 50), 'test': (0, 5)})
  speakers: tuple[str, ...] | None = None

  @property
  def name(self) -> str:
    return 'spoken_digit'

  def read(self, split: str, context: DataContext) -> Recordings:
    """Reads the recordings of a split.

    Raises:
      UserError: if the dataset is not prepared, or lacks the split or a speaker.
    """
    if split not in self.splits:
      raise UserError(f'{self.name}: no split {split!r}{nearest(split, self.splits)}')
    builder = builders.prepared(self.name, context)
    sounds, labels, speakers, numbers = single_digits(
      self.name, str(builders.root(context.data_dir)))
    for speaker in self.speakers or ():
      if speaker not in speakers:
        raise UserError(f'{self.name}: no recordings of the speaker {speaker!r}'
                        f'{nearest(speaker, {*speakers.tolist()})}')
    start, end = self.splits[split]
    chosen = (numbers >= start) & (numbers < end)
    if self.speakers is not None:
      chosen &= np.isin(speakers, self.speakers)
    rows = np.flatnonzero(chosen)
    if not len(rows):
      raise UserError(f'{self.name}: the split {split!r} has no recordings: they have '
                      f'numbers 0 to {numbers.max()}, asked for {start} to {end - 1}')
    lengths = np.array([len(sounds[row]) for row in rows])

    def read(index: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      del seeds
      found = np.zeros((len(index), lengths.max()), np.int16)
      for place, row in zip(found, rows[index], strict=True):
        place[: len(sounds[row])] = sounds[row]
      return {'inputs': found}

    words, who = [WORDS[labels[row]] for row in rows], speakers[rows].tolist()
    names = [f'{word} {number} of {speaker}' for word, number, speaker in zip(
      words, numbers[rows], who, strict=True)]
    return Recordings(
      names, words, lengths, RATE, (int(lengths.max()),), 'int16', read,
      f'{builder.info.full_name} {split}: {len(rows):,} digits, '
      f'{digests.of_json(names)}', names.__getitem__, names.__getitem__, who,
      origin=Origin({f'{builder.info.full_name} train': rows}))
