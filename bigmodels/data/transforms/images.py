"""Functions that image transforms share: checks, ranges, and random rectangles."""

import numbers

import jax
import jax.numpy as jnp

Batch = dict[str, jax.Array]


def images_of(batch: Batch, transform: str) -> jax.Array:
  """Returns the inputs of a batch, `[batch, height, width, channels]`.

  Args:
    batch: a batch of images.
    transform: name of the transform that needs them, for the message.

  Raises:
    ValueError: if there are no inputs, or they are not images.
  """
  images = inputs_of(batch, transform)
  if images.ndim != 4:
    raise ValueError(f'{transform}: inputs must be images [batch, height, width, '
                     f'channels], got {images.shape}')
  return images


def inputs_of(batch: Batch, transform: str) -> jax.Array:
  """Returns the inputs of a batch, `[batch, ...]`.

  Raises:
    ValueError: if there are no inputs; it names the `transform`.
  """
  if 'inputs' not in batch:
    raise ValueError(f"{transform}: needs the column 'inputs', the batch has "
                     f'{", ".join(batch)}')
  return batch['inputs']


def check_range(transform: str, low: float, high: float | None = None, **values
                ) -> None:
  """Refuses values outside of a range.

  Args:
    transform: name of the transform with these arguments.
    low, high: limits of the range, inclusive; None for no upper limit.
    **values: values by name.

  Raises:
    ValueError: naming the first of them.
  """
  for name, value in values.items():
    if not isinstance(value, numbers.Real) or not low <= value < float('inf') or (
      high is not None and value > high):
      legal = f'>= {low}' if high is None else f'{low} to {high}'
      raise ValueError(f'{transform}: {name} must be {legal}, got {value!r}')


def check_pixels(transform: str, low: int, **values) -> None:
  """Refuses values that are not integers `>= low`.

  Args:
    transform: name of the transform with these arguments.
    low: smallest legal value.
    **values: values by name.

  Raises:
    ValueError: naming the first of them.
  """
  for name, value in values.items():
    if not isinstance(value, numbers.Integral) or value < low:
      raise ValueError(f'{transform}: {name} must be an integer >= {low}, got '
                       f'{value!r}')


def like(values: jax.Array, dtype) -> jax.Array:
  """Casts values of any shape to a dtype; rounds and clips for integer dtypes."""
  if not jnp.issubdtype(dtype, jnp.integer):
    return values.astype(dtype)
  limits = jnp.iinfo(dtype)
  return jnp.clip(jnp.round(values), limits.min, limits.max).astype(dtype)


def to_unit(images: jax.Array) -> jax.Array:
  """Returns float32 images from 0 to 1; for integers, 1 is the largest value.

  Args:
    images: images of any shape; floats are clipped.
  """
  values = images.astype(jnp.float32)
  if jnp.issubdtype(images.dtype, jnp.integer):
    return values / jnp.iinfo(images.dtype).max
  return jnp.clip(values, 0, 1)


def from_unit(values: jax.Array, dtype) -> jax.Array:
  """Returns values from 0 to 1 as images of a dtype: the inverse of `to_unit`.

  Args:
    values: values of any shape.
    dtype: dtype of the result.
  """
  white = jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else 1
  return like(values * white, dtype)


def draw_rectangles(key: jax.Array, shape: tuple[int, int, int], *,
                    area: tuple[float, float], aspect: tuple[float, float]
                    ) -> tuple[jax.Array, jax.Array]:
  """Samples a random rectangle in every image (Szegedy et al., 2015, section 6).

  The first of ten that fits is taken; if none fits, the first is clipped.

  Args:
    key: PRNG key.
    shape: (images, height, width).
    area: smallest and largest fraction of the image.
    aspect: smallest and largest ratio of width to height; its logarithm is uniform.

  Returns:
    Corners (top, left) and sizes (height, width), both float32 `[images, 2]`, pixels.

  Raises:
    ValueError: for another area or aspect.
  """
  if not 0 < area[0] <= area[1] <= 1:
    raise ValueError(f'area: must be 0 < smallest <= largest <= 1, got {area}')
  if not 0 < aspect[0] <= aspect[1]:
    raise ValueError(f'aspect: must be 0 < smallest <= largest, got {aspect}')
  n, *limits = shape
  limits = jnp.array(limits, jnp.float32)
  sizes_key, corner_key = (jax.random.fold_in(key, i) for i in range(2))
  low = jnp.array([area[0], jnp.log(aspect[0])])
  high = jnp.array([area[1], jnp.log(aspect[1])])
  fraction, ratio = jnp.moveaxis(
    low + (high - low) * jax.random.uniform(sizes_key, (n, 10, 2)), -1, 0)
  pixels, ratio = fraction * limits.prod(), jnp.exp(ratio)
  sizes = jnp.sqrt(jnp.stack([pixels / ratio, pixels * ratio], -1))
  first = jnp.argmax((sizes <= limits).all(-1), axis=1)
  sizes = jnp.take_along_axis(sizes, first[:, None, None], axis=1)[:, 0]
  sizes = jnp.minimum(sizes, limits)
  return jax.random.uniform(corner_key, (n, 2)) * (limits - sizes), sizes


def inside(corners: jax.Array, sizes: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Returns whether the center of each pixel is in the rectangle of its image.

  Args:
    corners: (top, left), `[n, 2]`, pixels.
    sizes: (height, width), `[n, 2]`.
    shape: (height, width) of the images.

  Returns:
    bool `[n, height, width, 1]`.
  """
  def along(axis):
    centres = jnp.arange(shape[axis]) + 0.5
    past = centres - corners[:, axis, None]
    return (past > 0) & (past < sizes[:, axis, None])

  return (along(0)[:, :, None] & along(1)[:, None, :])[..., None]
