"""Text that is given while it is generated."""

from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.tasks import decoding

_PART = '\ufffd'  # what a decoder makes of a part of a character


def tokens(read: Callable, prompt: np.ndarray, key: jax.Array, *, count: int,
           width: int, stop_tokens: tuple[int, ...] = ()) -> Iterator[int]:
  """Yields the tokens that `decoding.generate` gives, one after the other.

  Args:
    read: (cache, tokens `[1, n]`, segments `[1, n]`, key) -> the next token `[1]`,
      cache; the cache is None at first, and must hold `width + count - 1` tokens.
    prompt: tokens, int `[n]`.
    key: PRNG key; token i is sampled with `fold_in(key, i)`.
    count: maximum number of new tokens.
    width: the prompt is padded to this many tokens, so that prompts of several lengths
      need one program.
    stop_tokens: tokens that end the text, and are not part of it.
  """
  given = np.zeros((1, width), np.int32)
  segments = np.zeros_like(given)
  given[0, width - len(prompt) :], segments[0, width - len(prompt) :] = prompt, 1
  token, cache = read(None, given, segments, jax.random.fold_in(key, 0))
  one = jnp.ones((1, 1), jnp.int32)
  for index in range(1, count + 1):
    found = int(token[0])
    if found in stop_tokens:
      return
    yield found
    if index < count:
      token, cache = read(cache, token[:, None], one, jax.random.fold_in(key, index))


def pieces(ids: Iterable[int], decode: Callable[[list[int]], str],
           stop: tuple[str, ...] = ()) -> Iterator[str]:
  """Yields the text of tokens in pieces: all that the next token cannot change.

  Together they are the text of all tokens, before the first stop text. Nothing is read
  after a stop text.

  Args:
    ids: tokens.
    decode: tokens -> text; with more tokens, a text only grows, except by the rest of a
      character.
    stop: texts that end the text, and are not part of it.
  """
  found: list[int] = []
  text, said = '', 0
  for token in ids:
    found.append(token)
    whole = decode(found)
    text = decoding.before(whole, stop)
    sure = len(text)
    if len(text) == len(whole):  # not stopped
      sure = len(text.rstrip(_PART))
      sure -= max((n for each in stop for n in range(1, len(each))
                   if text[:sure].endswith(each[:n])), default=0)
    if sure > said:
      yield text[said:sure]
      said = sure
    if len(text) < len(whole):
      return
  if len(text) > said:
    yield text[said:]
