"""A folder of sounds, or a CSV file of sounds and labels, as a source."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from bigmodels.core.errors import nearest
from bigmodels.data.folders import audio_files
from bigmodels.data.folders.files_source import FilesSource
from bigmodels.data.sources import DataContext

_CROPS = ('start', 'center', 'random')


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioFolder(FilesSource):
  """Sound files: `inputs` float32 `[length, samples]` in [-1, 1], one channel.

    AudioFolder('words', rate=16_000, seconds=1)    # words/yes/1.wav, words/no/...

  WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and AU are read, by the packages of
  requirements-audio.txt. A file that cannot be decoded is masked, see
  `Batches.corrupt`. See `FilesSource` for the other fields.

  Attributes:
    rate: samples per second, to which other rates are resampled; None for the rate that
      all files have.
    seconds: length; longer sounds are cut, shorter ones padded with zeros at their end.
      None for the length that all files have.
    crop: the part of a longer sound that is kept: 'start', 'center', or 'random', which
      differs from epoch to epoch; such a split is streamed.
  """

  rate: int | None = None
  seconds: float | None = None
  crop: Literal['start', 'center', 'random'] = 'start'

  kind = 'sound'
  suffixes = audio_files.SUFFIXES

  def __post_init__(self):
    super().__post_init__()
    audio_files.check_rate(self.rate)
    if self.seconds is not None and not 0 < self.seconds < float('inf'):
      raise ValueError(f'seconds: must be above 0, got {self.seconds}')
    if self.crop not in _CROPS:
      raise ValueError(f'crop: no part {self.crop!r}{nearest(str(self.crop), _CROPS)}')
    if self.crop != 'start' and self.seconds is None:
      raise ValueError(f'crop: {self.crop!r} needs seconds=, the length to cut to')

  def header(self, data: bytes) -> tuple[int, int, int]:
    """See `FilesSource.header`."""
    return audio_files.header(data)

  def reading(self, facts: Callable[[], np.ndarray], names: Sequence[str],
              context: DataContext) -> audio_files.AudioReading:
    """See `FilesSource.reading`."""
    rate = self.rate or context.keep('sample rate', lambda: audio_files.common(
      facts(), names, 1, 'sample rates', 'rate=, such as rate=16_000'))
    if self.seconds is not None:
      length = max(1, round(self.seconds * rate))
      return audio_files.AudioReading(rate, length, self.crop)
    length = context.keep('samples', lambda: self._common(facts(), names, rate))
    return audio_files.AudioReading(rate, length, None)

  def _common(self, facts: np.ndarray, names: Sequence[str], rate: int) -> int:
    """The length that all sounds have at a rate."""
    frames, rates, channels = facts.T
    frames = np.where(frames < 0, -1, audio_files.resampled(frames, rates, rate))
    return audio_files.common(np.stack([frames, rates, channels], 1), names, 0,
                              'lengths', 'seconds=, such as seconds=1')
