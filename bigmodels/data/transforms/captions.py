"""A caption for each image, of several."""

import jax
import jax.numpy as jnp

from bigmodels.data.transforms.images import Batch

_COLUMNS = ('captions', 'caption_segments', 'caption_groups')


def one_caption(batch: Batch, key: jax.Array) -> Batch:
  """Draws one of the captions of each image, all of them with equal probability.

  Args:
    batch: `captions` and `caption_segments`, int `[batch, captions, length]`, and
      `caption_groups`, int `[batch, captions]`, -1 for no caption; see
      `data.CaptionedImages`.
    key: PRNG key.

  Raises:
    ValueError: for a batch without captions.
  """
  if 'caption_groups' not in batch:
    raise ValueError(f'one_caption: needs captions, the data has {", ".join(batch)}')
  there = batch['caption_groups'] >= 0
  draws = jax.random.uniform(key, there.shape)
  chosen = jnp.where(there, draws, -1.0).argmax(1)
  return {**batch, **{name: jnp.take_along_axis(
    batch[name], chosen.reshape(-1, *[1] * (batch[name].ndim - 1)), 1)
    for name in _COLUMNS}}
