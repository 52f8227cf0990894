"""From the outputs of a CTC model to tokens: greedy, or by prefix beam search.

Token 0 is the blank. A search may be guided by an n-gram model of tokens.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_NEVER = -1e30  # a log probability; the difference of two is no NaN


def greedy(logits: jax.Array, lengths: jax.Array) -> jax.Array:
  """The tokens of the most likely alignment.

  Args:
    logits: `[batch, length, tokens]`.
    lengths: int `[batch]`, the outputs that are not padding.

  Returns:
    int32 `[batch, length]`, 0 after the last token.
  """
  best = jnp.argmax(logits, -1).astype(jnp.int32)
  before = jnp.pad(best, ((0, 0), (1, 0)))[:, :-1]
  real = jnp.arange(best.shape[1]) < lengths[:, None]
  return _compacted(best, real & (best != 0) & (best != before))


def _compacted(tokens: jax.Array, kept: jax.Array) -> jax.Array:
  """Moves the tokens that are kept to the left, `[batch, length]`."""
  order = jnp.argsort(~kept, axis=1, stable=True)
  return jnp.take_along_axis(jnp.where(kept, tokens, 0), order, 1)


class Ngrams(NamedTuple):
  """The log probabilities of a token after others; token 0 begins and ends a text.

  Attributes:
    table: float32 `[tokens ** (order - 1), tokens]`; rows are histories, the number of
      their tokens as digits, the last one the lowest.
    order: number of tokens of a history and the next one.
  """

  table: np.ndarray
  order: int


MOST = 2**24  # values of a table


def ngrams(counts: Mapping[str, int], order: int, tokens: int) -> Ngrams:
  """An n-gram model with Witten-Bell smoothing.

  Witten and Bell, *The zero-frequency problem*, 1991, in the interpolated form of Chen
  and Goodman, 1998: `p(c | h) = (n(h c) + t(h) p(c | h')) / (n(h) + t(h))`, where t is
  the number of tokens that follow h, and h' is h without its first token. Below the
  first order it is uniform.

  Args:
    counts: tokens, as '3 1 4' -> how often they occur, of 1 to `order` tokens. Texts
      begin with `order - 1` zeros and end with one.
    order: length of the longest sequence of tokens.
    tokens: number of tokens.

  Raises:
    ValueError: if the table would be too large.
  """
  if tokens**order > MOST:
    raise ValueError(f'order: {tokens:,} tokens allow at most '
                     f'{int(np.log(MOST) / np.log(tokens))}, got {order}')
  table = np.full((1, tokens), 1 / tokens)
  for size in range(1, order + 1):
    found = np.zeros((tokens ** (size - 1), tokens))
    for key, count in counts.items():
      ids = [*map(int, key.split())]
      if len(ids) == size:
        found.reshape(-1)[np.polyval(ids, tokens)] = count
    if size > 1:  # the histories of this size end in those of the size before
      table = np.tile(table, (tokens, 1))
    total = found.sum(1, keepdims=True)
    kinds = np.count_nonzero(found, 1)[:, None]
    table = np.where(total > 0, (found + kinds * table) / np.maximum(
      total + kinds, 1), table)
  return Ngrams(np.log(table).astype(np.float32), order)


class _Beams(NamedTuple):
  """Prefixes of one example after some outputs; arrays are `[beams]`.

  Attributes:
    tokens: the prefixes, `[beams, length]`, 0 after the last token.
    sizes: their lengths.
    blank, other: log probabilities of their alignments that end in a blank, or not.
    extra: what the n-grams and the bonus add to their scores.
    history: row of `Ngrams.table`.
  """

  tokens: jax.Array
  sizes: jax.Array
  blank: jax.Array
  other: jax.Array
  extra: jax.Array
  history: jax.Array

  @property
  def scores(self) -> jax.Array:
    """What prefixes are ranked by."""
    return jnp.logaddexp(self.blank, self.other) + self.extra


def prefix_beams(logits: jax.Array, lengths: jax.Array, *, beams: int,
                 model: Ngrams | None = None, weight: float = 0.0, bonus: float = 0.0
                 ) -> tuple[jax.Array, jax.Array]:
  """The most likely texts by prefix beam search.

  Hannun et al., *First-pass large vocabulary continuous speech recognition using
  bi-directional recurrent DNNs*, 2014. The score of a text is its log probability, over
  all its alignments that the search keeps, plus `weight` times that of the n-grams,
  plus `bonus` for each token.

  Args:
    logits: `[batch, length, tokens]`.
    lengths: int `[batch]`, the outputs that are not padding.
    beams: number of prefixes that are kept.
    model: n-grams, or None.
    weight: weight of the n-grams.
    bonus: added for each token; n-grams alone favor short texts.

  Returns:
    int32 `[batch, beams, length]`, best first, 0 after the last token; and their
    scores, float32 `[batch, beams]`.
  """
  _, length, tokens = logits.shape
  logs = jax.nn.log_softmax(logits.astype(jnp.float32))
  table = jnp.zeros((1, tokens)) if model is None else jnp.asarray(model.table)
  never = jnp.full(beams, _NEVER)
  start = _Beams(
    jnp.zeros((beams, length), jnp.int32), jnp.zeros(beams, jnp.int32),
    never.at[0].set(0.0), never, jnp.zeros(beams), jnp.zeros(beams, jnp.int32))

  def step(state: _Beams, logs: jax.Array) -> _Beams:
    """Reads one output: every prefix stays, or is extended by a token."""
    sizes, rows = state.sizes, jnp.arange(beams)
    last = jnp.where(sizes > 0, state.tokens[rows, jnp.maximum(sizes - 1, 0)], -1)
    both = jnp.logaddexp(state.blank, state.other)
    # The tokens of an extension that repeats the last one need a blank between.
    grown = jnp.where(jnp.arange(tokens) == last[:, None], state.blank[:, None],
                      both[:, None]) + logs
    grown = grown.at[:, 0].set(_NEVER)
    # An extension of k that is itself among the prefixes, j, is added to j.
    before = state.tokens.at[rows, jnp.maximum(sizes - 1, 0)].set(0)
    parent = (sizes[:, None] == sizes + 1) & (
      before[:, None] == state.tokens[None]).all(-1)  # [j, k]
    parent &= both > _NEVER / 2
    from_parent = jnp.where(parent, grown[:, jnp.maximum(last, 0)].T, _NEVER)
    repeat = jnp.where(last >= 0, state.other + logs[jnp.maximum(last, 0)], _NEVER)
    stay = state._replace(
      blank=both + logs[0],
      other=jax.nn.logsumexp(jnp.concatenate([repeat[:, None], from_parent], 1), 1))
    is_prefix = (parent[..., None] & (
      last[:, None, None] == jnp.arange(tokens))).any(0)  # [k, token]
    grown = jnp.where(is_prefix, _NEVER, grown)
    extra = state.extra[:, None] + weight * table[state.history] + bonus
    ranked = jnp.concatenate([stay.scores, (grown + extra).reshape(-1)])
    _, chosen = lax.top_k(ranked, beams)
    kept = chosen < beams
    which = jnp.where(kept, chosen, (chosen - beams) // tokens)
    token = jnp.where(kept, 0, (chosen - beams) % tokens)
    taken = jax.tree.map(lambda x: x[which], stay)
    at = jnp.minimum(taken.sizes, length - 1)
    return _Beams(
      jnp.where(kept[:, None], taken.tokens, taken.tokens.at[rows, at].set(token)),
      taken.sizes + ~kept,
      jnp.where(kept, taken.blank, _NEVER),
      jnp.where(kept, taken.other, grown[which, token]),
      jnp.where(kept, taken.extra, extra[which, token]),
      jnp.where(kept, taken.history, (taken.history * tokens + token) % len(table)))

  def search(logs, count):
    def body(state, at):
      logs, real = at
      new = step(state, logs)
      return jax.tree.map(lambda n, o: jnp.where(real, n, o), new, state), None

    state, _ = lax.scan(body, start, (logs, jnp.arange(length) < count))
    end = weight * table[state.history, 0] if model is not None else 0.0
    scores, order = lax.top_k(state.scores + end, beams)
    return state.tokens[order], scores

  return jax.vmap(search)(logs, lengths)
