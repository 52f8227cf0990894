"""From a model's logits to tokens: sampling with a cache, and beam search.

The functions here are independent of the model, which `advance` runs. It takes a cache,
None at first, and the tokens that follow those in the cache:

    def advance(cache, tokens, segments):
      logits, new = model.apply(
        {'params': params, **(cache or {})}, tokens, segments=segments,
        decode=prompt_length + count - 1, train=False, mutable=['cache'])
      return logits, new
"""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """Settings of text generation.

  Attributes:
    tokens: maximum number of new tokens.
    temperature: logits are divided by it; 0 takes the most likely token.
    top_k: sample only from this many of the most likely tokens; None for all.
    top_p: sample from the fewest tokens whose probabilities add up to it; None for all.
    beams: hypotheses of a beam search; None for the task's default.
    penalty: length penalty, see `beam_search`.
    stop: texts that end a continuation, and are not part of it.
    samples: number of texts to generate for each prompt, one call for each.
  """

  tokens: int = 256
  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  beams: int | None = None
  penalty: float = 0.6
  stop: tuple[str, ...] = ()
  samples: int = 1

  def __post_init__(self):
    for name, least in (
      ('tokens', 1), ('beams', 1), ('top_k', 1), ('samples', 1)):
      value = getattr(self, name)
      if value is not None and not isinstance(value, int | np.integer):
        raise ValueError(f'{name}: must be an integer, got {value!r}')
      if value is not None and value < least:
        raise ValueError(f'{name}: must be >= {least}, got {value}')
    for name in ('temperature', 'penalty', 'top_p'):
      value = getattr(self, name)
      if not isinstance(value, numbers.Real) and (name, value) != ('top_p', None):
        raise ValueError(f'{name}: must be a number, got {value!r}')
    for name in ('temperature', 'penalty'):
      value = getattr(self, name)
      if not 0 <= value < math.inf:  # neither is NaN
        raise ValueError(f'{name}: must be a number >= 0, got {value}')
    if self.top_p is not None and not 0 < self.top_p <= 1:
      raise ValueError(f'top_p: must be > 0 and <= 1, got {self.top_p}')
    if self.samples > 1 and ((self.beams or 1) > 1 or self.temperature == 0):
      why = 'temperature=0' if self.temperature == 0 else f'{self.beams} beams'
      raise ValueError(f'samples: must be 1 with {why}, since all texts would be '
                       f'equal, got {self.samples}')
    if isinstance(self.stop, str) or not all(isinstance(s, str) for s in self.stop):
      raise ValueError(f"stop: must be texts, such as ('.',), got {self.stop!r}")
    if '' in self.stop:
      raise ValueError(f'stop: must be texts that are not empty, got {self.stop}')
    if (self.beams or 1) > 1:
      for name, legal in (('top_k', None), ('top_p', None), ('temperature', 1.0)):
        value = getattr(self, name)
        if value != legal:
          raise ValueError(f'{name}: must be {legal} with {self.beams} beams, which '
                           f'do not sample, got {value}')

  @property
  def choice(self) -> dict[str, Any]:
    """The settings that `choose` and `generate` take."""
    return {'temperature': self.temperature, 'top_k': self.top_k, 'top_p': self.top_p}


class TooLong(ValueError):
  """A prompt and its continuation are longer than the model accepts.

  Attributes:
    room: number of tokens that fit after the prompt; may be 0 or negative.
  """

  def __init__(self, prompt: int, count: int, length: int):
    """See `require_room`.

    Args:
      prompt: number of tokens of the prompt.
      count: number of new tokens requested.
      length: maximum number of tokens that the model accepts.
    """
    self.room = length - prompt + 1  # the last one is never read
    super().__init__(
      f'the prompt has {prompt:,} tokens and {count:,} new tokens were requested; the '
      f"model's length is {length:,}, which leaves room for {self.room:,}"
      if self.room > 0 else
      f"the prompt has {prompt:,} tokens; the model's length is {length:,}")


