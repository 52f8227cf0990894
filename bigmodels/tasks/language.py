"""Language modeling: the next token, or tokens that were masked."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.metrics import Mean
from bigmodels.tasks import decoding, streaming
from bigmodels.tasks.special_tokens import special_tokens
from bigmodels.tasks.task import (
  Columns,
  Task,
  apply,
  encode,
  init,
  score_tokens,
  token_weights,
)

_SHOWN = 4  # texts that are continued in the report
_BEGINNING = 32  # tokens of a text, of which the first half is given
_WRITTEN = 64  # tokens of a continuation
_WIDTH = 64  # prompts of a stream are padded to multiples of it


def next_token(model, *, tokenizer) -> Task:
  """The token that follows each token of a text.

  Metrics are averages over all tokens with a weight: the loss in nats per token,
  accuracy, and bits per byte of text. Bits per byte can be compared across tokenizers
  and with compressors.

  Args:
    model: Linen module, int `[batch, length]` -> logits `[batch, length, vocabulary]`.
    tokenizer: tokenizer of the training data; supplied by the run.
  """
  # Tokens of the model's vocabulary beyond the tokenizer's are never labels.
  byte_counts = jnp.asarray(tokenizer.byte_counts)
  columns = Columns(keywords=('segments',))

  def objective(params, model_state, batch, key, train):
    logits, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    labels = batch['labels'].astype(jnp.int32)
    logits = _logits(logits, labels, tokenizer)
    weights = token_weights(batch)
    value, means, outputs = score_tokens(logits, labels, weights)
    size = jnp.sum(byte_counts[labels] * weights)
    bits = Mean(means['loss'].total / math.log(2), size)
    return value, (model_state, {**means, 'bits_per_byte': bits}, outputs)

  end = tokenizer.special.get('end')
  length = getattr(getattr(model, 'model', model), 'length', None)

  @partial(jax.jit, static_argnames=(
    'count', 'temperature', 'top_k', 'top_p', 'stop_tokens'))
  def continue_texts(params, model_state, tokens, segments, key, *, count, **settings):
    def advance(cache, tokens, segments):
      return model.apply(
        {'params': params, **model_state, **(cache or {})}, tokens, segments=segments,
        decode=size, train=False, mutable=['cache'])

    size = tokens.shape[1] + count - 1  # the last one is never read
    return decoding.generate(advance, tokens, segments, key, count=count, **settings)

  @partial(jax.jit, static_argnames=('size', 'temperature', 'top_k', 'top_p'))
  def read(params, model_state, cache, tokens, segments, key, *, size, **choice):
    logits, cache = model.apply(
      {'params': params, **model_state, **(cache or {})}, tokens, segments=segments,
      decode=size, train=False, mutable=['cache'])
    return decoding.choose(key, logits[:, -1], **choice), cache

  # As in training, where an 'end' precedes each document.
  start = [] if end is None else [end]

  def encoded(prompts, settings):
    """The tokens of prompts, and those that end a text."""
    if (settings.beams or 1) > 1:
      raise UserError(f'--beams={settings.beams}: continuations are sampled; beam '
                      'search is for translation')
    texts = [np.append(start, encode(tokenizer, '--prompt', prompt))
             for prompt in prompts]
    if not all(map(len, texts)):
      raise UserError("--prompt='': this tokenizer has no 'end' to begin a text "
                      'with; give a prompt')
    # Only stop texts that are a token: others would stop at any 'unknown'.
    known = [(stop, encode(tokenizer, '--stop', stop)) for stop in settings.stop]
    stops = {int(ids[0]) for stop, ids in known
             if len(ids) == 1 and tokenizer.decode(ids) == stop}
    return texts, tuple(sorted({*stops, *start}))

  def stream(params, model_state, prompt, key, settings):
    (text,), stops = encoded([prompt], settings)
    decoding.require_room(len(text), settings.tokens, length)
    # Few widths, so that the turns of a conversation need few programs.
    width = -(-len(text) // _WIDTH) * _WIDTH
    if length is not None:
      width = max(len(text), min(width, length - settings.tokens + 1))
    ids = streaming.tokens(
      partial(read, params, model_state, size=width + settings.tokens - 1,
              **settings.choice),
      text.astype(np.int32), key, count=settings.tokens, width=width, stop_tokens=stops)
    return streaming.pieces(ids, tokenizer.decode, settings.stop)

  def generate(params, model_state, prompts, key, settings):
    texts, stops = encoded(prompts, settings)
    width = max(map(len, texts))
    decoding.require_room(width, settings.tokens, length)
    tokens = np.zeros((len(texts), width), np.int32)
    segments = np.zeros_like(tokens)
    for row, text in enumerate(texts):
      tokens[row, width - len(text):], segments[row, width - len(text):] = text, 1
    found, lengths = jax.device_get(continue_texts(
      params, model_state, tokens, segments, key, count=settings.tokens,
      stop_tokens=stops, **settings.choice))
    return [(decoding.before(tokenizer.decode(ids[:n]), settings.stop), int(n))
            for ids, n in zip(found, lengths, strict=True)]

  def samples(params, model_state, inputs, count):
    special = [*tokenizer.special.values()]
    texts = [ids[~np.isin(ids, special)][:_BEGINNING]
             for ids in np.asarray(inputs(plots.spread(count, _SHOWN)))]
    prompts = [tokenizer.decode(ids[: len(ids) // 2]) for ids in texts]
    prompts = [prompt for prompt in prompts if prompt]
    room = (length or math.inf) - _BEGINNING // 2 - len(special)
    if not prompts or room < 1:
      return {}
    found = generate(params, model_state, prompts, jax.random.PRNGKey(0),
                     decoding.Settings(tokens=int(min(_WRITTEN, room))))
    return {'Texts that the model continues': plots.Table(
      ('beginning', 'continuation'), [
        (prompt, text) for prompt, (text, _) in zip(prompts, found, strict=True)])}

  return Task(partial(init, model, columns), objective, columns.names,
              summarize=metrics.language, plots=plots.language, generate=generate,
              stream=stream, samples=samples)


def masked_token(model, *, tokenizer, rate: float = 0.15) -> Task:
  """The tokens that were masked (Devlin et al., *BERT*, 2019).

  A fraction of the tokens of each text is predicted, at least one: 80 % of these are
  replaced by the mask, 10 % by a random token, and 10 % are kept. Special tokens are
  not predicted. In training the choice is random; in an evaluation it depends only on
  the text.

  Args:
    model: Linen module, int `[batch, length]` and `masked_positions` `[batch, masked]`
      -> logits `[batch, masked, vocabulary]`.
    tokenizer: tokenizer of the training data, with a 'mask'; supplied by the run.
    rate: fraction of the tokens that are predicted.

  Raises:
    ValueError: for a tokenizer without 'mask', or a rate out of range.
  """
  mask, = special_tokens(tokenizer, 'mask', task='masked_token')
  if not 0 < rate < 1:
    raise ValueError(f'rate: must be > 0 and < 1, got {rate}')
  special = np.zeros(tokenizer.size, bool)
  special[list(tokenizer.special.values())] = True
  plain, = np.nonzero(~special)
  columns = Columns(keywords=('segments', 'masked_positions'))

  def masked(batch, key, train):
    tokens = jnp.asarray(batch['inputs'], jnp.int32)
    length = tokens.shape[1]
    draw = partial(jax.random.uniform, shape=tokens.shape)
    if not train:
      keys = jax.vmap(lambda text: jax.random.fold_in(
        jax.random.key(0), _hash(text)))(tokens)

      def draw(key):
        number = jax.random.bits(key, dtype=jnp.uint32)
        return jax.vmap(lambda own: jax.random.uniform(
          jax.random.fold_in(own, number), (length,)))(keys)

      key = jax.random.key(1)
    chosen, fate, other = (draw(jax.random.fold_in(key, i)) for i in range(3))
    if 'weights' in batch and 'segments' not in batch:
      # Padding at the end of a block is not attended to.
      batch = {**batch, 'segments': jnp.asarray(batch['weights'], jnp.int32)}
    there = ~jnp.asarray(special)[tokens]
    for name in ('segments', 'weights'):
      if name in batch:
        there &= batch[name] > 0
    most = max(1, round(rate * length))
    _, positions = jax.lax.top_k(jnp.where(there, chosen, -1.0), most)
    count = there.sum(1)
    asked = jnp.minimum(jnp.maximum(1, jnp.round(rate * count)), count)
    weights = (jnp.arange(most) < asked[:, None]) * batch['mask'][:, None]
    at = partial(jnp.take_along_axis, indices=positions, axis=1)
    labels, fate = at(tokens), at(fate)
    random = jnp.asarray(plain)[(at(other) * len(plain)).astype(jnp.int32)]
    new = jnp.where(fate < 0.8, mask, jnp.where(fate < 0.9, random, labels))
    new = jnp.where(weights > 0, new, labels)
    rows = jnp.arange(len(tokens))[:, None]
    return {**batch, 'inputs': tokens.at[rows, positions].set(new),
            'masked_positions': positions}, labels, weights.astype(jnp.float32)

  def objective(params, model_state, batch, key, train):
    mask_key, key = jax.random.split(key)
    batch, labels, weights = masked(batch, mask_key, train)
    logits, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    logits = _logits(logits, labels, tokenizer)
    value, means, outputs = score_tokens(logits, labels, weights)
    return value, (model_state, means, outputs)

  return Task(partial(init, model, columns), objective, ('inputs', 'segments'),
              summarize=metrics.language, plots=plots.language)


def _logits(logits: jax.Array, labels: jax.Array, tokenizer) -> jax.Array:
  if labels.ndim != 2:
    raise ValueError('language modeling needs labels [batch, length], the data has '
                     f'{labels.shape}')
  if logits.shape[:-1] != labels.shape:
    raise ValueError(f'language modeling needs logits {labels.shape} + vocabulary, '
                     f'the model gives {logits.shape}')
  if logits.shape[-1] < tokenizer.size:
    raise ValueError(f'language modeling needs logits of {tokenizer.size} tokens, the '
                     f'model gives {logits.shape[-1]}')
  return logits.astype(jnp.float32)


def _hash(tokens: jax.Array) -> jax.Array:
  """A uint32 that any two texts `[length]` rarely share."""
  def mix(found, token):
    return (found ^ token.astype(jnp.uint32)) * jnp.uint32(16777619), None  # FNV-1a

  return jax.lax.scan(mix, jnp.uint32(2166136261), tokens)[0]
