"""Sounds, for pages and files, and pictures of them."""

import io
import wave
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_RANGE = 80  # decibels of a spectrogram


class Sound(NamedTuple):
  """A sound, which a cell of a `Table` may be.

  Attributes:
    samples: `[samples]`, in [-1, 1].
    rate: samples per second.
    note: for people, such as that it was cut; may be empty.
  """

  samples: np.ndarray
  rate: int
  note: str = ''

  @property
  def seconds(self) -> float:
    """Its length."""
    return len(self.samples) / self.rate

  def wav(self) -> bytes:
    """Returns the content of a WAV file of 16 bits.

    A sound that exceeds [-1, 1] is made quieter, not clipped.

    Raises:
      ValueError: for samples that are not finite.
    """
    samples = np.asarray(self.samples, np.float64)
    if not np.isfinite(samples).all():
      raise ValueError('a sound must have finite samples')
    samples = samples / max(1.0, np.abs(samples).max(initial=0))
    data = np.round(samples * (2**15 - 1)).astype('<i2')
    file = io.BytesIO()
    with wave.open(file, 'wb') as opened:
      opened.setnchannels(1)
      opened.setsampwidth(2)
      opened.setframerate(self.rate)
      opened.writeframes(data.tobytes())
    return file.getvalue()


def spectrograms(sounds: dict[str, Sound], *, width: float = style.FULL) -> 'Figure':
  """Draws spectrograms, one below the other, on the same axes of time.

  Args:
    sounds: name -> sound.
    width: width of the figure in inches.
  """
  figure = style.figure(width, 0.5 + 1.2 * len(sounds))
  every = np.atleast_1d(figure.subplots(len(sounds), sharex=True, squeeze=True))
  for axes, (name, sound) in zip(every, sounds.items(), strict=True):
    window = max(16, int(0.02 * sound.rate))
    samples = np.pad(np.asarray(sound.samples, np.float64), (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::window // 4]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    decibels = 10 * np.log10(np.maximum(power.T, 1e-12))
    top = decibels.max()
    style.styled(axes).imshow(
      decibels, origin='lower', aspect='auto', cmap='magma', vmin=top - _RANGE,
      vmax=top, interpolation='nearest',
      extent=(0, len(frames) * (window // 4) / sound.rate, 0, sound.rate / 2000))
    axes.set_ylabel('kHz')
    style.subtitle(axes, name)
  every[-1].set_xlabel('seconds')
  return figure