def require_room(prompt: int, count: int, length: int | None) -> None:
  """Refuses more tokens than a model accepts.

  Args:
    prompt: number of tokens of the longest prompt.
    count: number of new tokens requested.
    length: maximum number of tokens that the model accepts; None for no limit.

  Raises:
    TooLong: if the tokens exceed it, not counting the last one, which is never read.
  """
  if length is not None and prompt + count - 1 > length:
    raise TooLong(prompt, count, length)


def before(text: str, stop: tuple[str, ...]) -> str:
  """The text before the first stop text; all of it if it contains none."""
  return text[: min((i for s in stop if (i := text.find(s)) >= 0), default=None)]


def choose(key: jax.Array, logits: jax.Array, *, temperature: float = 1.0,
           top_k: int | None = None, top_p: float | None = None) -> jax.Array:
  """Samples a token for each example.

  Example i is sampled with `fold_in(key, i)`, whatever the batch size. Among equal
  logits, the first token counts as the more likely one.

  Args:
    key: PRNG key.
    logits: `[batch, vocabulary]`.
    temperature: logits are divided by it; 0 takes the most likely token.
    top_k: sample only from this many of the most likely tokens (Fan et al., 2018).
    top_p: of these, keep only the fewest most likely ones whose probabilities add up to
      this (the nucleus of Holtzman et al., 2020); at least one is kept.

  Returns:
    int32 `[batch]`.
  """
  logits = logits.astype(jnp.float32)
  if temperature == 0:
    return jnp.argmax(logits, -1).astype(jnp.int32)
  # Subtract the largest first, so that a small temperature makes no infinities.
  logits = (logits - logits.max(-1, keepdims=True)) / temperature
  ids, some = None, top_p is not None and top_p < 1
  if top_k is not None or some:
    size = logits.shape[-1]
    logits, ids = lax.top_k(logits, min(top_k or size, size))  # most likely first
  if some:
    reached = jnp.cumsum(jax.nn.softmax(logits), -1)[:, :-1]
    reached = jnp.pad(reached, ((0, 0), (1, 0)))  # by the tokens before
    logits = jnp.where(reached < top_p, logits, -jnp.inf)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(logits)))
  sampled = jax.vmap(jax.random.categorical)(keys, logits)[:, None]
  sampled = sampled if ids is None else jnp.take_along_axis(ids, sampled, 1)
  return sampled[:, 0].astype(jnp.int32)


class _Text(NamedTuple):
  """The state of `generate`: `count` new tokens; the last one is not yet read."""

  count: jax.Array
  last: jax.Array
  tokens: jax.Array
  lengths: jax.Array
  stopped: jax.Array


def generate(advance: Callable, tokens: jax.Array, segments: jax.Array, key: jax.Array,
             *, count: int, temperature: float = 1.0, top_k: int | None = None,
             top_p: float | None = None, stop_tokens: tuple[int, ...] = ()
             ) -> tuple[jax.Array, jax.Array]:
  """Continues prompts token by token, with a cache.

  Each prompt is read in one call, and no token is read twice. Call this inside
  `jax.jit`. It returns as soon as all examples have stopped.

  Args:
    advance: (cache, tokens `[batch, n]`, segments `[batch, n]`) -> logits `[batch, n,
      vocabulary]`, cache. The cache must hold `n + count - 1` tokens.
    tokens: the prompts, int `[batch, n]`, padded on the left.
    segments: int `[batch, n]`: 1, or 0 for padding.
    key: PRNG key; token i is sampled with `fold_in(key, i)`.
    count: maximum number of new tokens.
    temperature, top_k, top_p: see `choose`.
    stop_tokens: tokens that end a text, and are not part of it.

  Returns:
    int32 `[batch, count]`, 0 after the end of a text; and the lengths, int32 `[batch]`.

  Raises:
    ValueError: for prompts of no tokens, or a `count` below 1.
  """
  batch, length = tokens.shape
  if not length:
    raise ValueError('tokens: must have at least one token, got none')
  if count < 1:
    raise ValueError(f'count: must be >= 1, got {count}')

  def add(text, logits):
    token = choose(jax.random.fold_in(key, text.count), logits[:, -1],
                   temperature=temperature, top_k=top_k, top_p=top_p)
    stopped = text.stopped | jnp.isin(token, jnp.array(stop_tokens, jnp.int32))
    token = jnp.where(stopped, 0, token)
    return _Text(text.count + 1, token, text.tokens.at[:, text.count].set(token),
                 text.lengths + ~stopped, stopped)

  def going(carry):
    text, _ = carry
    return (text.count < count) & ~jnp.all(text.stopped)

  def step(carry):
    text, cache = carry
    logits, cache = advance(cache, text.last[:, None], jnp.ones((batch, 1), jnp.int32))
    return add(text, logits), cache

  zeros = jnp.zeros(batch, jnp.int32)
  logits, cache = advance(None, tokens, segments)
  text = add(_Text(jnp.int32(0), zeros, jnp.zeros((batch, count), jnp.int32), zeros,
                   zeros > 0), logits)
  text, _ = lax.while_loop(going, step, (text, cache))
  return text.tokens, text.lengths


