"""WaveNet: dilated causal convolutions over the samples of a sound.

Van den Oord et al., *WaveNet: A generative model for raw audio*, 2016.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from bigmodels.layers.dense import Dense, Embedding
from bigmodels.models.validation import check_classes, check_sizes

_DEPTH = 20  # of a stack, so that a sample has a number in int32


class WaveNet(nn.Module):
  """Predicts the level of the next sample from the levels so far.

  A stack has `depth` gated convolutions over two steps, which are 1, 2, 4, ... samples
  apart. Every layer adds to the residual stream, and to the sum from which the levels
  are predicted.

  Attributes:
    levels: number of levels of a sample, such as 256 of the mu-law.
    classes: number of classes of sounds that it is conditioned on; 0 for none.
    width: channels of the residual stream, and of each half of a gate.
    skip: channels of the sum over all layers.
    depth: number of layers of a stack, the last with a dilation of `2**(depth - 1)`.
    stacks: number of stacks.
  """

  levels: int = 256
  classes: int = 0
  width: int = 32
  skip: int = 256
  depth: int = 10
  stacks: int = 3

  def __post_init__(self):
    check_sizes(self, 'levels', 'width', 'skip', 'depth', 'stacks')
    if self.depth > _DEPTH:
      raise ValueError(f'depth: must be <= {_DEPTH}, a dilation of '
                       f'{2**(_DEPTH - 1):,} samples, got {self.depth}')
    check_classes(self)
    super().__post_init__()

  @property
  def dilations(self) -> tuple[int, ...]:
    """The dilation of each layer, in samples."""
    return tuple(2**i for i in range(self.depth)) * self.stacks

  @property
  def receptive_field(self) -> int:
    """Number of samples that a prediction depends on."""
    return 2 + sum(self.dilations)

  @nn.compact
  def __call__(self, inputs: jax.Array, labels: jax.Array | None = None, *,
               train: bool, decode: bool = False) -> jax.Array:
    """Logits of the next levels.

    Args:
      inputs: levels, int `[batch, length]`; the logits at i predict the level at i + 1.
        What precedes the first sample is zeros in every layer.
      labels: classes, int `[batch]`; None if there are none.
      train: not used.
      decode: whether the inputs follow those of the last call. The collection 'cache'
        has, for each layer, a queue of its last inputs, as many as its dilation, so
        that no layer computes a step twice (Le Paine et al., *Fast WaveNet generation
        algorithm*, 2016). The length must be 1.

    Returns:
      `[batch, length, levels]`.

    Raises:
      ValueError: for labels without classes or the reverse, or several samples to
        decode.
    """
    del train
    if (labels is None) != (self.classes == 0):
      raise ValueError(f'classes: the model has {self.classes}, but the data has '
                       f'{"no labels" if labels is None else "labels"}')
    if decode and inputs.shape[1] != 1:
      raise ValueError(f'samples are decoded one by one, got {inputs.shape[1]}')
    x = Embedding(self.levels, self.width, name='levels')(inputs)
    # The causal convolution of the paper: one kernel for each of two steps.
    x = x + self._delayed(Embedding(self.levels, self.width, name='levels_before')(
      inputs), 1, 'queue', decode)
    condition = None if labels is None else Embedding(
      self.classes, self.width, name='classes')(labels)
    outputs = []
    for index, dilation in enumerate(self.dilations):
      before = self._delayed(x, dilation, f'queue_{index}', decode)
      gates = Dense(2 * self.width, name=f'gates_{index}')(
        jnp.concatenate([before, x], -1))
      if condition is not None:
        gates = gates + Dense(2 * self.width, use_bias=False, name=f'class_{index}')(
          condition)[:, None]
      values, gate = jnp.split(gates, 2, -1)
      outputs.append(jnp.tanh(values) * nn.sigmoid(gate))
      if index + 1 < len(self.dilations):
        x = x + Dense(self.width, name=f'residual_{index}')(outputs[-1])
    # One product is the sum of a product for each layer.
    x = nn.relu(Dense(self.skip, name='skip')(jnp.concatenate(outputs, -1)))
    x = nn.relu(Dense(self.skip, name='hidden')(x))
    return Dense(self.levels, name='head')(x)

  def _delayed(self, x: jax.Array, steps: int, name: str, decode: bool) -> jax.Array:
    """What `x`, `[batch, length, width]`, was a number of steps before."""
    if not decode:
      return jnp.pad(x, ((0, 0), (steps, 0), (0, 0)))[:, : x.shape[1]]
    queue = self.variable('cache', name, jnp.zeros, (len(x), steps, x.shape[2]),
                          x.dtype)
    at = self.variable('cache', f'{name}_at', jnp.zeros, (), jnp.int32)
    before = lax.dynamic_slice_in_dim(queue.value, at.value, 1, 1)
    if not self.is_initializing():
      queue.value = lax.dynamic_update_slice_in_dim(queue.value, x, at.value, 1)
      at.value = (at.value + 1) % steps
    return before
