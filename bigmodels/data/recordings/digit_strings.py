"""Spoken digits of TFDS, joined to strings of digits."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.origins import Origin
from bigmodels.data.readers.reader import Reader
from bigmodels.data.recordings.recording import Recordings
from bigmodels.data.sources import Columns, DataContext
from bigmodels.data.tfds import builders

WORDS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
RATE = 8000
_LOUDEST = 2**15  # of 16 bits


@dataclasses.dataclass(frozen=True)
class DigitStrings:
  """Strings of spoken digits: recordings of one speaker, one after another.

  Of TFDS's `spoken_digit`, the Free Spoken Digit Dataset (Jackson et al., 2016): single
  digits, 8,000 samples a second, 50 of each digit and speaker. `inputs` are int16. A
  string and the silence between its digits are functions of its split and row.

  Attributes:
    speakers: split -> its speakers.
    counts: split -> number of strings.
    digits: smallest and largest number of digits of a string.
    pause: longest silence between two digits, in seconds.
    held_out: split -> the recordings of each digit and speaker that it has, from
      `start` to `end`; other splits have all of their speakers.
  """

  speakers: Mapping[str, tuple[str, ...]]
  counts: Mapping[str, int]
  digits: tuple[int, int] = (3, 7)
  pause: float = 0.2
  held_out: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if not 1 <= self.digits[0] <= self.digits[1]:
      raise ValueError('digits: must be (smallest, largest), from 1, got '
                       f'{self.digits}')
    if {*self.speakers} != {*self.counts}:
      raise ValueError(f'counts: must be of the splits of speakers, '
                       f'{", ".join(self.speakers)}; got {", ".join(self.counts)}')
    for split, count in self.counts.items():
      if count < 1:
        raise ValueError(f'counts: {split!r} must be >= 1, got {count}')
    if not self.pause >= 0:
      raise ValueError(f'pause: must be >= 0, got {self.pause}')

  @property
  def name(self) -> str:
    return 'spoken_digit'

  def read(self, split: str, context: DataContext) -> Recordings:
    """Reads the digits of the speakers of a split, and draws strings.

    Raises:
      UserError: if the dataset is not prepared, or lacks the split or a speaker.
    """
    if split not in self.speakers:
      raise UserError(f'{self.name}: no split {split!r}{nearest(split, self.speakers)}')
    builder = builders.prepared(self.name, context)
    sounds, labels, speakers, numbers = single_digits(
      self.name, str(builders.root(context.data_dir)))
    start, end = self.held_out.get(split, (0, np.inf))
    chosen = (numbers >= start) & (numbers < end)
    of = {}
    for speaker in self.speakers[split]:
      of[speaker] = np.flatnonzero(chosen & (speakers == speaker))
      if not len(of[speaker]):
        raise UserError(f'{self.name}: no recordings of the speaker {speaker!r}'
                        f'{nearest(speaker, {*speakers})}')
    # The seed is the name of the split: an evaluation is the same in every run.
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(
      split.encode()[:8], 'little')))
    strings, pauses, who = [], [], []
    for row in range(self.counts[split]):
      who.append(self.speakers[split][row % len(self.speakers[split])])
      count = int(rng.integers(self.digits[0], self.digits[1] + 1))
      strings.append(of[who[-1]][rng.integers(0, len(of[who[-1]]), count)])
      pauses.append(rng.integers(0, int(self.pause * RATE) + 1, count))
    lengths = np.array([sum(len(sounds[i]) for i in string) + int(pause.sum())
                        for string, pause in zip(strings, pauses, strict=True)])
    longest = int(lengths.max())
    texts = [' '.join(WORDS[labels[i]] for i in string) for string in strings]

    def read(rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      del seeds
      found = np.zeros((len(rows), longest), np.int16)
      for place, row in zip(found, rows, strict=True):
        at = 0
        for which, pause in zip(strings[row], pauses[row], strict=True):
          sound = sounds[which]
          place[at : at + len(sound)] = sound
          at += len(sound) + int(pause)
      return {'inputs': found}

    names = [f'{split} {row}' for row in range(len(strings))]
    digest = digests.of_json([[s.tolist() for s in strings],
                              [p.tolist() for p in pauses]])
    used = np.unique(np.concatenate(strings))
    return Recordings(
      names, texts, lengths, RATE, (longest,), 'int16', read,
      f'{builder.info.full_name} {split}: {len(names):,} strings of digits, {digest}',
      lambda row: names[row], lambda row: names[row], who,
      [f'{len(names):,} strings of {self.digits[0]} to {self.digits[1]} digits of '
       f'{len(used):,} recordings of {", ".join(self.speakers[split])}'],
      Origin({f'{builder.info.full_name} train': used}))

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new sounds; see `readers`."""
    from bigmodels.data.readers.sounds import SoundReader
    from bigmodels.data.recordings.sound_tables import SpeechReading

    return SoundReader(lambda length: SpeechReading(RATE, length, 'start'), RATE,
                       say=context.say)


@functools.lru_cache(maxsize=1)
def single_digits(name: str, data_dir: str) -> tuple[
    list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
  """Returns all recordings of single digits.

  Args:
    name: name of the dataset in TFDS.
    data_dir: folder of datasets.

  Returns:
    Sounds int16 `[samples]`, digits `[n]`, speakers `[n]`, and `[n]` numbers of each
    digit and speaker.
  """
  with builders.quiet():
    source = builders.from_files(name, data_dir).as_data_source(split='train')
  sounds, labels, speakers, numbers = [], [], [], []
  for example in (source[index] for index in range(len(source))):
    _, speaker, number = example['audio/filename'].decode().removesuffix(
      '.wav').split('_')
    sounds.append(np.clip(example['audio'], -_LOUDEST, _LOUDEST - 1).astype(np.int16))
    labels.append(int(example['label']))
    speakers.append(speaker)
    numbers.append(int(number))
  return sounds, np.array(labels), np.array(speakers), np.array(numbers)
