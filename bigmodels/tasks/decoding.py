"""From a model's logits to tokens: sampling with a cache, and beam search.

Nothing here knows a model: `advance` runs one. It is given a cache, None at first, and
the tokens that follow on those in it:

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
  """How a text is continued.

  Attributes:
    count: new tokens at most.
    temperature: logits are divided by it; 0 takes the likeliest token.
    top_k: draw from so many of the likeliest tokens only; None for all.
    top_p: draw from the fewest tokens whose probabilities add up to it; None for all.
    beams: hypotheses of a beam search; None for the task's default.
    penalty: for short hypotheses, see `beam_search`.
    stop: texts that end a continuation; they are no part of it.
    samples: texts that are wanted of every prompt; each is another call.
  """

  count: int = 256
  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None
  beams: int | None = None
  penalty: float = 0.6
  stop: tuple[str, ...] = ()
  samples: int = 1

  def __post_init__(self):
    for name, least in (
      ('count', 1), ('beams', 1), ('top_k', 1), ('samples', 1)):
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
      raise ValueError(f'samples: must be 1 with {why}, since all would be the same, '
                       f'got {self.samples}')
    if isinstance(self.stop, str) or not all(isinstance(s, str) for s in self.stop):
      raise ValueError(f"stop: must be texts, such as ('.',), got {self.stop!r}")
    if '' in self.stop:
      raise ValueError(f'stop: must be texts that are not empty, got {self.stop}')
    if (self.beams or 1) > 1:
      for name, legal in (('top_k', None), ('top_p', None), ('temperature', 1.0)):
        value = getattr(self, name)
        if value != legal:
          raise ValueError(f'{name}: must be {legal} with {self.beams} beams, which '
                           f'draw nothing, got {value}')

  @property
  def choice(self) -> dict[str, Any]:
    """The settings that `choose` and `generate` take."""
    return {'temperature': self.temperature, 'top_k': self.top_k, 'top_p': self.top_p}


class TooLong(ValueError):
  """A prompt and its continuation are longer than what a model can attend to.

  Attributes:
    room: tokens that there is room for after the prompt; may be 0 or negative.
  """

  def __init__(self, prompt: int, count: int, length: int):
    """Takes the numbers of `require_room`.

    Args:
      prompt: tokens of the prompt.
      count: tokens that are wanted after it.
      length: what the model can look at.
    """
    self.room = length - prompt + 1  # the last one is never read
    super().__init__(
      f'the prompt has {prompt:,} tokens and {count:,} are wanted after it; the model '
      f'can look at {length:,} (length), which leaves room for {self.room:,}'
      if self.room > 0 else
      f'the prompt has {prompt:,} tokens, the model can look at {length:,} (length)')


def require_room(prompt: int, count: int, length: int | None) -> None:
  """Refuses more tokens than a model can attend to.

  Args:
    prompt: tokens of the longest prompt.
    count: tokens that are wanted after it.
    length: what the model can look at; None for any number.

  Raises:
    TooLong: if that is less than all of them but the last, which is never read.
  """
  if length is not None and prompt + count - 1 > length:
    raise TooLong(prompt, count, length)


def before(text: str, stop: tuple[str, ...]) -> str:
  """The text up to where the first of the stops begins; all of it if none is there."""
  return text[: min((i for s in stop if (i := text.find(s)) >= 0), default=None)]


def choose(key: jax.Array, logits: jax.Array, *, temperature: float = 1.0,
           top_k: int | None = None, top_p: float | None = None) -> jax.Array:
  """A token for every example.

  Example i is drawn with `fold_in(key, i)`, however many there are. Of equal logits
  the first token counts as the likelier one.

  Args:
    key: of the draws.
    logits: `[batch, vocabulary]`.
    temperature: logits are divided by it; 0 takes the likeliest token.
    top_k: only so many of the likeliest are drawn from (Fan et al., 2018).
    top_p: of these, only the fewest likeliest whose probabilities add up to this (the
      nucleus of Holtzman et al., 2020); at least one is left.

  Returns:
    int32 `[batch]`.
  """
  logits = logits.astype(jnp.float32)
  if temperature == 0:
    return jnp.argmax(logits, -1).astype(jnp.int32)
  # Below the largest first: a small temperature must not make two infinities.
  logits = (logits - logits.max(-1, keepdims=True)) / temperature
  ids, some = None, top_p is not None and top_p < 1
  if top_k is not None or some:
    size = logits.shape[-1]
    logits, ids = lax.top_k(logits, min(top_k or size, size))  # likeliest first
  if some:
    reached = jnp.cumsum(jax.nn.softmax(logits), -1)[:, :-1]
    reached = jnp.pad(reached, ((0, 0), (1, 0)))  # by those before
    logits = jnp.where(reached < top_p, logits, -jnp.inf)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(logits)))
  drawn = jax.vmap(jax.random.categorical)(keys, logits)[:, None]
  drawn = drawn if ids is None else jnp.take_along_axis(ids, drawn, 1)
  return drawn[:, 0].astype(jnp.int32)


class _Text(NamedTuple):
  """The state of `generate`: `count` new tokens; the last is not yet read."""

  count: jax.Array
  last: jax.Array
  tokens: jax.Array
  lengths: jax.Array
  stopped: jax.Array


def generate(advance: Callable, tokens: jax.Array, segments: jax.Array, key: jax.Array,
             *, count: int, temperature: float = 1.0, top_k: int | None = None,
             top_p: float | None = None, stop_tokens: tuple[int, ...] = ()
             ) -> tuple[jax.Array, jax.Array]:
  """Continues prompts token by token; each prompt is read in one call, nothing twice.

  Call it inside `jax.jit`. It ends as soon as all examples have stopped.

  Args:
    advance: (cache, tokens `[batch, n]`, segments `[batch, n]`) -> logits `[batch, n,
      vocabulary]`, cache. The cache has to hold `n + count - 1` tokens.
    tokens: the prompts, int `[batch, n]`, filled up on the left.
    segments: int `[batch, n]`: 1, or 0 where it is filled up.
    key: the draws of token i come of `fold_in(key, i)`.
    count: new tokens at most.
    temperature, top_k, top_p: see `choose`.
    stop_tokens: each of which ends a text, and is no part of it.

  Returns:
    int32 `[batch, count]`, 0 behind the end of a text; and the lengths, int32
    `[batch]`.

  Raises:
    ValueError: for prompts of no tokens, or a `count` below 1.
  """
  batch, length = tokens.shape
  if not length:
    raise ValueError('tokens: must be at least one to begin with, got none')
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
  """Which axis of every array of a cache is the batch; -1 for none.

  Args:
    make_cache: (n) -> the cache of n examples, or of n times as many as there are;
      only its shapes are asked for.

  Raises:
    ValueError: for an array of which several axes grow with n.
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
    count: tokens of what runs.
    last: of them.
    running: sums of log probabilities; -inf where nothing runs.
    texts: of what runs, `[batch, beams, most]`.
    scores: of what has ended, best first; -inf where nothing has.
    ended: texts of that, `[batch, beams, most]`.
  """

  count: jax.Array
  last: jax.Array
  running: jax.Array
  texts: jax.Array
  scores: jax.Array
  ended: jax.Array

  @property
  def done(self) -> jax.Array:
    """Examples `[batch]` of which enough texts have ended."""
    return jnp.all(self.scores > -jnp.inf, 1)


def beam_search(advance: Callable, cache: Any, first: jax.Array, *, beams: int,
                count: int, end: int, penalty: float = 0.6, axes: Any = None
                ) -> tuple[jax.Array, jax.Array]:
  """The likeliest texts that a search of limited width finds.

  A text that ends is among the answers if it was one of the `beams` likeliest then;
  meanwhile so many go on, until as many have ended. At the last step those that still
  run compete as they are. A text's score is its log probability over
  `((5 + length) / 6) ** penalty` (Wu et al., 2016, equation 14 without coverage), the
  token that ends it counted. With one beam that is the text of the likeliest tokens.

  Args:
    advance: (cache, tokens `[rows, 1]`) -> logits `[rows, 1, vocabulary]`, cache. The
      first call has a row for every example, later ones `beams` for each, next to each
      other. What is in the cache and grows with the rows is repeated here.
    cache: of a row for every example, or None if the first call makes it.
    first: the token that begins every text, int `[batch]`; no part of the answer.
    beams: texts that are followed, and returned.
    count: tokens of a text at most, the one that ends it included.
    end: the token that ends a text.
    penalty: 0 prefers short texts as probability does, more makes up for length.
    axes: of the cache, from `batch_axes`; needed only if there is a cache.

  Returns:
    int32 `[batch, beams, count]`, best first, `end` from where a text ends; and the
    scores, float32 `[batch, beams]`, -inf where there are not so many texts.

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
    """One token more, of logits `[batch, beams, vocabulary]`; and of which beam."""
    vocabulary = logits.shape[-1]
    total = state.running[..., None] + jax.nn.log_softmax(logits.astype(jnp.float32))
    # At most one in each beam ends: of twice as many, enough go on.
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
    if beams == 1:  # which stays where it is
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
