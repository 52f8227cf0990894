"""What transforms of images share: their range of values, and rectangles in them."""

import numbers

import jax
import jax.numpy as jnp

Batch = dict[str, jax.Array]


def images_of(batch: Batch, transform: str) -> jax.Array:
  """The inputs of a batch, `[batch, height, width, channels]`.

  Raises:
    ValueError: if they are no images, naming the transform that wants them.
  """
  images = batch['inputs']
  if images.ndim != 4:
    raise ValueError(f'{transform}: wants images [batch, height, width, channels], got '
                     f'{images.shape}')
  return images


def check_range(transform: str, low: float, high: float | None = None, **values
                ) -> None:
  """Refuses what is no number of a range.

  Args:
    transform: whose arguments they are.
    low, high: inclusive; None for no end.
    values: by name.

  Raises:
    ValueError: naming the first of them.
  """
  for name, value in values.items():
    if not isinstance(value, numbers.Real) or not low <= value < float('inf') or (
      high is not None and value > high):
      wanted = f'{low} or more' if high is None else f'{low} to {high}'
      raise ValueError(f'{transform}: {name} wants {wanted}, got {value!r}')


def check_pixels(transform: str, low: int, **values) -> None:
  """As `check_range`, of whole numbers of pixels or of anything that is counted."""
  for name, value in values.items():
    if not isinstance(value, numbers.Integral) or value < low:
      raise ValueError(f'{transform}: {name} wants a whole number, {low} or more, got '
                       f'{value!r}')


def like(values: jax.Array, dtype) -> jax.Array:
  """Numbers as a dtype: rounded and kept within its limits if it is an integer."""
  if not jnp.issubdtype(dtype, jnp.integer):
    return values.astype(dtype)
  limits = jnp.iinfo(dtype)
  return jnp.clip(jnp.round(values), limits.min, limits.max).astype(dtype)


def to_unit(images: jax.Array) -> jax.Array:
  """Float32 from 0 to 1, where integers go up to their largest and floats to 1."""
  values = images.astype(jnp.float32)
  if jnp.issubdtype(images.dtype, jnp.integer):
    return values / jnp.iinfo(images.dtype).max
  return jnp.clip(values, 0, 1)


def from_unit(values: jax.Array, dtype) -> jax.Array:
  """What `to_unit` was given, of values from 0 to 1."""
  white = jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else 1
  return like(values * white, dtype)


def draw_rectangles(key: jax.Array, shape: tuple[int, int, int], *,
                    area: tuple[float, float], aspect: tuple[float, float]
                    ) -> tuple[jax.Array, jax.Array]:
  """Rectangles anywhere in images, as Inception was trained (Szegedy et al., 2015).

  Of ten that are drawn for an image the first that fits is taken; where none does, the
  first is cut to fit.

  Args:
    key: of the draws.
    shape: (images, height, width).
    area: least and largest, a share of the image's.
    aspect: least and largest ratio of width to height; its logarithm is uniform.

  Returns:
    Corners (top, left) and sizes (height, width), both float32 `[images, 2]`, pixels.
  """
  if not 0 < area[0] <= area[1] <= 1:
    raise ValueError(f'area: wants 0 < least <= largest <= 1, got {area}')
  if not 0 < aspect[0] <= aspect[1]:
    raise ValueError(f'aspect: wants 0 < least <= largest, got {aspect}')
  n, *limits = shape
  limits = jnp.array(limits, jnp.float32)
  sizes_key, corner_key = (jax.random.fold_in(key, i) for i in range(2))
  low = jnp.array([area[0], jnp.log(aspect[0])])
  high = jnp.array([area[1], jnp.log(aspect[1])])
  share, wide = jnp.moveaxis(
    low + (high - low) * jax.random.uniform(sizes_key, (n, 10, 2)), -1, 0)
  pixels, wide = share * limits.prod(), jnp.exp(wide)
  sizes = jnp.sqrt(jnp.stack([pixels / wide, pixels * wide], -1))
  first = jnp.argmax((sizes <= limits).all(-1), axis=1)
  sizes = jnp.take_along_axis(sizes, first[:, None, None], axis=1)[:, 0]
  sizes = jnp.minimum(sizes, limits)
  return jax.random.uniform(corner_key, (n, 2)) * (limits - sizes), sizes


def inside(corners: jax.Array, sizes: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """Whether the centre of a pixel is in a rectangle.

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
