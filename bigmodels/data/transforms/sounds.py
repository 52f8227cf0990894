"""Transforms of sounds and of sequences of features, of different lengths.

`batch['inputs']` is `[batch, length, ...]`: the samples of sounds, or frames. The
column `lengths`, int `[batch]`, says how many of them are real; the rest is padding,
which no transform reads. Without it nothing is padding. Sounds of integers are scaled
to [-1, 1].
"""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import Batch, check_range, inputs_of
from bigmodels.layers import spectra
from bigmodels.layers.masks import zero_padding
from bigmodels.layers.spectra import Mel

# --- sounds -----------------------------------------------------------------------


def speed(batch: Batch, key: jax.Array, *, low: float = 0.9, high: float = 1.1,
          grow: bool = True) -> Batch:
  """Plays each example at a random speed, which changes pitch and duration.

  Ko et al., *Audio augmentation for speech recognition*, 2015. Values between two steps
  are interpolated linearly.

  Args:
    batch: inputs `[batch, length, ...]`.
    key: PRNG key.
    low, high: limits of the factor, which is uniform.
    grow: whether the length of the batch grows by `1 / low`; otherwise the ends of
      examples that become too long are lost.

  Raises:
    ValueError: for other factors.
  """
  inputs, lengths = _sequences(batch, 'speed')
  if not 0.25 <= low <= high <= 4:
    raise ValueError('speed: low and high must be in order, 0.25 to 4, got '
                     f'{low} and {high}')
  factors = jax.random.uniform(key, (len(inputs),), minval=low, maxval=high)
  size = int(inputs.shape[1] / min(low, 1)) if grow else inputs.shape[1]
  new = jnp.minimum((lengths / factors).astype(jnp.int32), size)
  new = jnp.where(lengths > 0, jnp.maximum(new, 1), 0)
  last = jnp.maximum(lengths - 1, 0)[:, None]
  at = jnp.minimum(jnp.arange(size) * factors[:, None], last)
  before = at.astype(jnp.int32)
  first, second = (_taken(inputs, jnp.minimum(i, last)) for i in (before, before + 1))
  part = (at - before).reshape(*at.shape, *[1] * (inputs.ndim - 2))
  return {**batch, 'lengths': new,
          'inputs': zero_padding(first + part * (second - first), new)}


def delay(batch: Batch, key: jax.Array, *, steps: int) -> Batch:
  """Shifts each example in time; what leaves at one end is lost, zeros enter.

  Args:
    batch: inputs `[batch, length, ...]`.
    key: PRNG key.
    steps: maximum shift in samples or frames, in either direction.

  Raises:
    ValueError: for a negative number.
  """
  inputs, lengths = _sequences(batch, 'delay')
  check_range('delay', 0, steps=steps)
  shift = jax.random.randint(key, (len(inputs), 1), -int(steps), int(steps) + 1)
  at = jnp.arange(inputs.shape[1]) - shift
  inside = (at >= 0) & (at < lengths[:, None])
  moved = _taken(inputs, jnp.clip(at, 0, inputs.shape[1] - 1))
  inside = inside.reshape(*inside.shape, *[1] * (inputs.ndim - 2))
  return {**batch, 'inputs': zero_padding(jnp.where(inside, moved, 0), lengths)}


def tilt(batch: Batch, key: jax.Array, *, low: float = -0.5, high: float = 0.8
         ) -> Batch:
  """Adds to each sample a random multiple of the one before, as another microphone.

  A factor above 0 makes low frequencies louder than high ones, by `(1 + factor) / (1 -
  factor)` at the ends; one below 0 the reverse.

  Args:
    batch: inputs `[batch, length, ...]`.
    key: PRNG key.
    low, high: limits of the factor, which is uniform.

  Raises:
    ValueError: for factors that are not in order, or not between -1 and 1.
  """
  inputs, lengths = _sequences(batch, 'tilt')
  if not -1 < low <= high < 1:
    raise ValueError('tilt: low and high must be in order, between -1 and 1, got '
                     f'{low} and {high}')
  factors = jax.random.uniform(key, (len(inputs),), minval=low, maxval=high)
  inputs = zero_padding(inputs, lengths)
  before = jnp.roll(inputs, 1, 1).at[:, 0].set(0)
  factors = factors.reshape(-1, *[1] * (inputs.ndim - 1))
  return {**batch, 'inputs': zero_padding(inputs + factors * before, lengths)}


