"""Layers that make sequences of features shorter; padding changes none of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.convolution import Conv
from bigmodels.layers.dense import Dense
from bigmodels.layers.masks import zero_padding


def stack_frames(x: jax.Array, lengths: jax.Array, count: int
                 ) -> tuple[jax.Array, jax.Array]:
  """Makes one step of `count` consecutive ones; the last step is filled with zeros.

  Args:
    x: `[batch, length, features]`.
    lengths: int `[batch]`.
    count: number of steps.

  Returns:
    `[batch, ceil(length / count), count * features]`, and the new lengths.
  """
  batch, length, features = x.shape
  x = jnp.pad(zero_padding(x, lengths), ((0, 0), (0, -length % count), (0, 0)))
  return x.reshape(batch, -1, count * features), -(-lengths // count)


class Subsampling(nn.Module):
  """Convolutions with a stride of 2 over time and features, and a dense layer.

  As in Dong et al., *Speech-Transformer*, 2018, and in Conformer.

  Attributes:
    width: width of the outputs, and channels of the convolutions.
    halvings: number of convolutions.
    channels: channels of the convolutions; None for the width.
  """

  width: int
  halvings: int = 2
  channels: int | None = None

  @nn.compact
  def __call__(self, x: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shortens sequences.

    Args:
      x: `[batch, length, features]`.
      lengths: int `[batch]`.

    Returns:
      `[batch, ceil(length / 2**halvings), width]`, and the new lengths.

    Raises:
      ValueError: for inputs of another rank.
    """
    if x.ndim != 3:
      raise ValueError('inputs: must be features [batch, length, features], got '
                       f'{x.shape}')
    x = x[..., None]
    for index in range(self.halvings):
      # As many zeros before and after, so that windows do not depend on the length.
      x = Conv(self.channels or self.width, strides=(2, 2), padding=1,
               name=f'conv_{index}')(zero_padding(x, lengths))
      x, lengths = nn.relu(x), -(-lengths // 2)
    x = zero_padding(x.reshape(*x.shape[:2], -1), lengths)
    return Dense(self.width, name='out')(x), lengths
