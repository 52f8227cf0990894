"""Sound files: decoded, resampled, and brought to one length."""

import dataclasses
import io
import pathlib
from typing import Literal, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError

SUFFIXES = frozenset(('.wav', '.flac', '.ogg', '.oga', '.opus', '.mp3', '.aif', '.aiff',
                     '.aifc', '.au', '.snd', '.caf', '.w64'))
_FASTEST = 10**6  # samples per second
_PLAUSIBLE = 10_000  # samples of a byte; silence in FLAC has a few hundred


class Header(NamedTuple):
  """What the beginning of a file says of a sound.

  Attributes:
    frames: number of samples of each channel.
    rate: samples per second.
    channels: number of channels.
  """

  frames: int
  rate: int
  channels: int


def _libraries():
  """The packages `soundfile` and `soxr`."""
  try:
    import soundfile
    import soxr
  except (ImportError, OSError) as error:  # OSError: without libsndfile
    raise UserError(f'sounds need the packages soundfile and soxr ({error}): '
                    'pip install -r requirements-audio.txt') from error
  return soundfile, soxr


def header(data: bytes) -> Header:
  """Returns the length, rate and channels of an encoded sound.

  Raises:
    ValueError: if it is not a sound, or has no samples.
    UserError: if a package is missing.
  """
  soundfile, _ = _libraries()
  try:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
      _check_frames(file.frames, data)
      found = Header(file.frames, file.samplerate, file.channels)
  except soundfile.SoundFileError as error:
    raise ValueError(_reason(error)) from None
  if found.frames < 1:
    raise ValueError('it has no samples')
  return found


def decode(file: bytes | str | pathlib.Path, rate: int | None = None
           ) -> tuple[np.ndarray, int, tuple[str, ...]]:
  """Returns a sound as float32 `[samples]` in [-1, 1], its rate, and notes.

  Channels are averaged; another rate is reached by soxr, in high quality.

  Args:
    file: a path, or the content of a file.
    rate: samples per second; None for those of the file.

  Raises:
    ValueError: if it cannot be decoded, is truncated, or is not finite.
    UserError: if a package is missing.
  """
  soundfile, soxr = _libraries()
  data = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
  _check_complete(data)
  try:
    with soundfile.SoundFile(io.BytesIO(data)) as opened:
      frames, own = opened.frames, opened.samplerate
      _check_frames(frames, data)
      samples = opened.read(dtype='float32', always_2d=True)
  except soundfile.SoundFileError as error:
    raise ValueError(_reason(error)) from None
  if len(samples) < frames:
    raise ValueError(f'truncated: has {len(samples):,} of {frames:,} samples')
  if not len(samples):
    raise ValueError('it has no samples')
  if not np.isfinite(samples).all():
    raise ValueError('has values that are not finite')
  samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(1)
  if rate is not None and rate != own:
    samples = soxr.resample(samples, own, rate)
  if len(samples) and np.abs(samples).max() > 1:
    return np.clip(samples, -1, 1), rate or own, ('clipped to [-1, 1]',)
  return samples, rate or own, ()


def _check_frames(frames: int, data: bytes) -> None:
  """Refuses a header that does not know the length, as that of FLAC from a pipe."""
  if frames > _PLAUSIBLE * len(data):
    raise ValueError(
      f'its header does not say how many samples it has: {frames:,} cannot be in '
      f'{len(data):,} bytes; write the file again, not to a pipe')


def _reason(error: Exception) -> str:
  """The message of the library, without the address of the data."""
  return getattr(error, 'error_string', None) or str(error)


def _check_complete(data: bytes) -> None:
  """Refuses a WAV file that ends before its samples do, which libsndfile reads."""
  if data[:4] != b'RIFF' or data[8:12] != b'WAVE':
    return
  at = 12
  while at + 8 <= len(data):
    size = int.from_bytes(data[at + 4 : at + 8], 'little')
    if data[at : at + 4] == b'data':
      held = len(data) - at - 8
      if held < size < 0xffffffff - 64:  # of a stream, whose size is not known
        raise ValueError(f'truncated: has {held:,} of {size:,} bytes')
      return
    at += 8 + size + size % 2


def check_rate(rate: int | None) -> None:
  """Refuses a rate that sounds cannot be resampled to.

  Raises:
    ValueError: for one.
  """
  if rate is not None and not 1 <= rate <= _FASTEST:
    raise ValueError(f'rate: must be 1 to {_FASTEST:,} samples per second, got {rate}')


