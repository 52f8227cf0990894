"""Tests of bigmodels.data.cached.token_cache against fitting and encoding directly."""

import dataclasses
import json

import numpy as np
import pytest

from bigmodels.data import tokenizers
from bigmodels.data.cached.token_cache import TokenCache

TEXTS = [f'{i} green bottles, {i * i} on the wall; ' * 300 for i in range(120)]
CONFIG = tokenizers.Bpe(300)


@dataclasses.dataclass(frozen=True)
class Counted(tokenizers.Bpe):
  """A config that counts how often it is fitted."""

  calls: list = dataclasses.field(default_factory=list, compare=False)

  def settings(self):
    return {'vocabulary': self.vocabulary}

  def fit(self, texts):
    self.calls.append(len(texts))
    return CONFIG.fit(texts)


def test_what_is_cached_is_what_is_computed(tmp_path):
  assert sum(map(len, TEXTS)) > 2**20
  state = CONFIG.fit(TEXTS)
  tokenizer = tokenizers.load(state)
  expected, config, lines, calls = tokenizer.encode_all(TEXTS), Counted(300), [], []

  def encode_all(texts):
    calls.append(len(texts))
    return tokenizer.encode_all(texts)

  cache = TokenCache(tmp_path, lines.append)
  for _ in range(2):
    assert cache.fitted(config, TEXTS) == state
    found = cache.encoded(json.dumps(state), encode_all, TEXTS)
    assert [row.dtype for row in found] == [np.int32] * len(TEXTS)
    for row, other in zip(found, expected, strict=True):
      np.testing.assert_array_equal(row, other)
  assert config.calls == calls == [120]
  assert [line.partition(' (once')[0] for line in lines] == [
    'fitting Counted to 120 texts', 'encoding 120 texts']
  # Other texts, and other settings, are others.
  cache.fitted(config, TEXTS[1:])
  cache.fitted(dataclasses.replace(config, vocabulary=301), TEXTS)
  cache.encoded(json.dumps({**state, 'more': 1}), encode_all, TEXTS)
  assert config.calls == [120, 119, 120] and calls == [120, 120]


def test_short_texts_are_not_cached(tmp_path):
  lines = []
  cache = TokenCache(tmp_path, lines.append)
  assert cache.fitted(CONFIG, TEXTS[:1]) == CONFIG.fit(TEXTS[:1])
  assert not lines and not list(tmp_path.iterdir())


def test_without_a_place_to_cache(tmp_path):
  (tmp_path / 'decoded').write_text('')
  lines = []
  assert TokenCache(tmp_path, lines.append).fitted(CONFIG, TEXTS) == (
    CONFIG.fit(TEXTS))
  assert lines[-1].startswith('warning: ') and 'at every start' in lines[-1]


@pytest.mark.parametrize('name', ['tokens', 'lengths'])
def test_damage_is_repaired(tmp_path, name):
  state, lines = CONFIG.fit(TEXTS), []
  cache = TokenCache(tmp_path, lines.append)
  encode_all = tokenizers.load(state).encode_all
  before = cache.encoded(json.dumps(state), encode_all, TEXTS)
  path = next(tmp_path.glob(f'decoded/tokens-*/{name}.npy'))
  data = bytearray(path.read_bytes())
  data[-1] ^= 1
  path.write_bytes(data)
  after = cache.encoded(json.dumps(state), encode_all, TEXTS)
  assert 'again' in lines[-1]
  np.testing.assert_array_equal(np.concatenate(after), np.concatenate(before))
