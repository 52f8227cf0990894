"""The end-to-end memory network.

Sukhbaatar et al., *End-to-end memory networks* (MemN2N), 2015.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense
from bigmodels.models.validation import check_rates, check_sizes


class MemoryNetwork(nn.Module):
  """Reads a memory of sentences several times, and then answers.

  Each hop weighs the sentences by a softmax of their products with the state, and adds
  their weighted sum to it. A sentence is a sum of the embeddings of its words, weighted
  by their positions in it, and the embedding of its age. The embeddings of a hop's sums
  are those of the next hop's products ("adjacent"); the first ones embed the question.

  Attributes:
    vocabulary: number of tokens; token 0 is padding.
    num_outputs: number of answers.
    width: width of the embeddings and of the state.
    hops: number of times that the memory is read.
    noise: in training, the probability of an empty sentence before each one, which only
      makes those before it older ("random noise").
    linear: number of training steps for which the weights are the products themselves,
      without a softmax ("linear start").
    dropout: rate of dropout, in training, of the state that is answered from.
  """

  vocabulary: int
  num_outputs: int
  width: int = 50
  hops: int = 3
  noise: float = 0.1
  linear: int = 0
  dropout: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'num_outputs', 'width', 'hops')
    check_rates(self, 'noise', 'dropout')
    if self.linear < 0:
      raise ValueError(f'linear: must be >= 0, got {self.linear}')
    super().__post_init__()

  @nn.compact
  def __call__(self, stories: jax.Array, questions: jax.Array, *, train: bool
               ) -> jax.Array:
    """Logits of the answers, `[batch, num_outputs]`.

    Args:
      stories: int `[batch, sentences, words]`, the last sentence first, 0 for padding.
      questions: int `[batch, words]`, 0 for padding.
      train: whether to apply noise and dropout.
    """
    count, small = stories.shape[1], nn.initializers.normal(0.1)
    words = self.param('words', small, (self.hops + 1, self.vocabulary, self.width))
    ages = self.param('ages', small, (self.hops + 1, count, self.width))
    age = jnp.arange(count)[None]
    if train and self.noise:
      empty = jax.random.bernoulli(
        self.make_rng('dropout'), self.noise, stories.shape[:2])
      age = jnp.minimum(age + jnp.cumsum(empty, 1), count - 1)
    real = (stories > 0).any(-1)
    state = _encoded(words[:1], questions)[0]
    memory = _encoded(words, stories) + jnp.take(ages, age, axis=1)
    linear = self._linear(train)
    for hop in range(self.hops):
      products = jnp.einsum('bd,bsd->bs', state, memory[hop])
      # Not -inf: of a story without sentences the gradient would be NaN.
      softmax = jax.nn.softmax(jnp.where(real, products, -1e9))
      weights = jnp.where(real, jnp.where(linear, products, softmax), 0.0)
      state = state + jnp.einsum('bs,bsd->bd', weights, memory[hop + 1])
    state = nn.Dropout(self.dropout, deterministic=not train)(state)
    return Dense(self.num_outputs, kernel_init=partial(nn.initializers.normal, 0.1),
                 name='head')(state)

  def _linear(self, train: bool) -> jax.Array | bool:
    """Whether the softmax is left out, by the number of training steps so far."""
    if not self.linear:
      return False
    steps = self.variable('steps', 'count', jnp.zeros, (), jnp.int32)
    linear = steps.value < self.linear
    if train and not self.is_initializing():
      steps.value += 1
    return linear


def _encoded(words: jax.Array, tokens: jax.Array) -> jax.Array:
  """Sentences by the embeddings of their words and their positions (equation 4).

  Args:
    words: `[tables, vocabulary, width]`.
    tokens: int `[..., words]`, 0 for padding.

  Returns:
    `[tables, ..., width]`.
  """
  real = (tokens > 0)[..., None]
  count = jnp.maximum(real.sum(-2, keepdims=True), 1)  # words of a sentence
  place = jnp.arange(1, tokens.shape[-1] + 1)[:, None] / count
  feature = jnp.arange(1, words.shape[-1] + 1) / words.shape[-1]
  weights = jnp.where(real, 1 - place - feature * (1 - 2 * place), 0.0)
  found = jnp.take(words, tokens.astype(jnp.int32), axis=1, mode='clip')
  return jnp.einsum('t...wd,...wd->t...d', found, weights.astype(found.dtype))
