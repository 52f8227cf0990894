"""Attention whose scores never leave the chip: JAX's kernel for TPUs.

`jax.experimental.pallas.ops.tpu.splash_attention`: Dao et al., *FlashAttention*, 2022,
without the blocks that a causal mask excludes. XLA cannot partition a kernel, so each
device runs it for its examples and heads.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from bigmodels.core import target

# Of what the backward pass needs of the kernel, for `jax.checkpoint`'s policies.
NAME = 'attention'
_HEADS = PartitionSpec(target.BATCH_AXES, None, 'tensor', None)
_TOKENS = PartitionSpec(target.BATCH_AXES, None)
_BLOCKS = (512, 256, 128)  # of queries and keys; larger ones have less overhead


def fits(query: jax.Array, key: jax.Array) -> bool:
  """Whether the kernel takes these, `[batch, length, heads, width]`."""
  return (query.dtype == jnp.bfloat16 and query.shape[3] % 64 == 0
          and query.shape[1] % _BLOCKS[-1] == key.shape[1] % _BLOCKS[-1] == 0
          and target.divides(query.shape, _HEADS) and target.divides(key.shape, _HEADS))


def attend(query: jax.Array, key: jax.Array, value: jax.Array, *,
           segments: tuple[jax.Array, jax.Array] | None, causal: bool,
           interpret: bool = False) -> jax.Array:
  """`layers.attention.attend` without dropout, for what `fits`.

  Args:
    query: `[batch, queries, heads, width]`.
    key, value: `[batch, keys, kv heads, width]`.
    segments: int `[batch, queries]` and `[batch, keys]`; a query attends to the keys of
      its own segment.
    causal: whether query i attends only to the keys up to i.
    interpret: whether to run the kernel on the CPU, slowly.

  Returns:
    `[batch, queries, heads, width]`.
  """
  local = functools.partial(_attend, causal=causal, interpret=interpret)
  scaled = (query * query.shape[3]**-0.5).astype(query.dtype)
  return target.shard_map(
    local, (_HEADS, _HEADS, _HEADS, segments and (_TOKENS, _TOKENS)), _HEADS)(
      scaled, key, value, segments)


def _attend(query, key, value, segments, *, causal, interpret):
  """`attend` on one device."""
  # Here, because importing Pallas takes a second.
  from jax.experimental.pallas.ops.tpu import splash_attention as splash
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel,
    splash_attention_mask,
  )
  _, queries, heads, _ = query.shape
  mask = splash_attention_mask.CausalMask if causal else splash_attention_mask.FullMask
  rows, columns = (next(b for b in _BLOCKS if n % b == 0) for n in (
    queries, key.shape[1]))
  kernel = splash.make_splash_mha(
    splash_attention_mask.MultiHeadMask([mask((queries, key.shape[1]))] * heads),
    block_sizes=splash.BlockSizes(
      block_q=rows, block_kv=columns, block_q_dkv=rows, block_kv_dkv=columns,
      block_q_dq=rows, block_kv_dq=columns),
    head_shards=1, q_seq_shards=1, residual_checkpoint_name=NAME, interpret=interpret)
  ids = segments and splash_attention_kernel.SegmentIds(*segments)
  answer = jax.vmap(kernel)(*(x.swapaxes(1, 2) for x in (query, key, value)), ids)
  return answer.swapaxes(1, 2)
