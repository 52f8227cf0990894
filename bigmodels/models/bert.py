"""The bidirectional encoder, with three heads.

Devlin et al., *BERT: pre-training of deep bidirectional transformers*, 2019.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.activations import gelu
from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense, Embedding
from bigmodels.layers.pooling import mean_pool
from bigmodels.layers.positions import segment_positions
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models import hugging_face
from bigmodels.models.hugging_face import BLOCKS, Location, Published, Setting
from bigmodels.models.validation import (
  check_choices,
  check_heads,
  check_rates,
  check_sizes,
)

_NORM = partial(nn.LayerNorm, epsilon=1e-12, use_fast_variance=False)
_SMALL = partial(nn.initializers.truncated_normal, 0.02)


class Bert(nn.Module):
  """Embeddings of tokens, positions and sentence types, then blocks.

  The defaults are BERT base.

  Attributes:
    vocabulary: number of tokens.
    length: maximum number of tokens of a text.
    depth: number of blocks.
    width: width of every layer.
    heads: number of attention heads, which divides the width.
    hidden: width of the feed-forward layer; None is 4 times the width.
    types: number of sentence types, for tasks on pairs of sentences.
    dropout: rate of dropout of the embeddings and of the output of each sublayer.
    attention_dropout: rate of dropout of the attention weights.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  vocabulary: int
  length: int = 512
  depth: int = 12
  width: int = 768
  heads: int = 12
  hidden: int | None = None
  types: int = 2
  dropout: float = 0.1
  attention_dropout: float = 0.1
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'length', 'depth', 'width', 'hidden', 'types')
    check_heads(self)
    check_rates(self, 'dropout', 'attention_dropout')
    super().__post_init__()

  def setup(self):
    self.tokens = Embedding(self.vocabulary, self.width, _SMALL)
    self.positions = Embedding(self.length, self.width, _SMALL)
    self.sentences = Embedding(self.types, self.width, _SMALL)
    self.norm = _NORM()
    self.drop = nn.Dropout(self.dropout)
    block = partial(
      Block,
      attention=partial(Attention, self.heads, dropout=self.attention_dropout,
                        kernel_init=_SMALL, out_init=_SMALL),
      feed_forward=partial(FeedForward, self.hidden or 4 * self.width,
                           activation=gelu, kernel_init=_SMALL, out_init=_SMALL),
      norm=_NORM, norm_first=False, dropout=self.dropout)
    self.blocks = Stack(block, self.depth, self.remat, self.unroll)

  def __call__(self, tokens: jax.Array, *, segments: jax.Array | None = None,
               types: jax.Array | None = None, train: bool) -> jax.Array:
    """Tokens -> features, `[batch, length, width]`.

    Args:
      tokens: int `[batch, length]`.
      segments: int `[batch, length]`; a token attends only to its own segment, and 0 is
        padding. If None, a row is one text.
      types: sentence types, int `[batch, length]`; None for 0.
      train: whether to apply dropout.

    Raises:
      ValueError: for more tokens than `length`.
    """
    if tokens.shape[1] > self.length:
      raise ValueError(f'a text of {tokens.shape[1]:,} tokens is longer than the model '
                       f'accepts: {self.length:,} (length)')
    positions = jnp.arange(tokens.shape[1])[None] if segments is None else (
      segment_positions(segments))
    x = self.tokens(tokens) + self.positions(positions)
    x = x + self.sentences(jnp.zeros((1, 1), int) if types is None else types)
    x = self.drop(self.norm(x), deterministic=not train)
    return self.blocks(x, segments=segments, train=train)

  def logits(self, x: jax.Array) -> jax.Array:
    """Features `[..., width]` -> logits `[..., vocabulary]`, by the embeddings."""
    return self.tokens.logits(x)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters are in a file of BERT."""
    return _published(self, '', {}, 'Model', '', other=r'pooler\..*|cls\..*')


class MaskedBert(nn.Module):
  """The head for masked tokens; its last layer is tied to the embeddings.

  Attributes:
    encoder: the encoder of the tokens.
  """

  encoder: Bert

  @nn.compact
  def __call__(self, tokens: jax.Array, *, segments: jax.Array | None = None,
               masked_positions: jax.Array | None = None, train: bool) -> jax.Array:
    """Logits of the masked tokens, `[batch, masked, vocabulary]`.

    Args:
      tokens: int `[batch, length]`.
      segments: int `[batch, length]`, see `Bert`.
      masked_positions: positions of the tokens to predict, int `[batch, masked]`; None
        for all.
      train: whether to apply dropout.

    Raises:
      ValueError: for more tokens than the encoder's `length`.
    """
    x = self.encoder(tokens, segments=segments, train=train)
    if masked_positions is not None:
      x = jnp.take_along_axis(x, masked_positions[..., None], axis=1)
    x = gelu(Dense(x.shape[-1], kernel_init=_SMALL, name='transform')(x))
    logits = self.encoder.logits(_NORM(name='norm')(x))
    return logits + self.param('bias', nn.initializers.zeros, (logits.shape[-1],))

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters are in a file of BERT."""
    head = 'cls.predictions'
    return _published(
      self.encoder, 'encoder/', {
        **_dense('transform', f'{head}.transform.dense'),
        **hugging_face.norm('norm', f'{head}.transform.LayerNorm'),
        'bias': Location(f'{head}.bias')},
      'ForMaskedLM', 'fill-mask',
      copies={f'{head}.decoder.weight': 'embeddings.word_embeddings.weight',
              f'{head}.decoder.bias': f'{head}.bias'},
      other=r'pooler\..*|cls\.seq_relationship\..*',
      config={'tie_word_embeddings': Setting((True,), True, of='encoder/tokens/.*')})


