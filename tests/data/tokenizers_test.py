"""Tests of bigmodels.data.tokenizers: nothing is lost, and nothing is random."""

import itertools
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers, vocabularies
from bigmodels.data.tokenizers import (
  Bpe,
  Bytes,
  Characters,
  SentencePiece,
  TokenizerFile,
  WordPiece,
  Words,
)

TEXT = ('The quick brown fox jumps over the lazy dog, 1234 times.\n'
        "They're 'quoted', it's l'été; naïve façade — Straße, 日本語.\n\n") * 20
SPECIAL = ('pad', 'begin', 'end', 'mask', 'class', 'separator', 'unknown')
LOSSLESS = (Bytes(), Bytes(end=False), Bpe(400), Bpe(300, special=SPECIAL),
            SentencePiece(400), SentencePiece(400, special=SPECIAL))
NASTY = (
  '', ' ', '\n', '  two  spaces  ', '\t\r\n\x0b\x0c\x1c\x85\u2028\u3000', 'a\0b',
  '▁x ▁ ▁▁\n▁', '👩\u200d👧\U0010ffff\ufeff\ufffd', 'e\u0301 é Å \u212b ﬁ ½',
  '<0x41>Ġ Ċ ##ing @@', '<|end|><|pad|> <|unknown|> <unk> </s> [MASK] <|endoftext|>',
  'x' * 5000, "don't'll  'S")


def fitted(config, *texts):
  return tokenizers.load(config.fit(texts or (TEXT,)))


def unicode_texts():
  """Random characters of all planes, half of them rather usual."""
  draw = random.Random(0)
  for _ in range(100):
    wide = [chr(draw.choice([draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)]))
            for _ in range(draw.randrange(40))]
    near = [chr(draw.randrange(0x250)) for _ in range(draw.randrange(40))]
    mixed = wide + near
    draw.shuffle(mixed)
    yield ''.join(mixed)


@pytest.mark.parametrize('config', LOSSLESS, ids=str)
def test_every_text_comes_back_and_every_byte_is_counted(config):
  tokenizer = fitted(config)
  texts = [*NASTY, *unicode_texts(), TEXT]
  encoded = tokenizer.encode_all(texts)
  hidden = set(tokenizer.special.values())
  for text, ids in zip(texts, encoded, strict=True):
    assert ids.dtype == np.int32 and ids.shape == (len(ids),)
    assert tokenizer.decode(ids) == text
    assert tokenizer.byte_counts[ids].sum() == len(text.encode())
    assert not hidden & set(ids.tolist())
    np.testing.assert_array_equal(tokenizer.encode(text), ids)
  assert max(ids.max(initial=0) for ids in encoded) < tokenizer.size
  assert tokenizer.byte_counts.shape == (tokenizer.size,)
  assert all(isinstance(tokenizer.token(i), str) for i in range(tokenizer.size))


@pytest.mark.parametrize('config', [*LOSSLESS, Words(40), Characters()], ids=str)
def test_specials_are_dropped_and_so_are_ids_of_no_token(config):
  tokenizer = fitted(config)
  ids = tokenizer.encode('The quick brown')
  around = [*tokenizer.special.values(), *ids, tokenizer.size, tokenizer.size + 99]
  assert tokenizer.decode(np.array(around)) == tokenizer.decode(ids.tolist())
  assert not tokenizer.byte_counts[list(tokenizer.special.values())].any()
  assert tokenizer.decode([]) == ''


@pytest.mark.parametrize('config', [
  Bpe(300, special=SPECIAL), SentencePiece(400, special=SPECIAL),
  Words(40, special=SPECIAL)], ids=str)
def test_special_tokens_have_the_lowest_ids_in_their_order(config):
  tokenizer = fitted(config)
  assert tokenizer.special == {name: i for i, name in enumerate(SPECIAL)}
  assert tokenizer.token(2) == '<|end|>'


