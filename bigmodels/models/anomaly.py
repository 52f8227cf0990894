"""Models that score how unusual an example is: an autoencoder and Deep SVDD."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.models.validation import check_sizes


class Autoencoder(nn.Module):
  """The squared error with which a narrow network reconstructs its input.

  An encoder of dense layers with an activation after each, a decoder of the same widths
  in reverse, and a linear layer to the width of the input. What most examples have in
  common passes the narrowest layer; what is unusual in one is lost, and adds to its
  score (Hawkins et al., *Outlier Detection Using Replicator Neural Networks*, 2002).
  With noise it is a denoising autoencoder (Vincent et al., 2008).

  Attributes:
    widths: widths of the encoder; the last is the narrowest.
    noise: standard deviation of what is added to the input in training. The more, the
      more a row far from all others is drawn to these in its reconstruction.
    activation: activation of all layers but the last.
    kernel_init: makes the initializer of the weights.
  """

  widths: tuple[int, ...] = (8, 2)
  noise: float = 0.0
  activation: Callable = nn.tanh
  kernel_init: Callable = nn.initializers.lecun_normal

  def __post_init__(self):
    _check_widths(self)
    if not 0 <= self.noise < math.inf:
      raise ValueError(f'noise: must be >= 0 and finite, got {self.noise}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, ...]` -> scores `[batch]`, means over the values of an input.

    Raises:
      ValueError: if no layer is narrower than the input.
    """
    inputs = inputs.reshape(len(inputs), -1)
    if min(self.widths) >= inputs.shape[-1]:  # it could pass everything
      raise ValueError(f'widths: one must be < {inputs.shape[-1]}, the values of an '
                       f'input, got {self.widths}')
    x = inputs
    if train and self.noise:
      x += self.noise * jax.random.normal(self.make_rng('dropout'), x.shape, x.dtype)
    for width in (*self.widths, *self.widths[-2::-1]):
      x = self.activation(nn.Dense(width, kernel_init=self.kernel_init())(x))
    x = nn.Dense(inputs.shape[-1], kernel_init=self.kernel_init())(x)
    return jnp.mean((x - inputs).astype(jnp.float32) ** 2, axis=-1)


class DeepSvdd(nn.Module):
  """The squared distance of an example from a fixed centre, after a network.

  Ruff et al., *Deep One-Class Classification*, ICML 2018 (one-class Deep SVDD). The
  centre is the mean of the initial network's outputs for the first training batch. It
  is kept in the batch statistics, and not trained. No layer has a bias, since one could
  map every input to the centre; so could inputs that always have the same sum, such as
  all the categories of a column.

  Attributes:
    widths: widths of the layers; the last is that of the sphere.
    activation: activation between the layers, unbounded and 0 at 0.
    margin: least distance from 0 of each coordinate of the centre, as zero weights
      would match 0.
    kernel_init: makes the initializer of the weights.
  """

  widths: tuple[int, ...] = (64, 32)
  activation: Callable = nn.leaky_relu
  margin: float = 0.1
  kernel_init: Callable = nn.initializers.lecun_normal

  def __post_init__(self):
    _check_widths(self)
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, ...]` -> scores `[batch]`."""
    x = inputs.reshape(len(inputs), -1)
    for index, width in enumerate(self.widths):
      x = self.activation(x) if index else x
      x = nn.Dense(width, use_bias=False, kernel_init=self.kernel_init())(x)
    centre = self.variable('batch_stats', 'centre', jnp.zeros, self.widths[-1])
    known = self.variable('batch_stats', 'centre_known', jnp.zeros, ())
    if train and not self.is_initializing():
      mean = jnp.mean(x, axis=0, dtype=jnp.float32)
      away = jnp.where(mean < 0, -1, 1) * jnp.maximum(jnp.abs(mean), self.margin)
      centre.value = jnp.where(known.value > 0, centre.value,
                               jax.lax.stop_gradient(away))
      known.value = jnp.ones(())
    return jnp.sum((x - centre.value) ** 2, axis=-1)


def _check_widths(model: nn.Module) -> None:
  check_sizes(model, 'widths')
  if not model.widths:
    raise ValueError('widths: must have a layer, got ()')
