"""Positional encodings: sinusoidal, in one or two dimensions, and rotary.

Learned encodings are a `dense.Embedding` of the positions.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class NextPositions(nn.Module):
  """The positions of tokens that continue those of earlier calls.

  The collection 'cache' counts the tokens of each row.
  """

  @nn.compact
  def __call__(self, tokens: jax.Array, segments: jax.Array | None) -> jax.Array:
    """Positions, int32 `[batch, length]`.

    Args:
      tokens: int `[batch, length]`.
      segments: `[batch, length]`, 0 where a token is padding; None for no padding.
    """
    real = jnp.ones_like(tokens) if segments is None else segments > 0
    real = real.astype(jnp.int32)
    count = self.variable('cache', 'count', jnp.zeros, (len(tokens),), jnp.int32)
    found = count.value[:, None] + jnp.cumsum(real, 1) - 1
    count.value = count.value + real.sum(1)
    return jnp.maximum(found, 0)


def segment_positions(segments: jax.Array) -> jax.Array:
  """The position of every token in its own segment, from 0.

  Args:
    segments: int `[batch, length]`: consecutive tokens of one document have the same
      number; 0 is padding.

  Returns:
    int32 `[batch, length]`; 0 for padding.
  """
  index = jnp.arange(segments.shape[1])
  before = jnp.pad(segments, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
  first = jax.lax.cummax(jnp.where(segments != before, index, 0), axis=1)
  return jnp.where(segments > 0, index - first, 0).astype(jnp.int32)


def sinusoidal(positions: jax.Array, width: int) -> jax.Array:
  """Sines and cosines of decreasing frequencies.

  Vaswani et al., *Attention is all you need*, 2017, section 3.5.

  Args:
    positions: int `[...]`.
    width: width of the encoding, even.

  Returns:
    float32 `[..., width]`: sine and cosine of `position / 10000**(2 i / width)` at the
    features `2 i` and `2 i + 1`.

  Raises:
    ValueError: for an odd width.
  """
  if width % 2:
    raise ValueError(f'width: must be even for sinusoidal positions, got {width}')
  angles = positions[..., None] * 10_000.0 ** (-np.arange(0, width, 2) / width)
  both = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
  return both.reshape(*positions.shape, width).astype(jnp.float32)


def sinusoidal_2d(rows: int, columns: int, width: int) -> jax.Array:
  """Sines and cosines of the column and of the row.

  Chen et al., *An empirical study of training self-supervised vision transformers*
  (MoCo v3), 2021.

  Args:
    rows, columns: size of the grid of patches.
    width: width of the encoding, a multiple of 4.

  Returns:
    float32 `[rows * columns, width]`: sine and cosine of the column, then of the row,
    a quarter each, with wavelengths from 2 pi to 20,000 pi.

  Raises:
    ValueError: for another width.
  """
  if width % 4:
    raise ValueError('width: must be a multiple of 4 for positions on a grid, got '
                     f'{width}')
  frequencies = 10_000.0 ** -np.linspace(0, 1, width // 4)
  row, column = (
    index.reshape(-1, 1) * frequencies for index in np.mgrid[:rows, :columns])
  parts = [np.sin(column), np.cos(column), np.sin(row), np.cos(row)]
  return jnp.asarray(np.concatenate(parts, -1), jnp.float32)


def rotary(x: jax.Array, positions: jax.Array, base: float = 10_000.0) -> jax.Array:
  """Rotates queries or keys by angles that grow with the position.

  Su et al., *RoFormer: enhanced transformer with rotary position embedding*, 2021. The
  product of a query and a key then depends only on their distance. The two halves of a
  head are the coordinates that are rotated, as in GPT-NeoX and LLaMA.

  Args:
    x: `[batch, length, heads, width]`, with an even width.
    positions: int `[batch, length]` or `[1, length]`.
    base: ratio of the longest to the shortest wavelength, from `2 pi` to `2 pi base`.

  Returns:
    `[batch, length, heads, width]`.

  Raises:
    ValueError: for an odd width.
  """
  width = x.shape[-1]
  if width % 2:
    raise ValueError(f'rotary positions need heads of an even width, got {width}')
  frequencies = base ** (-np.arange(0, width, 2, dtype=np.float32) / width)
  angles = positions[:, :, None, None] * frequencies
  sine, cosine = jnp.sin(angles), jnp.cos(angles)
  one, two = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate(
    [one * cosine - two * sine, two * cosine + one * sine], axis=-1)
  return turned.astype(x.dtype)