@pytest.mark.parametrize('config', [Bpe(400), Words(40), SentencePiece(400)], ids=str)
def test_a_special_token_spelled_in_the_training_text_is_text(config):
  text = 'a <|end|> b <|unknown|> <|pad|> <|class|> c\n' * 50
  tokenizer = fitted(config, text)
  ids = tokenizer.encode('<|end|> <|unknown|>')
  assert not set(tokenizer.special.values()) & set(ids.tolist())
  assert tokenizer.decode(ids) == '<|end|> <|unknown|>'


def test_bytes_are_those_of_utf8():
  tokenizer = fitted(Bytes())
  assert (tokenizer.size, tokenizer.special) == (257, {'end': 256})
  assert tokenizer.encode('é').tolist() == [0xC3, 0xA9]
  assert tokenizer.decode([0x41, 0xC3, 256]) == 'A\ufffd'  # half a character
  assert fitted(Bytes(end=False)).size == 256


def test_characters_are_those_of_the_training_text():
  tokenizer = fitted(Characters(), 'hello', 'été')
  assert tokenizer.size == 6 and tokenizer.special == {}
  assert tokenizer.encode('été').tolist() == [5, 4, 5]  # e h l o t é
  assert tokenizer.byte_counts.tolist() == [1, 1, 1, 1, 1, 2]
  assert tokenizer.decode([1, 0, 2, 2, 3]) == 'hello'
  with pytest.raises(UserError, match=r"'w' at position 6 of 'hello-w' is not in "
                                      r"the training text, whose 7 .* are '-ehloté'"):
    fitted(Characters(), 'hello-', 'été').encode('hello-w')
  with pytest.raises(UserError, match='no text'):
    Characters().fit([])


def test_characters_follow_special_tokens():
  tokenizer = fitted(Characters(special=('pad', 'end')), 'abba')
  assert tokenizer.size == 4 and tokenizer.special == {'pad': 0, 'end': 1}
  assert tokenizer.encode('ab').tolist() == [2, 3]
  assert tokenizer.decode([0, 3, 1, 2]) == 'ba'
  assert tokenizer.byte_counts.tolist() == [0, 0, 1, 1]
  assert [tokenizer.token(i) for i in (0, 2)] == ['<|pad|>', 'a']
  # Runs of versions without special tokens have no settings.
  assert Characters().fit(['ab']) == {
    'kind': 'Characters', 'settings': {}, 'characters': 'ab'}


def test_words_are_the_most_frequent_ones():
  tokenizer = fitted(Words(5), 'b a a c', 'c a\nb d')
  assert [tokenizer.token(i) for i in range(5)] == [
    '<|pad|>', '<|unknown|>', '<|class|>', 'a', 'b']  # b before c, just as frequent
  assert tokenizer.encode(' a  b c <|pad|>').tolist() == [3, 4, 1, 1]
  assert tokenizer.decode([3, 4, 1]) == 'a b'
  assert tokenizer.byte_counts.tolist() == [0, 0, 0, 1, 1]


def test_bpe_merges_the_most_frequent_pair_first():
  """Sennrich et al. (2016): 'es', then 'est', of low, lower, newest, widest."""
  text = ' low' * 5 + ' lower' * 2 + ' newest' * 6 + ' widest' * 3
  tokenizer = fitted(Bpe(256 + 1 + 2), text)
  assert [tokenizer.token(i) for i in (257, 258)] == ['es', 'est']


def test_fitting_does_not_depend_on_the_process():
  """Hashes of strings, and threads, differ from one process to the next."""
  script = ('import json; from bigmodels.data.tokenizers import *\n'
            'import sys; text = sys.stdin.buffer.read().decode()\n'
            'print(json.dumps([r.fit([text]) for r in '
            '(Bpe(400), SentencePiece(400), Words(30), Characters())]))')
  root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  states = []
  for seed, threads in (('1', '1'), ('2', '4')):
    environment = os.environ | {
      'PYTHONHASHSEED': seed, 'RAYON_NUM_THREADS': threads, 'PYTHONPATH': root}
    states.append(subprocess.run(
      [sys.executable, '-c', script], input=TEXT.encode(), capture_output=True,
      check=True, env=environment).stdout)
  assert states[0] == states[1] and len(states[0]) > 1000