# --- beam search ----------------------------------------------------------------


def batch_axes(make_cache: Callable[[int], Any]) -> Any:
  """The batch axis of each array of a cache; -1 for none.

  Args:
    make_cache: (n) -> the cache of n examples, or of n times the batch size; only its
      shapes are used.

  Raises:
    ValueError: for an array with several axes that grow with n.
  """

  def axis(one, two):
    grown = [i for i, (a, b) in enumerate(zip(one.shape, two.shape, strict=True))
             if a != b]
    if len(grown) > 1:
      raise ValueError(f'a cache of {one.shape} for one batch and {two.shape} for two: '
                       'more than one axis is the batch')
    return grown[0] if grown else -1

  return jax.tree.map(axis, *(jax.eval_shape(lambda n=n: make_cache(n))
                              for n in (1, 2)))


class _Beams(NamedTuple):
  """The state of a beam search after `count` tokens; arrays are `[batch, beams]`.

  Attributes:
    count: number of tokens of the running hypotheses.
    last: their last tokens.
    running: their log probabilities; -inf where there is no hypothesis.
    texts: their tokens, `[batch, beams, most]`.
    scores: scores of the finished hypotheses, best first; -inf where there is none.
    ended: tokens of the finished hypotheses, `[batch, beams, most]`.
  """

  count: jax.Array
  last: jax.Array
  running: jax.Array
  texts: jax.Array
  scores: jax.Array
  ended: jax.Array

  @property
  def done(self) -> jax.Array:
    """Whether enough hypotheses of each example have finished, `[batch]`."""
    return jnp.all(self.scores > -jnp.inf, 1)


