"""Multi-head self-attention and cross-attention, with masks and a cache.

Vaswani et al., *Attention is all you need*, 2017. Several query heads can share a key
and value head: Shazeer, *Fast transformer decoding*, 2019 (multi-query) and Ainslie et
al., *GQA*, 2023 (grouped-query).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.core import target
from bigmodels.layers.cpu import attention as cpu
from bigmodels.layers.dense import Dense
from bigmodels.layers.positions import rotary
from bigmodels.layers.tpu import attention as tpu


def attend(query: jax.Array, key: jax.Array, value: jax.Array, *,
           mask: jax.Array | None = None,
           segments: tuple[jax.Array, jax.Array] | None = None, causal: bool = False,
           dropout: float = 0.0, dropout_key: jax.Array | None = None) -> jax.Array:
  """Scaled dot-product attention, softmax in float32.

  It is `jax.nn.dot_product_attention` with dropout, and with another implementation on
  a CPU. A fused kernel is used for half precision and no dropout: on a GPU without any
  mask except the causal one, on a TPU (bfloat16, lengths in multiples of 128, heads in
  multiples of 64) also with segments.

  Args:
    query: `[batch, queries, heads, width]`.
    key, value: `[batch, keys, kv heads, width]`.
    mask: bool `[batch, 1 or heads, queries or 1, keys]`, True where a query
      attends to a key. A query without any key gets the mean of all values.
    segments: of queries and keys, int `[batch, queries]` and `[batch, keys]`; a query
      attends only to keys of its own segment, and none of segment 0. What a query of
      segment 0 gets depends on the form.
    causal: whether query i attends only to the keys up to i.
    dropout: rate of dropout of the weights.
    dropout_key: PRNG key for dropout; None for no dropout.

  Returns:
    `[batch, queries, heads, width]`.

  Raises:
    ValueError: if the number of heads is not a multiple of the number of key heads.
  """
  heads, kv_heads = query.shape[2], key.shape[2]
  if heads % kv_heads:
    raise ValueError(f'heads: must be a multiple of {kv_heads}, the heads of the keys, '
                     f'got {heads}')
  platform = target.platform()
  if (platform == 'tpu' and mask is None and dropout_key is None
      and tpu.fits(query, key)):
    return tpu.attend(query, key, value, segments=segments, causal=causal)
  if segments is not None:
    same = same_segment(*segments)
    mask = same if mask is None else mask & same
  if dropout_key is not None or platform == 'cpu':
    return cpu.attend(query, key, value, mask=mask, causal=causal, dropout=dropout,
                      dropout_key=dropout_key)
  # cuDNN 9 is fastest if lengths are a multiple of the tile.
  fused = (platform == 'gpu' and mask is None
           and query.dtype in (jnp.bfloat16, jnp.float16)
           and query.shape[-1] in (64, 128)
           and query.shape[1] % 64 == key.shape[1] % 64 == 0)
  return jax.nn.dot_product_attention(
    query, key, value, mask=mask, is_causal=causal,
    implementation='cudnn' if fused else 'xla')


def same_segment(queries: jax.Array, keys: jax.Array) -> jax.Array:
  """The mask for sequences with several documents, or padding.

  Args:
    queries: segments of the queries, int `[batch, queries]`.
    keys: segments of the keys, int `[batch, keys]`; 0 is padding, which is masked.

  Returns:
    bool `[batch, 1, queries, keys]`.
  """
  keys = keys[:, None, None, :]
  return (queries[:, None, :, None] == keys) & (keys > 0)


class Attention(nn.Module):
  """Multi-head attention with projections of queries, keys, values and the output.

  Attributes:
    heads: number of query heads, which divides the width.
    kv_heads: number of key and value heads, which divides `heads`. None is the same
      number, 1 is multi-query attention, others are grouped-query attention.
    causal: whether a token attends only to itself and the tokens before it.
    rotary: base of rotary positions, see `positions.rotary`; None for none.
    use_bias: whether the projections have biases.
    dropout: rate of dropout, in training, of the weights.
    kernel_init: makes the initializer of the projections of queries, keys and values.
    out_init: makes the initializer of the output projection.
  """

  heads: int
  kv_heads: int | None = None
  causal: bool = False
  rotary: float | None = None
  use_bias: bool = True
  dropout: float = 0.0
  kernel_init: Callable = nn.initializers.glorot_uniform
  out_init: Callable = nn.initializers.glorot_uniform

  def __post_init__(self):
    if self.heads < 1:
      raise ValueError(f'heads: must be >= 1, got {self.heads}')
    if self.kv_heads is not None and (
        self.kv_heads < 1 or self.heads % self.kv_heads):
      raise ValueError(f'kv_heads: must divide the {self.heads} heads, got '
                       f'{self.kv_heads}')
    if not 0 <= self.dropout < 1:
      raise ValueError(f'dropout: must be >= 0 and < 1, got {self.dropout}')
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, memory: jax.Array | None = None, *,
               segments: jax.Array | None = None,
               memory_segments: jax.Array | None = None,
               positions: jax.Array | None = None, decode: int = 0,
               train: bool) -> jax.Array:
    """`[batch, length, width]` -> the same shape.

    Args:
      x: input of the queries, `[batch, length, width]`.
      memory: input of keys and values, `[batch, memory length, width]`; None for x. If
        it has fewer rows than x, each is shared by the same number of consecutive rows
        of x, and `segments` must be None.
      segments: int `[batch, length]`; a token attends only to tokens of its own
        segment, and none attends to segment 0. If None, a row is one document.
      memory_segments: segments of the memory, int `[batch, memory length]`; without
        `segments`, every token attends to all segments except 0.
      positions: int `[batch, length]`, required by rotary positions.
      decode: if not 0, keys and values are kept in a cache of this many tokens for
        later calls; those of a memory are kept from the first call. `segments` are then
        1, or 0 for padding. The caller counts the tokens: tokens beyond the size of the
        cache overwrite the last ones.
      train: whether to apply dropout.

    Raises:
      ValueError: if `heads` do not divide the width, rotary positions are missing or
        combined with a memory, the rows of the memory do not fit, or there are more
        tokens than the cache holds.
    """
    width = x.shape[-1]
    if width % self.heads:
      raise ValueError(f'heads: must divide the width, {width}, got {self.heads}')
    if self.rotary is not None and (positions is None or memory is not None):
      raise ValueError('rotary: needs the positions of x, and x as its own memory')
    if memory is None and 0 < decode < x.shape[1]:
      raise ValueError(f'decode: must be >= {x.shape[1]}, the tokens of this call, got '
                       f'{decode}')
    kv_heads = self.kv_heads or self.heads

    def project(name, source, heads):
      y = Dense(heads * (width // self.heads), use_bias=self.use_bias,
                kernel_init=self.kernel_init, name=name)(source)
      return y.reshape(*source.shape[:2], heads, width // self.heads)

    query = project('query', x, self.heads)
    kept = memory is not None and decode and self.has_variable('cache', 'keys')
    if kept:
      key, value = (self.get_variable('cache', name) for name in ('keys', 'values'))
    else:
      source = x if memory is None else memory
      key = project('key', source, kv_heads)
      value = project('value', source, kv_heads)
    if self.rotary is not None:
      query = rotary(query, positions, self.rotary)
      key = rotary(key, positions, self.rotary)
    mask, seen, causal = None, None, self.causal
    if memory is not None:
      if len(memory) != len(x):
        if len(x) % len(memory) or segments is not None:
          raise ValueError(f'memory: must have {len(x)} rows as x, or without segments '
                           f'a divisor of that, got {len(memory)}')
        query = query.reshape(len(memory), -1, *query.shape[2:])
      if decode and not kept:
        self.put_variable('cache', 'keys', key)
        self.put_variable('cache', 'values', value)
      if memory_segments is not None and segments is not None:
        seen = segments, memory_segments
      elif memory_segments is not None:
        mask = (memory_segments > 0)[:, None, None, :]
    elif decode:
      key, value, mask = self._remember(key, value, segments, decode)
      causal = False
    elif segments is not None:
      seen = segments, segments
    answer = attend(
      query, key, value, mask=mask, segments=seen, causal=causal,
      dropout=self.dropout * train,
      dropout_key=self.make_rng('dropout') if self.dropout and train else None)
    return Dense(width, use_bias=self.use_bias, kernel_init=self.out_init,
                 name='out')(answer.reshape(x.shape))

  def _remember(self, key, value, segments, size):
    """All keys and values so far, `[batch, size, ...]`, and the mask over them."""
    batch, length = key.shape[:2]
    segments = (jnp.ones((batch, length), jnp.int32) if segments is None else
                jnp.asarray(segments, jnp.int32))
    index = self.variable('cache', 'index', lambda: jnp.int32(0))
    found = []
    for name, new in (('keys', key), ('values', value), ('segments', segments)):
      old = self.variable('cache', name, jnp.zeros, (batch, size, *new.shape[2:]),
                          new.dtype)
      old.value = jax.lax.dynamic_update_slice_in_dim(
        old.value, new.astype(old.value.dtype), index.value, axis=1)
      found.append(old.value)
    key, value, known = found
    mask = (known > 0)[:, None, None, :]
    if self.causal:
      here = index.value + jnp.arange(length)
      mask = mask & (jnp.arange(size) <= here[:, None])
    index.value = index.value + length
    return key, value, mask
