"""Tests that the library `tokenizers` gives the tokens of a run from its files."""

import pytest
from tokenizers import Tokenizer

from bigmodels.data import tokenizer_files, tokenizers

TEXT = ['the cat sat on the mat, \n and the dog\tsat; Größe 中文 😀 ' * 20]


@pytest.mark.parametrize('config', [
  tokenizers.Bytes(), tokenizers.Bytes(end=False), tokenizers.Characters(),
  tokenizers.Bpe(300), tokenizers.Words(20)])
def test_the_tokens_are_the_same(config):
  state = config.fit(TEXT)
  ours = tokenizers.load(state)
  theirs = Tokenizer.from_str(tokenizer_files.text_of(state, framed=False))
  text = TEXT[0][: 40 if isinstance(config, tokenizers.Words) else None]
  ids = theirs.encode(text).ids
  assert ids == ours.encode(text).tolist()
  assert theirs.decode(ids) == ours.decode(ids)
  assert theirs.get_vocab_size() == ours.size
  found = tokenizer_files.config_of(state, 12)
  assert found['model_max_length'] == 12
  for name, id in ours.special.items():
    assert theirs.token_to_id(found[tokenizer_files.KEYS[name]]) == id


def test_a_text_is_framed_as_in_sentences():
  state = tokenizers.Words(20, special=('pad', 'unknown', 'class', 'separator')).fit(
    TEXT)
  theirs = Tokenizer.from_str(tokenizer_files.text_of(state, framed=True))
  special = tokenizers.load(state).special
  ids = theirs.encode('the cat zebra').ids
  assert (ids[0], ids[-2], ids[-1]) == tuple(
    special[name] for name in ('class', 'unknown', 'separator'))


def test_what_the_library_has_no_form_of():
  state = tokenizers.SentencePiece(300).fit(TEXT)
  assert tokenizer_files.text_of(state, framed=False) is None
  words = tokenizers.Words(20).fit(['<|pad|> a <|pad|> b'])
  assert tokenizer_files.text_of(words, framed=False) is None


def test_other_characters_are_refused_there_too():
  theirs = tokenizer_files.as_library(tokenizers.Characters().fit(['abc']))
  with pytest.raises(Exception, match='UNK'):
    theirs.encode('abd')


def test_a_file_of_the_same_tokenizer_fits_a_run(tmp_path):
  state = tokenizers.Bpe(300, special=('end', 'class')).fit(TEXT)
  path = tmp_path / 'tokenizer.json'
  path.write_text(tokenizer_files.text_of(state, framed=True))
  tokenizers.check(tokenizers.TokenizerFile(str(path)), state)
