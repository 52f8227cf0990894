"""Dense layers and embeddings over sequences."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.core import target


def matmul(x: jax.Array, kernel: jax.Array, *, transposed: bool = False) -> jax.Array:
  """`x @ kernel`, in the fastest form for the backend.

  Args:
    x: `[..., in]`.
    kernel: `[in, out]`, or `[out, in]` if transposed.
    transposed: whether to multiply by the transpose of the kernel.

  Returns:
    `[..., out]`.
  """
  kernel = kernel.T if transposed else kernel
  # A CPU computes one product of two matrices, forward and backward, in half the time
  # of one with `[batch, length, in]`. A TPU would copy the inputs for it if their
  # length is not a multiple of 8.
  if target.platform() != 'cpu':
    return x @ kernel
  return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[1])


class Dense(nn.Module):
  """`flax.linen.Dense`: same parameter names, shapes and initial values.

  Attributes:
    features: number of output features.
    use_bias: whether to add a bias.
    kernel_init: makes the initializer of `kernel`, `[in, features]`.
  """

  features: int
  use_bias: bool = True
  kernel_init: Callable = nn.initializers.lecun_normal

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """`[..., in]` -> `[..., features]`."""
    kernel = self.param('kernel', self.kernel_init(), (x.shape[-1], self.features))
    y = matmul(x, kernel)
    if self.use_bias:
      y = y + self.param('bias', nn.initializers.zeros, (self.features,))
    return y


class Embedding(nn.Module):
  """A vector for each index.

  For an index that is too large it returns the last vector, whereas `flax.linen.Embed`
  returns NaN.

  Attributes:
    size: number of indices.
    width: length of the vectors.
    embedding_init: makes the initializer of `embedding`, `[size, width]`.
  """

  size: int
  width: int
  embedding_init: Callable = nn.initializers.normal

  def setup(self):
    self.embedding = self.param(
      'embedding', self.embedding_init(), (self.size, self.width))

  def __call__(self, indices: jax.Array) -> jax.Array:
    """Indices `[...]` below `size` -> vectors `[..., width]`."""
    return jnp.take(self.embedding, indices.astype(jnp.int32), axis=0, mode='clip')

  def logits(self, x: jax.Array) -> jax.Array:
    """Products with every vector: `[..., width]` -> `[..., size]`.

    The last layer of a language model whose weights are tied to its first (Press and
    Wolf, *Using the output embedding to improve language models*, 2017).
    """
    return matmul(x, self.embedding, transposed=True)
