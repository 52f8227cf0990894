"""A batch of recordings and their transcripts, for the tasks that write these."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.data import tokenizers

KEY = jax.random.PRNGKey(0)
TEXTS = ['ABBA', 'CA B', 'B', 'ACAC', '']
TOKENIZER = tokenizers.load(tokenizers.Characters(special=('pad',)).fit(TEXTS))


def batch(lengths=(30, 22, 9, 25, 14), more=0, masked=()):
  """Features of noise; the labels are of `TOKENIZER`."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(5, 30 + more, 6)).astype(np.float32)
  inputs[:, :30] = np.random.default_rng(1).normal(size=(5, 30, 6))
  labels = np.zeros((5, 5), np.uint16)
  for row, text in enumerate(TEXTS):
    labels[row, : len(text)] = TOKENIZER.encode(text)
  return {'inputs': jnp.asarray(inputs), 'lengths': jnp.asarray(lengths),
          'labels': jnp.asarray(labels),
          'mask': jnp.asarray(~np.isin(np.arange(5), masked), jnp.float32)}
