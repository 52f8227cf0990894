"""Mel spectrograms and cepstra of sounds, as pure functions.

A frame is windowed (Hann, periodic), its power spectrum is summed by triangular filters
that are equally wide on the mel scale (Stevens, Volkmann and Newman, 1937), and the
logarithm is taken. Davis and Mermelstein, *Comparison of parametric representations for
monosyllabic word recognition*, 1980, for the cepstra.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mel:
  """The settings of a mel spectrogram; all that is needed to invert it.

  The defaults are those of Conformer and of Kaldi's filters: 25 ms every 10 ms.

  Attributes:
    rate: samples per second.
    window: samples of a frame.
    hop: samples from one frame to the next.
    fft: length of the Fourier transform, at least the window; None is the power of two
      from the window on.
    bins: number of filters.
    low, high: lowest and highest frequency in Hz; None is half the rate.
    scale: 'htk', 2595 log10(1 + f / 700), or 'slaney', linear below 1 kHz.
    norm: 'slaney' divides each filter by half its width in Hz; None leaves a peak of 1.
    power: exponent of the magnitudes: 2 for energy, 1 for magnitude.
    floor: smaller values are raised to it before the logarithm.
    preemphasis: fraction of the previous sample that is subtracted from each.
    center: whether frame i is centred at sample `i * hop`, with zeros before and after
      the sound; otherwise it begins there, and a frame that would exceed the sound is
      left out.
  """

  rate: int = 16_000
  window: int = 400
  hop: int = 160
  fft: int | None = None
  bins: int = 80
  low: float = 0.0
  high: float | None = None
  scale: Literal['htk', 'slaney'] = 'htk'
  norm: Literal['slaney'] | None = None
  power: float = 2.0
  floor: float = 1e-10
  preemphasis: float = 0.0
  center: bool = True

  def __post_init__(self):
    for name in ('rate', 'window', 'hop', 'bins'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}: must be >= 1, got {getattr(self, name)}')
    if self.fft is not None and self.fft < self.window:
      raise ValueError(f'fft: must be >= {self.window}, the window, got {self.fft}')
    if not 0 <= self.low < self.highest <= self.rate / 2:
      raise ValueError('low, high: must be 0 <= low < high <= half the rate, '
                       f'{self.rate / 2:g}; got {self.low:g} and {self.highest:g}')
    if self.scale not in ('htk', 'slaney'):
      raise ValueError(f"scale: must be 'htk' or 'slaney', got {self.scale!r}")
    if self.norm not in (None, 'slaney'):
      raise ValueError(f"norm: must be 'slaney' or None, got {self.norm!r}")
    for name in ('power', 'floor'):
      if not getattr(self, name) > 0:
        raise ValueError(f'{name}: must be > 0, got {getattr(self, name)}')

  @property
  def size(self) -> int:
    """Length of the Fourier transform."""
    return self.fft or 2 ** math.ceil(math.log2(self.window))

  @property
  def highest(self) -> float:
    """The highest frequency, in Hz."""
    return self.rate / 2 if self.high is None else self.high

  def frames(self, samples):
    """Returns the number of frames of sounds of any shape, by their samples."""
    if self.center:
      return 1 + samples // self.hop
    return jnp.maximum(1 + (samples - self.window) // self.hop, 0)


def stft(samples: jax.Array, mel: Mel) -> jax.Array:
  """The short-time Fourier transform.

  Args:
    samples: float `[batch, samples]`.
    mel: the settings of frames.

  Returns:
    complex64 `[batch, frames, 1 + size // 2]`. Phases are relative to the first sample
    of a frame.

  Raises:
    ValueError: for sounds that are shorter than a frame, without `center`.
  """
  if mel.preemphasis:
    before = jnp.pad(samples, ((0, 0), (1, 0)))[:, :-1]
    samples = samples - mel.preemphasis * before
  if mel.center:
    samples = jnp.pad(samples, ((0, 0), (mel.window // 2, mel.window)))
    count = 1 + (samples.shape[1] - mel.window // 2 - mel.window) // mel.hop
  else:
    count = 1 + (samples.shape[1] - mel.window) // mel.hop
  if count < 1:
    raise ValueError(f'sounds of {samples.shape[1]:,} samples are shorter than a frame '
                     f'of {mel.window:,}')
  index = np.arange(count)[:, None] * mel.hop + np.arange(mel.window)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(mel.window) / mel.window)
  return jnp.fft.rfft(samples[:, index] * hann.astype(np.float32), mel.size)


def filters(mel: Mel) -> np.ndarray:
  """The triangular filters, float32 `[1 + size // 2, bins]`."""
  edges = _to_hz(np.linspace(_to_mel(mel.low, mel.scale), _to_mel(
    mel.highest, mel.scale), mel.bins + 2), mel.scale)
  frequencies = np.linspace(0, mel.rate / 2, 1 + mel.size // 2)[:, None]
  rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
  found = np.maximum(0, np.minimum(rising, falling))
  if mel.norm == 'slaney':
    found = found * 2 / (edges[2:] - edges[:-2])
  return found.astype(np.float32)


def log_mel(samples: jax.Array, mel: Mel) -> jax.Array:
  """The logarithm of the mel spectrogram.

  Args:
    samples: float `[batch, samples]` in [-1, 1].
    mel: its settings.

  Returns:
    float32 `[batch, frames, bins]`, at least `log(floor)`.
  """
  found = stft(samples, mel)
  energy = jnp.square(found.real) + jnp.square(found.imag)
  if mel.power != 2:  # the gradient of a root is infinite at 0
    energy = jnp.maximum(energy, 1e-30) ** (mel.power / 2)
  return jnp.log(jnp.maximum(energy @ filters(mel), mel.floor))


def cepstra(spectrogram: jax.Array, count: int) -> jax.Array:
  """Cepstra: the orthonormal DCT (II) of each frame.

  Args:
    spectrogram: logarithms, `[..., bins]`.
    count: number of coefficients to keep, the first of them the mean.

  Returns:
    `[..., count]`.

  Raises:
    ValueError: for more coefficients than bins.
  """
  bins = spectrogram.shape[-1]
  if not 1 <= count <= bins:
    raise ValueError(f'count: must be 1 to {bins}, the bins, got {count}')
  angles = np.pi / bins * (np.arange(bins) + 0.5)[:, None] * np.arange(count)
  basis = np.sqrt(2 / bins) * np.cos(angles)
  basis[:, 0] /= np.sqrt(2)
  return spectrogram @ basis.astype(np.float32)


def deltas(frames: jax.Array, lengths: jax.Array, reach: int = 2) -> jax.Array:
  """The slopes of features over time, by least squares.

  Beyond either end of a sequence its first or last frame is repeated (Young et al.,
  *The HTK book*, section 5.9).

  Args:
    frames: `[batch, length, features]`.
    lengths: int `[batch]`, the frames that are not padding.
    reach: number of frames on either side.

  Returns:
    `[batch, length, features]`.
  """
  last = jnp.maximum(lengths - 1, 0)[:, None]
  at, total = jnp.arange(frames.shape[1])[None], 0.0
  for step in range(1, reach + 1):
    after, before = (jnp.take_along_axis(
      frames, jnp.clip(at + move, 0, last)[..., None], 1) for move in (step, -step))
    total = total + step * (after - before)
  return total / (2 * sum(step**2 for step in range(1, reach + 1)))


def _to_mel(hertz, scale):
  hertz = np.asarray(hertz, np.float64)
  if scale == 'htk':
    return 2595 * np.log10(1 + hertz / 700)
  # Slaney's Auditory Toolbox, 1998: a step of 200 / 3 Hz, then 27 steps per log(6.4).
  above = 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4)
  return np.where(hertz < 1000, hertz * 3 / 200, above)


def _to_hz(mels, scale):
  if scale == 'htk':
    return 700 * (10 ** (mels / 2595) - 1)
  return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(
    np.log(6.4) / 27 * (mels - 15)))