@pytest.mark.parametrize('config', [*LOSSLESS, Words(40), Characters()], ids=str)
def test_a_state_is_json_and_loads_the_same(config):
  state = config.fit([TEXT])
  again = json.loads(json.dumps(state))
  tokenizers.check(config, again)
  assert tokenizers.load(state) is tokenizers.load(again)
  assert state['kind'] == type(config).__name__


def test_another_tokenizer_than_the_one_that_is_kept():
  state = Bpe(300).fit([TEXT])
  with pytest.raises(UserError, match=r"Bpe\(vocabulary=300, special=\('end',\)\) of "
                                      r'300 tokens, this needs Bpe\(vocabulary=400'):
    tokenizers.check(Bpe(400), state)
  with pytest.raises(UserError, match=r'this needs Bytes\(end=True\)'):
    tokenizers.check(Bytes(), state)


@pytest.mark.parametrize('damage', [
  {'kind': 'Bpe'}, {'kind': 'Bpe', 'tokenizer': '{'}, {'kind': 'Words', 'settings': {}},
  {'kind': 'SentencePiece', 'model': '!'}, {'settings': {}}, [], 'Bpe'], ids=str)
def test_a_state_that_is_damaged(damage):
  for use in (tokenizers.load, lambda state: tokenizers.check(Bytes(), state)):
    with pytest.raises(UserError, match=r'in its data\.json, is damaged: '):
      use(damage)
  with pytest.raises(UserError, match="of the unknown kind 'Foo'"):
    tokenizers.load({'kind': 'Foo'})


def test_long_texts_are_cut_where_tokens_end(monkeypatch):
  text = TEXT * 3 + ' \n\n x\n  y z\n\n\t_\n' * 30 + TEXT
  tokenizer = fitted(Bpe(500), text)
  whole = tokenizer.encode(text)
  state = Bpe(500).fit([text])
  monkeypatch.setattr(vocabularies, 'PART', 10)
  assert len(list(vocabularies.in_parts(text))) > 30
  np.testing.assert_array_equal(tokenizer.encode(text), whole)
  assert Bpe(500).fit([text]) == state


def test_half_characters_are_refused():
  for config in (Bytes(), Bpe(300), SentencePiece(400)):
    with pytest.raises(UserError, match=r"'\\ud800' at position 1 is half a character"):
      fitted(config).encode('a\ud800')


def test_recipes_refuse():
  with pytest.raises(ValueError, match=r'vocabulary: must be >= 257, got 256'):
    Bpe(256)
  with pytest.raises(ValueError, match=r"special: .* got 'ned'; did you mean 'end'"):
    Bpe(300, special=('ned',))
  with pytest.raises(ValueError, match='special: must be distinct names'):
    Bpe(300, special=('end', 'end'))
  with pytest.raises(ValueError, match="special: must contain 'unknown'"):
    Words(10, special=('pad',))
  with pytest.raises(UserError, match='SentencePiece cannot be fitted'):
    SentencePiece(300).fit([])


# --- files of others ------------------------------------------------------------


@pytest.fixture
def gpt2(tmp_path):
  """A tokenizer.json made as GPT-2's is, and the library's own reading of it."""
  library = pytest.importorskip('tokenizers')
  made = library.ByteLevelBPETokenizer()
  made.train_from_iterator([TEXT], 350, special_tokens=['<|endoftext|>'],
                           show_progress=False)
  made.save(str(tmp_path / 'gpt2.json'))
  return TokenizerFile(str(tmp_path / 'gpt2.json')), made


