"""Two texts as vectors whose product says whether they belong together.

Henderson et al., *Efficient natural language response suggestion for Smart Reply*,
2017.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.core.vectors import unit_length
from bigmodels.layers.dense import Dense
from bigmodels.layers.pooling import mean_pool
from bigmodels.models.validation import check_positive, check_rates, check_sizes


class DualEncoder(nn.Module):
  """One encoder for contexts and responses, with a last layer for each.

  A text is the mean of the features of its tokens, a dense layer, and divided by its
  norm. The dense layers begin as the identity: texts with the same words are near.

  Attributes:
    encoder: the encoder of the tokens, such as `BagOfWords` or `Bert`.
    width: length of the vectors.
    scale: initial factor of the products, which are cosines.
    dropout: rate of dropout, in training, of the means.
  """

  encoder: nn.Module
  width: int = 128
  scale: float = 10.0
  dropout: float = 0.1

  def __post_init__(self):
    check_sizes(self, 'width')
    check_positive(self, 'scale')
    check_rates(self, 'dropout')
    super().__post_init__()

  def setup(self):
    dense = partial(Dense, self.width, use_bias=False, kernel_init=lambda: _identity)
    self.context_head, self.response_head = dense(), dense()
    self.drop = nn.Dropout(self.dropout)
    self.log_scale = self.param('log_scale', nn.initializers.constant(
      jnp.log(self.scale)), ())

  def __call__(self, contexts: jax.Array, responses: jax.Array, *,
               segments: jax.Array | None = None,
               response_segments: jax.Array | None = None, train: bool
               ) -> tuple[jax.Array, jax.Array]:
    """Encodes contexts and candidates.

    Args:
      contexts: tokens, int `[batch, length]`.
      responses: tokens, int `[batch, candidates, length]`.
      segments: int `[batch, length]`, 0 for padding; None for no padding.
      response_segments: int `[batch, candidates, length]`, the same of the responses.
      train: whether to apply dropout.

    Returns:
      Vectors `[batch, width]` of the contexts, which include the scale, and `[batch,
      candidates, width]` of the responses. Their products are the logits.
    """
    batch, count, length = responses.shape
    flat = None if response_segments is None else response_segments.reshape(-1, length)
    first = self.context_head(self._mean(contexts, segments, train))
    second = self.response_head(self._mean(responses.reshape(-1, length), flat, train))
    return (unit_length(first) * jnp.exp(self.log_scale),
            unit_length(second).reshape(batch, count, self.width))

  def _mean(self, tokens, segments, train):
    x = self.encoder(tokens, segments=segments, train=train)
    return self.drop(mean_pool(x, segments), deterministic=not train)


def _identity(key, shape, dtype=jnp.float32):
  del key
  return jnp.eye(*shape, dtype=dtype)