def background(batch: Batch, key: jax.Array, *, decibels: tuple[float, float] = (10, 50)
               ) -> Batch:
  """Adds white noise at a random ratio of the energies of signal and noise.

  Args:
    batch: inputs `[batch, length, ...]`.
    key: PRNG key.
    decibels: smallest and largest ratio, which is uniform in decibels.

  Raises:
    ValueError: unless the two are in order.
  """
  inputs, lengths = _sequences(batch, 'background')
  low, high = decibels
  if not -100 <= low <= high <= 200:
    raise ValueError('background: decibels must be (low, high) in order, -100 to 200, '
                     f'got {decibels}')
  level_key, noise_key = (jax.random.fold_in(key, index) for index in range(2))
  level = jax.random.uniform(level_key, (len(inputs),), minval=low, maxval=high)
  axes = tuple(range(1, inputs.ndim))
  inputs = zero_padding(inputs, lengths)
  count = jnp.maximum(lengths, 1) * (inputs[0, 0].size)
  rms = jnp.sqrt(jnp.sum(jnp.square(inputs), axes) / count)
  size = (rms * 10 ** (-level / 20)).reshape(-1, *[1] * len(axes))
  noise = size * jax.random.normal(noise_key, inputs.shape)
  return {**batch, 'inputs': inputs + zero_padding(noise, lengths)}


# --- features ---------------------------------------------------------------------


def log_mel(batch: Batch, key: jax.Array, *, mel: Mel) -> Batch:
  """Turns sounds into logarithms of mel spectrograms; see `spectra.log_mel`.

  Args:
    batch: inputs `[batch, samples]`, which become float32 `[batch, frames, bins]`;
      lengths become numbers of frames.
    key: not used.
    mel: the settings, whose rate must be that of the sounds.

  Raises:
    ValueError: if the inputs are not sounds.
  """
  del key
  inputs, lengths = _sequences(batch, 'log_mel')
  if inputs.ndim != 2:
    raise ValueError('log_mel: inputs must be sounds [batch, samples], got '
                     f'{inputs.shape}')
  frames = jnp.where(lengths > 0, mel.frames(lengths), 0)
  found = spectra.log_mel(zero_padding(inputs, lengths), mel)
  return {**batch, 'lengths': frames, 'inputs': zero_padding(found, frames)}


def mfcc(batch: Batch, key: jax.Array, *, mel: Mel, count: int = 13) -> Batch:
  """Turns sounds into mel-frequency cepstra.

  Args:
    batch: inputs `[batch, samples]`, which become float32 `[batch, frames, count]`;
      lengths become numbers of frames.
    key: not used.
    mel: see `log_mel`.
    count: number of coefficients, the first of them the mean of the spectrogram.

  Raises:
    ValueError: see `log_mel`; and for more coefficients than bins.
  """
  batch = log_mel(batch, key, mel=mel)
  found = spectra.cepstra(batch['inputs'], count)
  return {**batch, 'inputs': zero_padding(found, batch['lengths'])}


def with_deltas(batch: Batch, key: jax.Array, *, order: int = 2, reach: int = 2
                ) -> Batch:
  """Appends the slopes of features over time, and the slopes of these.

  Args:
    batch: inputs `[batch, length, features]`, which become `[batch, length, (1 + order)
      * features]`.
    key: not used.
    order: 1 for slopes, 2 for accelerations too.
    reach: see `spectra.deltas`.

  Raises:
    ValueError: for inputs of another rank.
  """
  del key
  inputs, lengths = _frames(batch, 'with_deltas')
  parts = [inputs]
  for _ in range(order):
    parts.append(spectra.deltas(parts[-1], lengths, reach))
  return {**batch, 'inputs': zero_padding(jnp.concatenate(parts, -1), lengths)}


def normalize_frames(batch: Batch, key: jax.Array, *, std: bool = True) -> Batch:
  """Subtracts the mean of each feature over the frames of its example.

  This removes the colour of a microphone and a voice (Atal, *Effectiveness of linear
  prediction characteristics*, 1974).

  Args:
    batch: inputs `[batch, length, features]`.
    key: not used.
    std: whether to divide by the standard deviation, too.

  Raises:
    ValueError: for inputs of another rank.
  """
  del key
  inputs, lengths = _frames(batch, 'normalize_frames')
  count = jnp.maximum(lengths, 1)[:, None, None]
  mean = zero_padding(inputs, lengths).sum(1, keepdims=True) / count
  centred = zero_padding(inputs - mean, lengths)
  if std:
    variance = jnp.square(centred).sum(1, keepdims=True) / count
    centred = centred * jax.lax.rsqrt(variance + 1e-5)
  return {**batch, 'inputs': centred}


