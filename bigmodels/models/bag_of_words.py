"""A text as its words, without their order.

Henderson et al., *Efficient natural language response suggestion for Smart Reply*,
2017, sum embeddings of n-grams; here each word has a weight too, as in TF-IDF, which is
learned.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Embedding
from bigmodels.models.validation import check_rates, check_sizes

_UNIT = partial(nn.initializers.variance_scaling, 1.0, 'fan_out', 'normal')


class BagOfWords(nn.Module):
  """The embedding of each token times its weight.

  Attributes:
    vocabulary: number of tokens.
    width: width of the embeddings.
    dropout: in training, the probability that a token is left out.
  """

  vocabulary: int
  width: int = 512
  dropout: float = 0.4

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'width')
    check_rates(self, 'dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, tokens: jax.Array, *, segments: jax.Array | None = None,
               train: bool) -> jax.Array:
    """Tokens -> features, `[batch, length, width]`.

    Args:
      tokens: int `[batch, length]`.
      segments: int `[batch, length]`, 0 for padding; not used, as each token is alone.
      train: whether to apply dropout.
    """
    del segments
    weights = self.param('weights', nn.initializers.ones, (self.vocabulary,))
    embeddings = Embedding(self.vocabulary, self.width, _UNIT, name='tokens')(tokens)
    index = tokens.astype(jnp.int32)
    weighed = embeddings * jnp.take(weights, index, mode='clip')[..., None]
    return nn.Dropout(self.dropout, broadcast_dims=(-1,), deterministic=not train)(
      weighed)