class BertClassifier(nn.Module):
  """The head for classification of texts.

  Attributes:
    encoder: the encoder of the tokens.
    num_outputs: number of classes.
    pooling: 'first' takes the features of the first token, as published; 'mean'
      averages those of all tokens, which a small encoder learns more easily.
  """

  encoder: Bert
  num_outputs: int
  pooling: Literal['first', 'mean'] = 'first'

  def __post_init__(self):
    check_choices(self, pooling=('first', 'mean'))
    super().__post_init__()

  @nn.compact
  def __call__(self, tokens: jax.Array, *, segments: jax.Array | None = None,
               train: bool) -> jax.Array:
    """Logits of the classes, `[batch, num_outputs]`.

    Args:
      tokens: int `[batch, length]`.
      segments: int `[batch, length]`, see `Bert`; segment 0 is not averaged.
      train: whether to apply dropout.

    Raises:
      ValueError: for more tokens than the encoder's `length`.
    """
    x = self.encoder(tokens, segments=segments, train=train)
    x = x[:, 0] if self.pooling == 'first' else mean_pool(x, segments)
    x = nn.tanh(Dense(x.shape[-1], kernel_init=_SMALL, name='pooler')(x))
    x = nn.Dropout(self.encoder.dropout, deterministic=not train)(x)
    return Dense(self.num_outputs, kernel_init=_SMALL, name='head')(x)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters are in a file of BERT."""
    head = {**_dense('pooler', 'pooler.dense'), **_dense('head', 'classifier')}
    kind = ('ForSequenceClassification', 'text-classification')
    if self.pooling == 'first':
      return _published(self.encoder, 'encoder/', head, *kind)
    return _published(
      self.encoder, 'encoder/', {}, *kind, other=r'(pooler|classifier)\..*',
      unpublished={'(pooler|head)/.*': "published with pooling='first', here it is "
                                       f'{self.pooling!r}'})


class BertSpans(nn.Module):
  """The head for answers that are spans of a text.

  Attributes:
    encoder: the encoder of the tokens.
  """

  encoder: Bert

  @nn.compact
  def __call__(self, tokens: jax.Array, *, segments: jax.Array | None = None,
               types: jax.Array | None = None, train: bool) -> jax.Array:
    """Logits of the first and of the last token of the answer, `[batch, length, 2]`.

    Args:
      tokens: int `[batch, length]`.
      segments: int `[batch, length]`, see `Bert`.
      types: int `[batch, length]`, see `Bert`.
      train: whether to apply dropout.

    Raises:
      ValueError: for more tokens than the encoder's `length`.
    """
    x = self.encoder(tokens, segments=segments, types=types, train=train)
    return Dense(2, kernel_init=_SMALL, name='head')(x)

  @nn.nowrap
  def hugging_face(self) -> Published:
    """Where its parameters are in a file of BERT."""
    return _published(self.encoder, 'encoder/', _dense('head', 'qa_outputs'),
                      'ForQuestionAnswering', 'question-answering',
                      other=r'pooler\..*|cls\..*')


_dense = partial(hugging_face.dense, transposed=True)


def _published(encoder: Bert, prefix: str, head: dict[str, Location], kind: str,
               pipeline: str, *, copies: Mapping[str, str] = {}, other: str = '',
               config: Mapping[str, Setting] = {},
               unpublished: Mapping[str, str] = {}) -> Published:
  """An encoder whose parameters begin with `prefix`, and the head on top of it."""
  ours, theirs = f'{prefix}blocks/block', 'encoder.layer.{}'
  locations = {
    **{f'{prefix}{name}/embedding': Location(f'embeddings.{name_of}_embeddings.weight')
       for name, name_of in (('tokens', 'word'), ('positions', 'position'),
                             ('sentences', 'token_type'))},
    **hugging_face.norm(f'{prefix}norm', 'embeddings.LayerNorm'),
    **_dense(f'{ours}/attention/out', f'{theirs}.attention.output.dense'),
    **hugging_face.norm(f'{ours}/attention_norm',
                        f'{theirs}.attention.output.LayerNorm'),
    **_dense(f'{ours}/feed_forward/in', f'{theirs}.intermediate.dense'),
    **_dense(f'{ours}/feed_forward/out', f'{theirs}.output.dense'),
    **hugging_face.norm(f'{ours}/feed_forward_norm', f'{theirs}.output.LayerNorm')}
  for name in ('query', 'key', 'value'):
    locations |= _dense(f'{ours}/attention/{name}', f'{theirs}.attention.self.{name}')
  return Published(
    family='BERT', model_type='bert', architecture='Bert', head=kind,
    pipeline=pipeline, locations=locations | head,
    prefix='bert.', unprefixed=r'(cls|classifier|qa_outputs)\..*', copies=copies,
    buffers=r'embeddings\.(position_ids|token_type_ids)', other=other,
    config={
      'num_attention_heads': Setting((encoder.heads,), 12, of=BLOCKS),
      'hidden_act': Setting(hugging_face.GELU, 'gelu'),
      'layer_norm_eps': Setting((1e-12,), 1e-12),
      'position_embedding_type': Setting(('absolute',), 'absolute'),
      'is_decoder': Setting((False,), False, of=BLOCKS),
      'add_cross_attention': Setting((False,), False, of=BLOCKS), **config},
    unchecked={
      'vocab_size': encoder.vocabulary, 'max_position_embeddings': encoder.length,
      'type_vocab_size': encoder.types, 'num_hidden_layers': encoder.depth,
      'hidden_size': encoder.width,
      'intermediate_size': encoder.hidden or 4 * encoder.width,
      'hidden_dropout_prob': encoder.dropout,
      'attention_probs_dropout_prob': encoder.attention_dropout},
    spellings={'LayerNorm.gamma': 'LayerNorm.weight',
               'LayerNorm.beta': 'LayerNorm.bias'},
    unpublished=unpublished)
