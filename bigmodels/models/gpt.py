"""The decoder-only transformer: GPT-2, and later variants.

Radford et al., *Language models are unsupervised multitask learners* (GPT-2), 2019.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense, Embedding
from bigmodels.layers.positions import NextPositions, segment_positions
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models import hugging_face
from bigmodels.models.hugging_face import BLOCKS, Location, Published, Setting
from bigmodels.models.validation import (
  check_choices,
  check_heads,
  check_positive,
  check_rates,
  check_sizes,
)

_NORM = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)


class Gpt(nn.Module):
  """Token and position embeddings, blocks, a norm, and a logit for every token.

  The defaults are GPT-2 with 124 million parameters.

  Attributes:
    vocabulary: number of tokens.
    length: maximum number of tokens of a text.
    depth: number of blocks.
    width: width of the residual stream.
    heads: number of attention heads, which divides the width.
    kv_heads: number of key and value heads, see `Attention`.
    hidden: width of the feed-forward layer; None is 4 times the width, or if gated, the
      multiple of 64 with about the same number of parameters.
    positions: 'learned', or 'rotary' (`rotary_base`).
    rotary_base: see `layers.positions.rotary`.
    norm: makes a normalization.
    activation: activation of the feed-forward layer.
    gated: see `FeedForward`.
    use_bias: whether dense layers have biases; `norm` determines the biases of norms.
    tied: whether the last layer's weights are the token embeddings.
    dropout: rate of dropout of the embeddings and of the output of each sublayer.
    attention_dropout: rate of dropout of the attention weights.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  vocabulary: int
  length: int = 1024
  depth: int = 12
  width: int = 768
  heads: int = 12
  kv_heads: int | None = None
  hidden: int | None = None
  positions: Literal['learned', 'rotary'] = 'learned'
  rotary_base: float = 10_000.0
  norm: Callable[..., nn.Module] = _NORM
  activation: Callable = nn.gelu
  gated: bool = False
  use_bias: bool = True
  tied: bool = True
  dropout: float = 0.0
  attention_dropout: float = 0.0
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'length', 'depth', 'width', 'hidden')
    check_heads(self)
    if self.kv_heads is not None and (
        self.kv_heads < 1 or self.heads % self.kv_heads):
      raise ValueError(f'kv_heads: must divide the {self.heads} heads, got '
                       f'{self.kv_heads}')
    check_choices(self, positions=('learned', 'rotary'))
    check_positive(self, 'rotary_base')
    check_rates(self, 'dropout', 'attention_dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, tokens: jax.Array, *, segments: jax.Array | None = None,
               decode: int = 0, train: bool) -> jax.Array:
    """Logits of the next tokens, `[batch, length, vocabulary]`.

    Args:
      tokens: int `[batch, length]`; the logits at i predict the token at i + 1.
      segments: int `[batch, length]`; a token attends only to its own segment, its
        position is counted from the beginning of the segment, and 0 is padding. If
        None, a row is one text.
      decode: if not 0, the tokens follow those in the cache, which holds this many
        tokens; see `Attention`.
      train: whether to apply dropout.

    Raises:
      ValueError: for more tokens than `length`.
    """
    if max(tokens.shape[1], decode) > self.length:
      raise ValueError(f'a text of {max(tokens.shape[1], decode):,} tokens is longer '
                       f'than the model accepts: {self.length:,} (length)')
    small = partial(nn.initializers.normal, 0.02)
    # The variance of the residual stream should not grow with the depth.
    last = partial(nn.initializers.normal, 0.02 / (2 * self.depth) ** 0.5)
    if decode:
      positions = NextPositions(name='next_positions')(tokens, segments)
    else:
      positions = jnp.arange(tokens.shape[1])[None] if segments is None else (
        segment_positions(segments))
    embedding = Embedding(self.vocabulary, self.width, small, name='tokens')
    x = embedding(tokens)
    if self.positions == 'learned':
      x = x + Embedding(self.length, self.width, small, name='positions')(positions)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    block = partial(
      Block,
      attention=partial(
        Attention, self.heads, kv_heads=self.kv_heads, causal=True,
        rotary=self.rotary_base if self.positions == 'rotary' else None,
        use_bias=self.use_bias, dropout=self.attention_dropout, kernel_init=small,
        out_init=last),
      feed_forward=partial(
        FeedForward, self.hidden or _hidden(self.width, self.gated),
        activation=self.activation, gated=self.gated, use_bias=self.use_bias,
        kernel_init=small, out_init=last),
      norm=self.norm, dropout=self.dropout)
    x = Stack(block, self.depth, self.remat, self.unroll, name='blocks')(
      x, segments=segments, positions=positions, decode=decode, train=train)
    x = self.norm(name='norm')(x)
    if self.tied:
      return embedding.logits(x)
    return Dense(self.vocabulary, use_bias=False, kernel_init=small, name='head')(x)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters are in a file of GPT-2.

    Raises:
      ValueError: if the model is not GPT-2.
    """
    for name, published in (('positions', 'learned'), ('gated', False),
                            ('use_bias', True), ('activation', nn.gelu)):
      if getattr(self, name) != published:
        raise ValueError(f'{name}: must be {published} for GPT-2, got '
                         f'{getattr(self, name)}')
    if self.kv_heads not in (None, self.heads):
      raise ValueError(f'kv_heads: must be {self.heads} for GPT-2, got {self.kv_heads}')
    norm = self.norm()
    if not isinstance(norm, nn.LayerNorm):
      raise ValueError(f'norm: must be a LayerNorm for GPT-2, got '
                       f'{type(norm).__name__}')
    dense = partial(hugging_face.dense, transposed=False)
    ours, theirs = 'blocks/block', 'h.{}'
    locations = {
      'tokens/embedding': Location('wte.weight'),
      'positions/embedding': Location('wpe.weight'),
      **hugging_face.norm(f'{ours}/attention_norm', f'{theirs}.ln_1'),
      **dense(f'{ours}/attention/out', f'{theirs}.attn.c_proj'),
      **hugging_face.norm(f'{ours}/feed_forward_norm', f'{theirs}.ln_2'),
      **dense(f'{ours}/feed_forward/in', f'{theirs}.mlp.c_fc'),
      **dense(f'{ours}/feed_forward/out', f'{theirs}.mlp.c_proj'),
      **hugging_face.norm('norm', 'ln_f')}
    for part, name in enumerate(('query', 'key', 'value')):
      locations |= dense(f'{ours}/attention/{name}', f'{theirs}.attn.c_attn', part=part,
                      parts=3)
    if not self.tied:
      locations['head/kernel'] = Location('lm_head.weight', transposed=True)
    return Published(
      family='GPT-2', model_type='gpt2', architecture='GPT2', head='LMHeadModel',
      pipeline='text-generation', locations=locations,
      prefix='transformer.', unprefixed=r'lm_head\..*',
      copies={'lm_head.weight': 'wte.weight'},
      buffers=r'h\.\d+\.attn\.(bias|masked_bias)', other='',
      config={
        'n_head': Setting((self.heads,), 12, 'num_attention_heads', BLOCKS),
        'activation_function': Setting(
          hugging_face.GELU_TANH, 'gelu_new', of=BLOCKS),
        'layer_norm_epsilon': Setting((norm.epsilon,), 1e-5),
        'scale_attn_weights': Setting((True,), True, of=BLOCKS),
        'scale_attn_by_inverse_layer_idx': Setting((False,), False, of=BLOCKS),
        'add_cross_attention': Setting((False,), False, of=BLOCKS),
        'tie_word_embeddings': Setting(
          (True,) if self.tied else (False, True), True, of='tokens/.*')},
      unchecked={
        'vocab_size': self.vocabulary, 'n_positions': self.length,
        'n_layer': self.depth, 'n_embd': self.width,
        'n_inner': self.hidden or _hidden(self.width, self.gated),
        'embd_pdrop': self.dropout, 'resid_pdrop': self.dropout,
        'attn_pdrop': self.attention_dropout})


# Rotary positions, RMSNorm, SwiGLU, no biases, as in Touvron et al., *LLaMA*, 2023, and
# most later models; `kv_heads` sets grouped-query attention.
ModernGpt = partial(
  Gpt, positions='rotary', norm=partial(nn.RMSNorm, epsilon=1e-5), activation=nn.silu,
  gated=True, use_bias=False, tied=False)


def _hidden(width: int, gated: bool) -> int:
  return 4 * width if not gated else -(-8 * width // (3 * 64)) * 64