def warp_bands(batch: Batch, key: jax.Array, *, low: float = 0.9, high: float = 1.1
               ) -> Batch:
  """Stretches the axis of features by a random factor, as another vocal tract does.

  Jaitly and Hinton, *Vocal tract length perturbation improves speech recognition*,
  2013; here on the scale of the features, such as mel. Values between two features are
  interpolated linearly, and the last feature is repeated.

  Args:
    batch: inputs `[batch, length, features]`, such as spectrograms.
    key: PRNG key.
    low, high: limits of the factor of frequencies, which is uniform.

  Raises:
    ValueError: for other factors, or inputs of another rank.
  """
  inputs, lengths = _frames(batch, 'warp_bands')
  if not 0.25 <= low <= high <= 4:
    raise ValueError('warp_bands: low and high must be in order, 0.25 to 4, got '
                     f'{low} and {high}')
  features = inputs.shape[-1]
  factors = jax.random.uniform(key, (len(inputs), 1), minval=low, maxval=high)
  at = jnp.minimum(jnp.arange(features) / factors, features - 1)
  # Each row of weights adds two neighbours.
  near = 1 - jnp.abs(at[..., None] - jnp.arange(features))
  warped = jnp.einsum('blf,bnf->bln', inputs, jnp.maximum(near, 0))
  return {**batch, 'inputs': zero_padding(warped, lengths)}


def spec_augment(batch: Batch, key: jax.Array, *, bands: int = 2, band: int = 27,
                 gaps: int = 2, gap: int = 100, max_fraction: float = 1.0,
                 fill: float = 0.0) -> Batch:
  """Fills random bands of features, and random gaps in time.

  Park et al., *SpecAugment: A simple data augmentation method for automatic speech
  recognition*, 2019, without time warping; the defaults are its policy LD.

  Args:
    batch: inputs `[batch, length, features]`.
    key: PRNG key.
    bands: number of bands.
    band: maximum width of a band, in features.
    gaps: number of gaps.
    gap: maximum width of a gap, in frames.
    max_fraction: maximum width of a gap, as a fraction of the length of the example.
    fill: the value; after `normalize_frames`, 0 is the mean.

  Raises:
    ValueError: for negative numbers, or another fraction.
  """
  inputs, lengths = _frames(batch, 'spec_augment')
  check_range('spec_augment', 0, bands=bands, band=band, gaps=gaps, gap=gap)
  check_range('spec_augment', 0, 1, max_fraction=max_fraction)
  length, features = inputs.shape[1:]

  def holes(index, count, size, ends, widest):
    """Whether each of `size` places is in one of some random intervals."""
    draws = jax.random.uniform(jax.random.fold_in(key, index), (len(inputs), count, 2))
    width = jnp.floor(draws[..., 0] * (widest[:, None] + 1))
    start = jnp.floor(draws[..., 1] * (ends[:, None] - width + 1))
    at = jnp.arange(size)[:, None]
    return ((at >= start[:, None]) & (at < (start + width)[:, None])).any(-1)

  ends = jnp.full(len(inputs), features)
  hole = jnp.zeros(inputs.shape, bool)
  if bands:
    hole |= holes(0, bands, features, ends, jnp.minimum(band, ends))[:, None]
  if gaps:
    widest = jnp.minimum(gap, jnp.floor(max_fraction * lengths))
    hole |= holes(1, gaps, length, lengths, widest)[..., None]
  return {**batch, 'inputs': zero_padding(jnp.where(hole, fill, inputs), lengths)}


def with_channel(batch: Batch, key: jax.Array) -> Batch:
  """Adds an axis of one channel: spectrograms as images, `[batch, frames, bins, 1]`.

  Raises:
    ValueError: for inputs of another rank.
  """
  del key
  inputs, _ = _frames(batch, 'with_channel')
  return {**batch, 'inputs': inputs[..., None]}


def _sequences(batch: Batch, transform: str) -> tuple[jax.Array, jax.Array]:
  """The inputs as float32, and their lengths int32 `[batch]`."""
  inputs = inputs_of(batch, transform)
  if inputs.ndim < 2:
    raise ValueError(f'{transform}: inputs must be [batch, length, ...], got '
                     f'{inputs.shape}')
  scale = 1.0
  if jnp.issubdtype(inputs.dtype, jnp.integer):
    scale = 1 / (jnp.iinfo(inputs.dtype).max + 1)
  lengths = batch.get('lengths')
  if lengths is None:
    lengths = jnp.full(len(inputs), inputs.shape[1])
  return inputs.astype(jnp.float32) * scale, lengths.astype(jnp.int32)


def _frames(batch: Batch, transform: str) -> tuple[jax.Array, jax.Array]:
  """The inputs `[batch, length, features]`, and their lengths `[batch]`."""
  inputs, lengths = _sequences(batch, transform)
  if inputs.ndim != 3:
    raise ValueError(f'{transform}: inputs must be [batch, length, features], got '
                     f'{inputs.shape}')
  return inputs, lengths


def _taken(inputs: jax.Array, index: jax.Array) -> jax.Array:
  """`[batch, n, ...]`: the steps `[batch, n]` of each example."""
  index = index.reshape(*index.shape, *[1] * (inputs.ndim - 2))
  return jnp.take_along_axis(inputs, index, 1)
