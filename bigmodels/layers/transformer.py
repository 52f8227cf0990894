"""The block of transformers.

Vaswani et al., *Attention is all you need*, 2017.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.core import target
from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense


def _recomputed(function: Callable, remat: Callable = jax.checkpoint) -> Callable:
  """A function whose backward pass recomputes it instead of reading what it stored.

  That moves fewer bytes: otherwise the derivative of a GELU reads five arrays, that of
  a normalization two in float32. On a CPU it is the function itself.
  """
  return function if target.platform() == 'cpu' else remat(function, prevent_cse=False)


class FeedForward(nn.Module):
  """Two dense layers, for each token separately.

  Attributes:
    hidden: width between the layers.
    activation: nn.relu, nn.gelu, ...
    gated: whether a second product gates the first one; with `nn.silu` this is SwiGLU
      (Shazeer, *GLU variants improve transformer*, 2020).
    use_bias: whether the layers have biases.
    kernel_init: makes the initializer of the weights.
    out_init: makes the initializer of the last layer's weights.
  """

  hidden: int
  activation: Callable = nn.relu
  gated: bool = False
  use_bias: bool = True
  kernel_init: Callable = nn.initializers.glorot_uniform
  out_init: Callable = nn.initializers.glorot_uniform

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """`[..., width]` -> the same shape."""

    def dense(name):
      return Dense(self.hidden, use_bias=self.use_bias, kernel_init=self.kernel_init,
                   name=name)

    h = dense('in')(x)
    if self.gated:
      h = _recomputed(lambda h, gate: self.activation(h) * gate)(h, dense('gate')(x))
    else:
      h = _recomputed(self.activation)(h)
    if target.platform() == 'cpu':
      # XLA of jaxlib 0.12 would fuse the activation with the layers around it, and read
      # each of its constants from an array of this size: a fifth longer in inference.
      h = jax.lax.optimization_barrier(h)
    return Dense(x.shape[-1], use_bias=self.use_bias, kernel_init=self.out_init,
                 name='out')(h)


class Block(nn.Module):
  """Attention and a feed-forward layer, each with a residual connection.

  Attributes:
    attention: makes the self-attention.
    feed_forward: makes the part after it.
    norm: makes a normalization.
    cross: makes the cross-attention between the two; None for none.
    norm_first: whether norms come before the parts, which trains deep stacks without
      warm-up (Xiong et al., *On layer normalization in the transformer architecture*,
      2020; GPT-2), or after the sum (the original, BERT).
    dropout: rate of dropout, in training, of what each part adds.
  """

  attention: Callable[..., Attention]
  feed_forward: Callable[..., nn.Module]
  norm: Callable[..., nn.Module] = nn.LayerNorm
  cross: Callable[..., Attention] | None = None
  norm_first: bool = True
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array, *, segments: jax.Array | None = None,
               positions: jax.Array | None = None, memory: jax.Array | None = None,
               memory_segments: jax.Array | None = None, decode: int = 0,
               train: bool) -> jax.Array:
    """`[batch, length, width]` -> the same shape.

    Args:
      x: `[batch, length, width]`.
      segments, positions: int `[batch, length]`, see `Attention`.
      memory: what `cross` attends to, `[batch, memory length, width]`.
      memory_segments: int `[batch, memory length]`, see `Attention`.
      decode: see `Attention`.
      train: whether to apply dropout.

    Raises:
      ValueError: see `Attention`.
    """

    def add(x, name, part):
      norm = self.norm(name=f'{name}_norm')
      drop = nn.Dropout(self.dropout, deterministic=not train)
      if self.norm_first:
        return x + drop(part(_recomputed(lambda norm, x: norm(x), nn.remat)(norm, x)))
      return norm(x + drop(part(x)))

    attention = self.attention(name='attention')
    x = add(x, 'attention', lambda h: attention(
      h, segments=segments, positions=positions, decode=decode, train=train))
    if self.cross is not None:
      cross = self.cross(name='cross')
      x = add(x, 'cross', lambda h: cross(
        h, memory, segments=segments, memory_segments=memory_segments, decode=decode,
        train=train))
    return add(x, 'feed_forward', self.feed_forward(name='feed_forward'))