def to_length(samples: np.ndarray, length: int,
              crop: Literal['start', 'center', 'random'] = 'start',
              rng: np.random.Generator | None = None) -> np.ndarray:
  """Returns a sound of a length: cut, or padded with zeros at its end.

  Args:
    samples: `[samples]`.
    length: number of samples of the result.
    crop: which part of a longer sound is kept.
    rng: for 'random'.

  Returns:
    float32 `[length]`.
  """
  spare = len(samples) - length
  if spare < 0:
    return np.pad(samples, (0, -spare))
  start = {'start': lambda: 0, 'center': lambda: spare // 2,
           'random': lambda: int(rng.integers(spare + 1))}[crop]()
  return samples[start : start + length]


def resampled(frames: np.ndarray, rates: np.ndarray, rate: int) -> np.ndarray:
  """Returns the lengths of sounds at another rate, int64 `[n]`.

  Args:
    frames: their lengths, int64 `[n]`.
    rates: their rates, int64 `[n]`.
    rate: the new rate.
  """
  return np.where(rates == rate, frames,
                  np.round(frames * (rate / rates)).astype(np.int64))


@dataclasses.dataclass(frozen=True)
class AudioReading:
  """How a sound file becomes an example; see `decoding.Reading`.

  Attributes:
    rate: samples per second.
    length: number of samples.
    crop: see `AudioFolder`; None refuses sounds of another length.
  """

  rate: int
  length: int
  crop: Literal['start', 'center', 'random'] | None

  kind = 'sound'
  dtype = 'float32'

  @property
  def shape(self) -> tuple[int, ...]:
    return (self.length,)

  @property
  def fixed(self) -> bool:
    return self.crop != 'random'

  @property
  def rules(self) -> str:
    return f'sounds {self.rate} Hz {self.length} {self.crop}, mono, soxr HQ'

  def __call__(self, data: bytes, seed: np.ndarray
               ) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns float32 `[length]` and notes; see `decoding.Reading`.

    Raises:
      ValueError: if the sound has another length or rate than all others.
    """
    samples, _, notes = decode(data, self.rate)
    if self.crop is None:
      if len(samples) != self.length:
        raise ValueError(f'{len(samples):,} samples, must be {self.length:,}')
      return samples, notes
    rng = np.random.Generator(np.random.Philox(key=seed))
    return to_length(samples, self.length, self.crop, rng), notes

  def lines(self, facts: np.ndarray) -> list[str]:
    """Returns lines on rates, channels and lengths; see `decoding.Reading`.

    Args:
      facts: `Header`s, int64 `[n, 3]`.
    """
    frames, rates, channels = facts.T
    lines, count = [], f'of {len(facts):,} sounds'
    lengths = resampled(frames, rates, self.rate)
    part = {'start': 'the first', 'center': 'the middle', 'random': 'random'}
    cases = [(rates != self.rate, f'resampled to {self.rate:,} Hz'),
             (channels > 1, 'several channels, which are averaged')]
    if self.crop is not None:
      cases += [
        (lengths > self.length, f'longer than {self.length:,} samples, of which '
         f'{part[self.crop]} ones are kept (seconds= and crop= set this)'),
        (lengths < self.length, f'shorter than {self.length:,} samples, and padded '
         'with zeros (seconds= sets this)')]
    for which, what in cases:
      if found := np.count_nonzero(which):
        lines.append(f'{found:,} {count}: {what}')
    return lines


def common(facts: np.ndarray, names, column: int, what: str, setting: str) -> int:
  """Returns the rate, or the length, that all sounds have.

  Args:
    facts: `Header`s, int64 `[n, 3]`; -1 if damaged.
    names: names of the files.
    column: of the facts.
    what: such as 'sample rates', for the message.
    setting: such as 'rate=16_000', for the message.

  Raises:
    UserError: if they differ.
  """
  known = np.flatnonzero(facts[:, 0] >= 0)
  if not len(known):
    raise UserError('no sound can be read')
  values, firsts = np.unique(facts[known, column], return_index=True)
  if len(values) > 1:
    one, other = known[firsts[0]], known[firsts[-1]]
    raise UserError(f'sounds have {len(values):,} {what}, from {values[0]:,} '
                    f'({names[one]}) to {values[-1]:,} ({names[other]}): set {setting}')
  return int(values[0])