def beam_search(advance: Callable, cache: Any, first: jax.Array, *, beams: int,
                count: int, end: int, penalty: float = 0.6, axes: Any = None
                ) -> tuple[jax.Array, jax.Array]:
  """Finds the most likely texts by beam search.

  A hypothesis is finished if it ends while it is one of the `beams` most likely ones.
  The search continues with `beams` running hypotheses until `beams` have finished; at
  the last step, running hypotheses compete as well. A text's score is its log
  probability divided by `((5 + length) / 6) ** penalty` (Wu et al., 2016, equation 14
  without coverage); the length includes the token that ends it. One beam is greedy
  decoding.

  Args:
    advance: (cache, tokens `[rows, 1]`) -> logits `[rows, 1, vocabulary]`, cache. The
      first call has a row for each example; later calls have `beams` consecutive rows
      for each. Arrays of the cache that grow with the rows are repeated here.
    cache: a cache with a row for each example, or None if the first call makes it.
    first: the token that begins each text, int `[batch]`; not part of the result.
    beams: number of hypotheses, and of texts returned.
    count: maximum number of tokens of a text, including the one that ends it.
    end: the token that ends a text.
    penalty: length penalty; 0 favors short texts, larger values longer ones.
    axes: axes of the cache, from `batch_axes`; needed only with a cache.

  Returns:
    int32 `[batch, beams, count]`, best first, filled with `end` after the end of a
    text; and the scores, float32 `[batch, beams]`, -inf where there is no text.

  Raises:
    ValueError: for a cache without its `axes`, or one that `batch_axes` refuses.
  """
  batch = len(first)
  if axes is None:
    if cache is not None:
      raise ValueError('axes: must be those of the cache, see batch_axes')
    axes = batch_axes(
      lambda n: advance(None, jnp.zeros((n * batch, 1), jnp.int32))[1])

  def select(state, logits):
    """Adds a token by logits `[batch, beams, vocabulary]`; also returns its beam."""
    vocabulary = logits.shape[-1]
    total = state.running[..., None] + jax.nn.log_softmax(logits.astype(jnp.float32))
    # At most one candidate per beam ends, so twice as many leave enough running.
    best, indices = lax.top_k(total.reshape(batch, -1), 2 * beams)
    parents, tokens = indices // vocabulary, indices % vocabulary
    texts = _rows(state.texts, parents).at[:, :, state.count].set(tokens)
    length = state.count + 1
    ends = tokens == end
    counts = ends & (jnp.arange(2 * beams) < beams) & ~state.done[:, None]
    scores, ended = _merge(
      state.scores, state.ended,
      jnp.where(counts, best / _norm(length, penalty), -jnp.inf), texts)
    running, kept = lax.top_k(jnp.where(ends, -jnp.inf, best), beams)
    parents, tokens = _rows(parents, kept), _rows(tokens, kept)
    return _Beams(length, tokens, running, _rows(texts, kept), scores, ended), parents

  def going(carry):
    state, _ = carry
    runs = ~state.done & jnp.any(state.running > -jnp.inf, 1)
    return (state.count < count) & jnp.any(runs)

  def step(carry):
    state, cache = carry
    logits, cache = advance(cache, state.last.reshape(-1, 1))
    state, parents = select(state, logits[:, -1].reshape(batch, beams, -1))
    if beams == 1:  # there is nothing to reorder
      return state, cache
    rows = (jnp.arange(batch)[:, None] * beams + parents).reshape(-1)
    return state, jax.tree.map(
      lambda x, axis: x if axis < 0 else jnp.take(x, rows, axis), cache, axes)

  logits, cache = advance(cache, first[:, None].astype(jnp.int32))
  cache = jax.tree.map(
    lambda x, axis: x if axis < 0 else jnp.repeat(x, beams, axis), cache, axes)
  none = jnp.full((batch, beams), -jnp.inf)
  blank = jnp.full((batch, beams, count), end, jnp.int32)
  state = _Beams(jnp.int32(0), jnp.zeros((batch, beams), jnp.int32),
                 none.at[:, 0].set(0.0), blank, none, blank)
  state, _ = select(state, jnp.repeat(logits[:, -1:], beams, 1))
  state, _ = lax.while_loop(going, step, (state, cache))
  cut = jnp.where(state.done[:, None], -jnp.inf,
                  state.running / _norm(state.count, penalty))
  scores, texts = _merge(state.scores, state.ended, cut, state.texts)
  return texts, scores


def _norm(length, penalty):
  return ((5.0 + length) / 6.0) ** penalty


def _rows(array, index):
  """Rows `[batch, k, ...]` of `[batch, n, ...]` by an index `[batch, k]`."""
  return jax.vmap(lambda a, i: a[i])(array, index)


def _merge(scores, texts, others, other_texts):
  """The best of two sets of texts, as many as in the first."""
  best, kept = lax.top_k(jnp.concatenate([scores, others], 1), scores.shape[1])
  return best, _rows(jnp.concatenate([texts, other_texts], 1), kept)
