"""The network with the shortest training time on CIFAR-10.

Jordan, *94% on CIFAR-10 in 3.29 seconds on a single GPU*, 2024, and the
`airbench94_muon`, its successor of 2025.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.layers.activations import gelu
from bigmodels.layers.convolution import Conv, conv
from bigmodels.layers.normalization import BatchNorm
from bigmodels.layers.pooling import max_pool
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_rates, check_sizes


class Airbench(nn.Module):
  """A fixed whitening convolution, groups of two convolutions, a linear layer.

  Each group is a 3x3 convolution, max-pooling by 2, batch normalization, activation,
  and a 3x3 convolution, batch normalization, activation. Convolutions are initialized
  as the identity for their first filters. Norms have a bias but no scale.

  Attributes:
    num_outputs: number of classes.
    whitening: kernel of the first convolution, `[h, w, channels, filters]`; the run
      computes it from its training images, see `data.statistics`.
    widths: widths of the groups.
    momentum: decay rate of the running statistics, per batch.
    activation: activation of the groups; GELU follows the whitening in any case.
  """

  num_outputs: int
  whitening: Sequence
  widths: tuple[int, ...] = (64, 256, 256)
  momentum: float = 0.4
  activation: Callable = gelu

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'widths')
    check_rates(self, 'momentum')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """Standardized `[batch, height, width, channels]` -> `[batch, num_outputs]`.

    Raises:
      ValueError: unless the inputs are images of floats with the whitening's channels,
        and large enough.
    """
    kernel = np.asarray(self.whitening, np.float32)
    least = kernel.shape[0] - 1 + 3 * 2 ** len(self.widths)
    if inputs.ndim != 4 or min(inputs.shape[1:3]) < least or (
      inputs.shape[3] != kernel.shape[2]):
      raise ValueError(
        f'Airbench needs images [batch, height, width, {kernel.shape[2]}] of at least '
        f'{least} x {least}, got {tuple(inputs.shape)}')
    check_images(self, inputs)  # floats, too
    bias = self.param('whitening_bias', nn.initializers.zeros, kernel.shape[-1:])
    x = conv(inputs, jnp.asarray(kernel, inputs.dtype), padding='VALID')
    x = gelu(x + bias.astype(x.dtype))
    convolution = partial(Conv, use_bias=False, kernel_init=identity)
    norm = partial(BatchNorm, use_running_average=not train, epsilon=1e-12,
                   momentum=self.momentum, use_scale=False)
    for width in self.widths:
      x = self.activation(norm()(max_pool(convolution(width)(x), 2)))
      x = self.activation(norm()(convolution(width)(x)))
    x = max_pool(x, 3)
    x = x.reshape(len(x), -1)
    head = nn.Dense(self.num_outputs, use_bias=False, name='head',
                    kernel_init=nn.initializers.normal(1.0))
    return head(x) / x.shape[-1]


def identity(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
  """A kernel whose first filters copy the channels; the others are uniform.

  Args:
    key: PRNG key for the uniform filters, of magnitude up to `1 / sqrt(h * w * in)`, as
      in PyTorch.
    shape: `[h, w, in, out]`, with odd h and w.
    dtype: dtype of the result.

  Returns:
    `[h, w, in, out]`.
  """
  height, width, channels, filters = shape
  bound = (height * width * channels) ** -0.5
  kernel = jax.random.uniform(key, shape, dtype, -bound, bound)
  copies = np.arange(min(channels, filters))
  kernel = kernel.at[..., copies].set(0)
  return kernel.at[height // 2, width // 2, copies, copies].set(1)
