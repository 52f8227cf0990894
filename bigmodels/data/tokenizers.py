"""Configs of tokenizers: bytes, characters, words, BPE, WordPiece and SentencePiece.

A config is fitted to the texts of a training split. The result, its *state*, is plain
JSON that is stored with the run. `load` makes the same tokenizer from it on every
machine. Text that spells a special token is never encoded as that token.
"""

import base64
import dataclasses
import functools
import io
import json
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError, nearest
from bigmodels.core.paths import resolved
from bigmodels.data import vocabularies
from bigmodels.data.vocabularies import Tokenizer


class Config:
  """The config of a tokenizer.

  Attributes:
    fitted: whether the tokenizer depends on the texts.
  """

  fitted: ClassVar[bool] = True

  def settings(self) -> dict[str, Any]:
    """Returns the settings that must match those of a stored tokenizer, as JSON."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    """Returns the state of a tokenizer fitted to texts."""
    raise NotImplementedError

  def _state(self, **content) -> dict[str, Any]:
    return {'kind': type(self).__name__, 'settings': self.settings(), **content}


@dataclasses.dataclass(frozen=True)
class Bytes(Config):
  """The UTF-8 bytes of the text, with ids 0 to 255; nothing is fitted.

  Attributes:
    end: whether there is an 'end', id 256.
  """

  fitted: ClassVar[bool] = False
  end: bool = True

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    del texts
    return self._state()


@dataclasses.dataclass(frozen=True)
class Characters(Config):
  """The characters of the training text, sorted, after special tokens.

  Texts with other characters are refused.

  Attributes:
    special: special tokens, in the order of their ids, from 0.
  """

  special: tuple[str, ...] = ()

  def __post_init__(self):
    _check_special(self.special)

  def settings(self) -> dict[str, Any]:
    """See `Config.settings`; empty without special tokens, as in older runs."""
    return super().settings() if self.special else {}

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    """See `Config.fit`. Raises UserError if the texts have no characters."""
    known = ''.join(sorted(set().union(*texts)))
    if not known:
      raise UserError('Characters: there is no text to fit them to')
    return self._state(characters=known)


@dataclasses.dataclass(frozen=True)
class Words(Config):
  """The most frequent words, separated by white space, without normalization.

  Rarer words become 'unknown'. Decoding joins words with single spaces. In bits per
  byte, only the bytes of words count, not white space.

  Attributes:
    vocabulary: maximum number of tokens, including special ones.
    special: special tokens, in the order of their ids, from 0; 'unknown' is required.
  """

  vocabulary: int
  special: tuple[str, ...] = ('pad', 'unknown', 'class')

  def __post_init__(self):
    _check_special(self.special)
    if 'unknown' not in self.special:
      raise ValueError(f"special: must contain 'unknown', got {self.special}")
    _check_vocabulary(self.vocabulary, len(self.special) + 1)

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    counts = Counter(word for text in texts for word in text.split())
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return self._state(words=ordered[: self.vocabulary - len(self.special)])


@dataclasses.dataclass(frozen=True)
class Bpe(Config):
  """Byte-level byte-pair encoding; lossless.

  Sennrich et al., *Neural machine translation of rare words with subword units*, 2016;
  on bytes as in Radford et al., *Language models are unsupervised multitask learners*,
  2019.

  Attributes:
    vocabulary: number of tokens; fewer if the text has no more pairs.
    special: special tokens, in the order of their ids, from 0.
  """

  vocabulary: int
  special: tuple[str, ...] = ('end',)

  def __post_init__(self):
    _check_special(self.special)
    _check_vocabulary(self.vocabulary, len(self.special) + 256)

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    parts = (part for text in texts
             for part in vocabularies.in_parts(vocabularies.valid(text)))
    tokenizer.train_from_iterator(parts, trainers.BpeTrainer(
      vocab_size=self.vocabulary, show_progress=False,
      special_tokens=[vocabularies.spelling(name) for name in self.special],
      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return self._state(tokenizer=tokenizer.to_str())


@dataclasses.dataclass(frozen=True)
class WordPiece(Config):
  """WordPiece as in BERT: lower case, without accents, words apart from punctuation.

  Devlin et al., *BERT*, 2019. It does not depend on white space, which decoding does
  not restore. A word that no pieces cover is 'unknown'.

  Attributes:
    vocabulary: number of tokens; fewer if the text has no more pieces.
    special: special tokens, in the order of their ids, from 0; 'unknown' is required.
  """

  vocabulary: int
  special: tuple[str, ...] = ('pad', 'unknown', 'class', 'separator', 'mask')

  def __post_init__(self):
    _check_special(self.special)
    if 'unknown' not in self.special:
      raise ValueError(f"special: must contain 'unknown', got {self.special}")
    _check_vocabulary(self.vocabulary, len(self.special) + 1)

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from tokenizers.decoders import WordPiece as Decoder

    texts = [*map(vocabularies.valid, texts)]
    special = [vocabularies.spelling(name) for name in self.special]

    def trained(size, first):
      tokenizer = Tokenizer(models.WordPiece(
        unk_token=vocabularies.spelling('unknown')))
      tokenizer.normalizer = normalizers.BertNormalizer()
      tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
      tokenizer.decoder = Decoder()
      tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=size, show_progress=False, special_tokens=first))
      return tokenizer

    # The library numbers the characters inside of words in an order that differs from
    # process to process, and joins equally frequent pairs in that of their numbers.
    characters = trained(0, special).get_vocab().keys() - {*special}
    found = json.loads(trained(self.vocabulary, [
      *special, *sorted(characters, key=lambda x: (len(x), x))]).to_str())
    found['added_tokens'] = found['added_tokens'][: len(special)]
    return self._state(tokenizer=Tokenizer.from_str(json.dumps(found)).to_str())


@dataclasses.dataclass(frozen=True)
class SentencePiece(Config):
  """A unigram model fitted by SentencePiece; lossless.

  Kudo, *Subword regularization*, 2018. Text is not normalized, and characters that no
  piece covers become bytes. Pieces do not span lines.

  Attributes:
    vocabulary: number of tokens; fewer if the text is too short.
    special: special tokens, in the order of their ids, from 0. SentencePiece requires
      'unknown', which comes last if it is not named.
  """

  vocabulary: int
  special: tuple[str, ...] = ('end',)

  def __post_init__(self):
    _check_special(self.special)
    _check_vocabulary(self.vocabulary, len(self._special()) + 257)

  def _special(self) -> tuple[str, ...]:
    return (*self.special, *('unknown',) * ('unknown' not in self.special))

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    """See `Config.fit`. Raises UserError if SentencePiece refuses the texts."""
    import sentencepiece

    special = self._special()
    # The library has parameters for four special tokens; the others are control
    # symbols, which get the remaining ids, in order.
    ids, own = {}, {'pad': 'pad', 'begin': 'bos', 'end': 'eos', 'unknown': 'unk'}
    for name, parameter in own.items():
      ids[f'{parameter}_id'] = special.index(name) if name in special else -1
      ids[f'{parameter}_piece'] = vocabularies.spelling(name)
    model = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_lines(texts),
        model_writer=model, vocab_size=self.vocabulary, hard_vocab_limit=False,
        control_symbols=[vocabularies.spelling(n) for n in special if n not in own],
        **ids,
        normalization_rule_name='identity', add_dummy_prefix=False,
        remove_extra_whitespaces=False, byte_fallback=True,
        num_threads=1,  # the order of sums changes their rounding
        minloglevel=2)
    except RuntimeError as error:
      raise UserError(f'SentencePiece cannot be fitted to this text: {error}') from None
    return self._state(model=base64.b64encode(model.getvalue()).decode())


@dataclasses.dataclass(frozen=True)
class TokenizerFile(Config):
  """A `tokenizer.json` of Hugging Face's libraries, such as GPT-2's or BERT's.

  Nothing is fitted; the file is stored with the run. Special tokens are recognized by
  their usual spellings: `[PAD]`, `</s>`, `<|endoftext|>`. If the tokenizer changes the
  text, as BERT's lowercasing does, decoding does not restore it, and a token counts for
  its own bytes.

  Attributes:
    path: the file.
  """

  fitted: ClassVar[bool] = False
  path: str

  def __post_init__(self):
    # Absolute, so that a run can be resumed from any folder.
    object.__setattr__(self, 'path', str(resolved(self.path, 'path')))

  def _read(self) -> str:
    path = pathlib.Path(self.path)
    files.require_file(path)
    try:
      return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
      reason = getattr(error, 'strerror', None) or error
      raise UserError(f'{self.path}: cannot be read: {reason}; must be the path of a '
                      'tokenizer.json') from None

  def settings(self) -> dict[str, Any]:
    """Returns a digest of the file, which may have moved.

    Raises:
      UserError: if it cannot be read.
    """
    return {'sha256': digests.of_bytes(self._read().encode())}

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    """See `Config.fit`. Raises UserError if the file is not a tokenizer."""
    del texts
    text = self._read()
    try:
      vocabularies.of_library(text)
    except Exception as error:
      raise UserError(f'{self.path}: is not a tokenizer that the library `tokenizers` '
                      f'can read: {error}') from None
    return self._state(tokenizer=text)


def check(config: Config, state: dict[str, Any]) -> None:
  """Refuses a stored tokenizer that does not match a config.

  Args:
    config: config of a split.
    state: state of the tokenizer of the run.

  Raises:
    UserError: naming both.
  """
  size = load(state).size
  if isinstance(config, TokenizerFile) and not pathlib.Path(config.path).exists():
    same = state['kind'] == type(config).__name__  # the run has a copy
  elif isinstance(config, TokenizerFile) and isinstance(state.get('tokenizer'), str):
    same = _meaning(config._read()) == _meaning(state['tokenizer'])
  else:
    expected = (type(config).__name__, config.settings())
    same = (state['kind'], state.get('settings')) == expected
  if not same:
    raise UserError(
      f'the run has the tokenizer {_say(state["kind"], state.get("settings", {}))} of '
      f'{size:,} tokens, this needs {_say(type(config).__name__, config.settings())}; '
      'set the same tokenizer for every split, that of --init_from if there is one, or '
      'start a new run with another --workdir')


def _meaning(text: str) -> Any:
  """A `tokenizer.json` without what adds special tokens, which is not used here."""
  try:
    return {**json.loads(text), 'post_processor': None}
  except (ValueError, TypeError):
    return text


def provided(tokenizer: Tokenizer) -> dict[str, Callable[[], Any]]:
  """Returns the `Dataset.provides` of text encoded by a tokenizer."""
  return {'tokenizer': lambda: tokenizer, 'vocabulary': lambda: tokenizer.size}


def load(state: dict[str, Any]) -> Tokenizer:
  """Returns the tokenizer of a state; the same object for the same state.

  Raises:
    UserError: if the state is not valid.
  """
  try:
    return _load(json.dumps(state, sort_keys=True))
  except (UserError, ImportError):
    raise
  except Exception as error:  # the libraries raise no narrower type
    raise UserError('the tokenizer that is stored with the run, in its data.json, is '
                    f'damaged: {type(error).__name__}: {error}') from error


@functools.lru_cache(maxsize=8)
def _load(text: str) -> Tokenizer:
  state = json.loads(text)
  match state['kind']:
    case 'Bytes':
      return vocabularies.of_bytes(state['settings']['end'])
    case 'Characters':
      return vocabularies.of_characters(
        state['characters'], state['settings'].get('special', ()))
    case 'Words':
      return vocabularies.of_words(state['words'], state['settings']['special'])
    case 'Bpe':
      return vocabularies.of_library(state['tokenizer'], vocabularies.in_parts)
    case 'SentencePiece':
      return vocabularies.of_pieces(base64.b64decode(state['model'], validate=True))
    case 'TokenizerFile' | 'WordPiece':
      return vocabularies.of_library(state['tokenizer'])
  raise UserError(f'the run has a tokenizer of the unknown kind {state["kind"]!r}')


def _say(kind: str, settings: dict[str, Any]) -> str:
  given = ', '.join(f'{name}={tuple(value) if isinstance(value, list) else value!r}'
                    for name, value in settings.items())
  return f'{kind}({given})'


def _check_special(special: Sequence[str]) -> None:
  for name in special:
    if name not in vocabularies.SPELLINGS:
      raise ValueError(f'special: must be names of special tokens, got {name!r}'
                       f'{nearest(str(name), vocabularies.SPELLINGS)}')
  if len(set(special)) < len(special):
    raise ValueError(f'special: must be distinct names, got {tuple(special)}')


def _check_vocabulary(vocabulary: int, least: int) -> None:
  if vocabulary < least:
    raise ValueError(f'vocabulary: must be >= {least}, got {vocabulary}')


def _lines(texts: Iterable[str]) -> Iterator[str]:
  """Yields lines in parts, as the library skips lines of more than 4,192 bytes."""
  for text in texts:
    for line in vocabularies.valid(text).split('\n'):
      for start in range(0, len(line), 1000):
        yield line[start : start + 1000]
