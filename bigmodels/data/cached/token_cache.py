"""The cache of fitted tokenizers and of tokens, for texts of more than a megabyte."""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.data.cached import array_cache
from bigmodels.data.cached.scratch import Unwritable

_SMALL = 2**20  # characters that take about a second to fit and to encode


@dataclasses.dataclass(frozen=True)
class TokenCache:
  """Results for texts, by the digest of the texts and of what is done with them.

  Attributes:
    cache_dir: folder of all caches.
    say: prints a line.
  """

  cache_dir: pathlib.Path
  say: Callable[[str], None] = dataclasses.field(compare=False)

  def fitted(self, config: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Returns the state of a tokenizer fitted to texts.

    Args:
      config: config of the tokenizer; its class and settings determine the state.
      texts: the texts.
    """
    name = type(config).__name__

    def make():
      state = json.dumps(config.fit(texts)).encode()
      return {'state': np.frombuffer(state, np.uint8)}

    found = self._cached([name, config.settings()], texts, make,
                         f'fitting {name} to {len(texts):,} texts')
    return config.fit(texts) if found is None else json.loads(found['state'].tobytes())

  def encoded(self, state: str,
              encode_all: Callable[[Sequence[str]], list[np.ndarray]],
              texts: Sequence[str]) -> list[np.ndarray]:
    """Returns the tokens of every text, int32 `[n]` each.

    Args:
      state: state of the tokenizer, as JSON.
      encode_all: its method.
      texts: the texts.
    """
    def make():
      rows = encode_all(texts)
      return {'tokens': np.concatenate(rows), 'lengths': np.array([*map(len, rows)])}

    found = self._cached(state, texts, make, f'encoding {len(texts):,} texts')
    if found is None:
      return encode_all(texts)
    return np.split(np.array(found['tokens']), np.cumsum(found['lengths'])[:-1])

  def _cached(self, settings: Any, texts: Sequence[str],
              make: Callable[[], array_cache.Columns], what: str
              ) -> array_cache.Columns | None:
    """The arrays that `make` returns; None if they are not cached."""
    if sum(map(len, texts)) < _SMALL:
      return None
    digest = hashlib.sha256(json.dumps(settings).encode())
    for text in texts:
      data = text.encode(errors='surrogatepass')
      digest.update(b'%d\n' % len(data) + data)
    key = digests.of_hash(digest)

    def write(writer):
      for name, array in make().items():
        writer.write({name: array}, len(array))

    entry = array_cache.Entry(
      self.cache_dir / 'decoded' / f'tokens-{key}', _libraries(), key, {})
    try:
      return array_cache.cached(entry, write, what=what, say=self.say)[0]
    except UserError as error:
      if not isinstance(error.__cause__, Unwritable):
        raise
      self.say(f'warning: {error}; {what} at every start')
      return None


def _libraries() -> str:
  """The versions of the libraries that fit and encode."""
  return ', '.join(f'{name} {importlib.metadata.version(name)}'
                   for name in ('tokenizers', 'sentencepiece')
                   if importlib.util.find_spec(name))
