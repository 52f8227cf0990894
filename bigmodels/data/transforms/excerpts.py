"""Random parts of long sequences."""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import Batch, check_range, inputs_of


def excerpt(batch: Batch, key: jax.Array, *, length: int, context: int = 0) -> Batch:
  """Cuts a random part out of each sequence, with what precedes it as context.

  `batch['inputs']` `[batch, size, ...]` becomes `[batch, context + length, ...]`, with
  the column `weights` float32 `[batch, context + length]`: 1 where a step is to be
  predicted, 0 for the context and for padding. An excerpt whose context would begin
  before the sequence begins with it, and predicts all of its steps. Shorter inputs are
  not cut. `lengths` int `[batch]`, the steps that are not padding, become those of the
  excerpt.

  Args:
    batch: with `inputs`, and `lengths` if some of it is padding.
    key: PRNG key.
    length: number of steps to predict.
    context: number of steps before them, such as the receptive field of a model.

  Raises:
    ValueError: for a length below 1, or a negative context.
  """
  inputs = inputs_of(batch, 'excerpt')
  check_range('excerpt', 1, length=length)
  check_range('excerpt', 0, context=context)
  rows, size = inputs.shape[:2]
  lengths = batch.get('lengths')
  lengths = jnp.full(rows, size) if lengths is None else lengths.astype(jnp.int32)
  window = min(size, context + length)
  choices = jnp.maximum(lengths - length, 0) + 1
  first = (jax.random.uniform(key, (rows,)) * choices).astype(jnp.int32)
  start = jnp.clip(first - context, 0, size - window)
  at = start[:, None] + jnp.arange(window)
  index = at.reshape(rows, window, *[1] * (inputs.ndim - 2))
  after = jnp.where(start == 0, 0, first)[:, None]
  return {**batch, 'lengths': jnp.clip(lengths - start, 0, window),
          'inputs': jnp.take_along_axis(inputs, index, 1),
          'weights': ((at >= after) & (at < lengths[:, None])).astype(jnp.float32)}
