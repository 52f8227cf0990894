"""From spectrograms back to sounds, as pure functions: the inverse of `spectra`."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bigmodels.layers import spectra
from bigmodels.layers.spectra import Mel

_NEAREST = 50  # updates of the magnitudes


def istft(spectrum: jax.Array, mel: Mel) -> jax.Array:
  """The sound whose short-time Fourier transform is nearest, by least squares.

  It inverts `spectra.stft` of a sound of `(frames - 1) * hop` samples, with `center`,
  or of all samples of its frames, without it. Griffin and Lim, *Signal estimation from
  modified short-time Fourier transform*, 1984, equation 6.

  Args:
    spectrum: complex `[batch, frames, 1 + size // 2]`.
    mel: the settings of frames.

  Returns:
    float32 `[batch, samples]`.
  """
  frames, window = spectrum.shape[1], mel.window
  parts = jnp.fft.irfft(spectrum, mel.size)[..., :window]
  hann = np.float32(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))
  total = _overlapped(parts * hann, mel.hop)
  weight = _overlapped(np.broadcast_to(hann**2, (1, frames, window)), mel.hop)
  sound = total / jnp.where(weight > 1e-6, weight, 1.0)
  if not mel.center:
    return sound
  start = window // 2
  return sound[:, start : start + (frames - 1) * mel.hop]


def griffin_lim(magnitudes: jax.Array, mel: Mel, key: jax.Array, *,
                iterations: int = 60, momentum: float = 0.99) -> jax.Array:
  """A sound with the magnitudes of a spectrum, whose phases are not known.

  Perraudin, Balazs and Sondergaard, *A fast Griffin-Lim algorithm*, 2013; without
  momentum, Griffin and Lim's of 1984. It begins with random phases.

  Args:
    magnitudes: `[batch, frames, 1 + size // 2]`.
    mel: the settings of frames.
    key: PRNG key.
    iterations: number of iterations.
    momentum: how far a step goes beyond its result.

  Returns:
    float32 `[batch, samples]`; see `istft`.

  Raises:
    ValueError: for settings with preemphasis, which is not inverted.
  """
  if mel.preemphasis:
    raise ValueError(f'preemphasis: must be 0 for Griffin-Lim, got {mel.preemphasis}')
  frames = magnitudes.shape[1]

  def consistent(spectrum):
    return spectra.stft(istft(spectrum, mel), mel)[:, :frames]

  def with_magnitudes(spectrum):
    return magnitudes * (spectrum / jnp.maximum(jnp.abs(spectrum), 1e-12))

  def step(carried, _):
    spectrum, last = carried
    found = consistent(with_magnitudes(spectrum))
    return (found + momentum * (found - last), found), None

  phases = jax.random.uniform(key, magnitudes.shape, maxval=2 * np.pi)
  first = jnp.exp(1j * phases).astype(jnp.complex64)
  (spectrum, _), _ = lax.scan(
    step, (first, consistent(with_magnitudes(first))), None, length=iterations)
  return istft(with_magnitudes(spectrum), mel)


def spectral_convergence(samples: jax.Array, magnitudes: jax.Array, mel: Mel
                         ) -> jax.Array:
  """How far the magnitudes of a sound are from given ones, relative to these.

  Args:
    samples: `[batch, samples]`.
    magnitudes: `[batch, frames, 1 + size // 2]`.
    mel: the settings of frames.

  Returns:
    `[batch]`; 0 if they are equal.
  """
  found = jnp.abs(spectra.stft(samples, mel))[:, : magnitudes.shape[1]]
  return jnp.sqrt(jnp.sum((found - magnitudes) ** 2, (1, 2)) / jnp.maximum(
    jnp.sum(magnitudes**2, (1, 2)), 1e-30))


def magnitudes_of(log_mel: jax.Array, mel: Mel) -> jax.Array:
  """Magnitudes whose mel spectrogram is nearest to a given one.

  They are nonnegative, by multiplicative updates (Lee and Seung, *Algorithms for
  non-negative matrix factorization*, 2001).

  Args:
    log_mel: `[batch, frames, bins]`; see `spectra.log_mel`.
    mel: its settings.

  Returns:
    `[batch, frames, 1 + size // 2]`.
  """
  filters = spectra.filters(mel)
  target = jnp.exp(log_mel)
  numerator = target @ filters.T

  def update(powers, _):
    found = (powers @ filters) @ filters.T
    return powers * numerator / jnp.maximum(found, 1e-20), None

  inverse = np.linalg.pinv(filters)
  first = jnp.maximum(target @ inverse, 1e-3 * numerator)
  return lax.scan(update, first, None, length=_NEAREST)[0] ** (1 / mel.power)


def sound_of(log_mel: jax.Array, mel: Mel, key: jax.Array, *, iterations: int = 60
             ) -> jax.Array:
  """A sound with a mel spectrogram.

  Args:
    log_mel: `[batch, frames, bins]`; see `spectra.log_mel`.
    mel: its settings.
    key: PRNG key.
    iterations: see `griffin_lim`.

  Returns:
    float32 `[batch, samples]`; see `istft`.

  Raises:
    ValueError: see `griffin_lim`.
  """
  return griffin_lim(magnitudes_of(log_mel, mel), mel, key, iterations=iterations)


def _overlapped(parts: jax.Array, hop: int) -> jax.Array:
  """The sum of overlapping parts, `[batch, frames, window]` -> `[batch, samples]`."""
  batch, frames, window = parts.shape
  count = -(-window // hop)
  parts = jnp.pad(parts, ((0, 0), (0, 0), (0, count * hop - window)))
  parts = parts.reshape(batch, frames, count, hop)
  total = sum(jnp.pad(parts[:, :, i], ((0, 0), (i, count - 1 - i), (0, 0)))
              for i in range(count))
  return total.reshape(batch, -1)[:, : (frames - 1) * hop + window]
