"""Augmentation and normalisation: pure functions over whole batches, in the step.

Each is `(batch, key, *, ...) -> batch` and touches `batch['inputs']`; images are
`[batch, height, width, channels]` of any dtype. Set the keywords with
`functools.partial`. Random choices are made per example.
"""

import jax
import jax.numpy as jnp

Batch = dict[str, jax.Array]


def standardize(batch: Batch, key: jax.Array, *, mean, std) -> Batch:
  """Takes off the mean and divides by the deviation, per channel, in float32.

  Leave `mean` and `std` out in an experiment: they are then fitted on the training
  split and kept with the run.
  """
  del key
  inputs = batch['inputs'].astype(jnp.float32)
  mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
  return {**batch, 'inputs': (inputs - mean) / std}


def flip(batch: Batch, key: jax.Array, *, probability: float = 0.5) -> Batch:
  """Mirrors images left to right with a probability."""
  images = batch['inputs']
  mirrored = jax.random.bernoulli(key, probability, (len(images), 1, 1, 1))
  return {**batch, 'inputs': jnp.where(mirrored, images[:, :, ::-1], images)}


def shift(batch: Batch, key: jax.Array, *, pixels: int) -> Batch:
  """Moves images by up to `pixels` each way, whole pixels; zeros come in.

  This is the usual "pad and crop": pad by `pixels`, cut out the old size anywhere.
  """
  images = batch['inputs']
  n, height, width, channels = images.shape
  margin = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
  padded = jnp.pad(images, margin)
  corners = jax.random.randint(key, (n, 2), 0, 2 * pixels + 1)
  cut = jax.vmap(
    lambda image, corner: jax.lax.dynamic_slice(
      image, (corner[0], corner[1], 0), (height, width, channels)))
  return {**batch, 'inputs': cut(padded, corners)}


def crop(batch: Batch, key: jax.Array, *, size: int) -> Batch:
  """Cuts a random `size` x `size` window out of every image."""
  images = batch['inputs']
  n, height, width, channels = images.shape
  if size > min(height, width):
    raise ValueError(f'crop: size {size} is larger than images of {height} x {width}')
  limits = jnp.array([height - size + 1, width - size + 1])
  corners = jax.random.randint(key, (n, 2), 0, limits)
  cut = jax.vmap(
    lambda image, corner: jax.lax.dynamic_slice(
      image, (corner[0], corner[1], 0), (size, size, channels)))
  return {**batch, 'inputs': cut(images, corners)}


def rotate(batch: Batch, key: jax.Array, *, degrees: float) -> Batch:
  """Turns images about their centre by an angle within `degrees` either way."""
  n = len(batch['inputs'])
  angle = jax.random.uniform(key, (n,), minval=-1.0, maxval=1.0)
  angle = jnp.deg2rad(degrees) * angle
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return _resample(batch, jnp.stack([cos, -sin, sin, cos], -1).reshape(n, 2, 2))


def scale(batch: Batch, key: jax.Array, *, low: float, high: float) -> Batch:
  """Enlarges images about their centre by a factor from `low` to `high`.

  The factor's logarithm is uniform; below 1 an image shrinks and zeros come in.
  """
  if not 0 < low <= high:
    raise ValueError(f'scale: wants 0 < low <= high, got {low} and {high}')
  n = len(batch['inputs'])
  factor = jnp.exp(jax.random.uniform(
    key, (n, 1, 1), minval=jnp.log(low), maxval=jnp.log(high)))
  return _resample(batch, jnp.eye(2) / factor)


def noise(batch: Batch, key: jax.Array, *, std: float) -> Batch:
  """Adds Gaussian noise; goes after `standardize`, in whose units `std` is."""
  inputs = batch['inputs'].astype(jnp.float32)
  return {**batch, 'inputs': inputs + std * jax.random.normal(key, inputs.shape)}


def _resample(batch: Batch, matrices: jax.Array) -> Batch:
  """Bilinear look-up of every output pixel at matrix times its place, from the centre.

  Args:
    batch: images `[n, height, width, channels]`.
    matrices: `[n, 2, 2]`, output (row, column) to input (row, column).
  """
  images = batch['inputs']
  _, height, width, _ = images.shape
  centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
  places = jnp.stack(jnp.mgrid[:height, :width], -1) - centre
  places = jnp.einsum('nij,hwj->nihw', matrices, places, precision='highest')
  places = places + centre[None, :, None, None]
  look_up = jax.vmap(jax.vmap(
    lambda plane, at: jax.scipy.ndimage.map_coordinates(
      plane, [at[0], at[1]], order=1, cval=0.0),
    in_axes=(-1, None), out_axes=-1))
  result = look_up(images.astype(jnp.float32), places)
  return {**batch, 'inputs': _like(result, images.dtype)}


def _like(values: jax.Array, dtype) -> jax.Array:
  if not jnp.issubdtype(dtype, jnp.integer):
    return values.astype(dtype)
  limits = jnp.iinfo(dtype)
  return jnp.clip(jnp.round(values), limits.min, limits.max).astype(dtype)