@pytest.fixture
def bert(tmp_path):
  library = pytest.importorskip('tokenizers')
  made = library.BertWordPieceTokenizer(lowercase=True)
  made.train_from_iterator([TEXT], 200, show_progress=False)
  made.enable_truncation(8)
  made.enable_padding(length=8)
  made.save(str(tmp_path / 'bert.json'))
  made.no_truncation()
  made.no_padding()
  return TokenizerFile(str(tmp_path / 'bert.json')), made


@pytest.mark.parametrize('config', [Bpe(300), WordPiece(60)],
                         ids=lambda config: type(config).__name__)
def test_what_is_fitted_is_always_the_same(config):
  """Whatever order the library's tables have in a process."""
  texts = [''.join(word) for word in itertools.permutations('abcde')] + [TEXT]
  states = [config.fit(iter(texts)) for _ in range(4)]
  assert all(state == states[0] for state in states)
  assert tokenizers.load(states[0]).special.keys() == {*config.special}


def test_a_file_like_gpt2s(gpt2):
  config, made = gpt2
  tokenizer = fitted(config)
  assert tokenizer.special == {'end': 0} and tokenizer.size == made.get_vocab_size()
  for text in [t for t in NASTY if '<|' not in t]:
    assert tokenizer.encode(text).tolist() == made.encode(text).ids
  for text in NASTY:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and 0 not in ids
    assert tokenizer.byte_counts[ids].sum() == len(text.encode())


def test_a_file_like_berts(bert):
  config, made = bert
  tokenizer = fitted(config)
  assert tokenizer.special == {
    'pad': 0, 'unknown': 1, 'class': 2, 'separator': 3, 'mask': 4}
  text = 'The QUICK brown foxes jumped over dogs again and again'
  ids = tokenizer.encode(text)  # neither cut nor filled up, and no [CLS]
  assert ids.tolist() == made.encode(text, add_special_tokens=False).ids
  assert tokenizer.decode(ids) == text.lower()
  assert tokenizer.byte_counts[ids].sum() == len(text.replace(' ', ''))
  assert tokenizer.decode([2, *ids, 3, 0]) == text.lower()
  assert 4 not in tokenizer.encode('[MASK]')


def test_a_file_is_known_by_what_is_in_it(gpt2, bert, tmp_path):
  state = gpt2[0].fit([])
  moved = tmp_path / 'moved.json'
  moved.write_bytes((tmp_path / 'gpt2.json').read_bytes())
  tokenizers.check(TokenizerFile(str(moved)), state)
  tokenizers.check(TokenizerFile(str(tmp_path / 'gone.json')), state)
  with pytest.raises(UserError, match='the run has the tokenizer'):
    tokenizers.check(bert[0], state)


def test_a_file_that_is_none(tmp_path):
  with pytest.raises(UserError, match=r'a\.json: cannot be read: No such file'):
    TokenizerFile(str(tmp_path / 'a.json')).fit([])
  (tmp_path / 'b.json').write_text('{}')
  with pytest.raises(UserError, match=r'b\.json: is not a tokenizer'):
    TokenizerFile(str(tmp_path / 'b.json')).fit([])
  (tmp_path / 'c.json').write_text(
    '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}')
  with pytest.raises(UserError, match=r'c\.json: .* its vocabulary is empty'):
    TokenizerFile(str(tmp_path / 'c.json')).fit([])


def test_our_own_vocabulary_as_a_file(tmp_path):
  state = Bpe(300, special=SPECIAL).fit([TEXT])
  (tmp_path / 'own.json').write_text(state['tokenizer'])
  tokenizer = fitted(TokenizerFile(str(tmp_path / 'own.json')))
  assert tokenizer.special == tokenizers.load(state).special
  np.testing.assert_array_equal(
    tokenizer.encode(TEXT), tokenizers.load(state).encode(TEXT))
