"""What text becomes: recipes of tokenizers, and the tokenizers they make.

A recipe is fitted to the texts of a training split. What comes of it, the *state*, is
plain JSON that is kept with the run; `load` makes the tokenizer of it, the same on
every machine. Text that spells a special token never becomes one.
"""

import base64
import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bigmodels.errors import UserError, nearest

# The names of special tokens, and how well-known vocabularies spell them.
_SPELLINGS = {
  'pad': ('[PAD]', '<pad>'),
  'begin': ('<s>', '<bos>', '<|begin_of_text|>', '[BOS]'),
  'end': ('</s>', '<eos>', '<|endoftext|>', '<|end_of_text|>', '[EOS]'),
  'mask': ('[MASK]', '<mask>'),
  'class': ('[CLS]', '<cls>'),
  'separator': ('[SEP]', '<sep>'),
  'unknown': ('[UNK]', '<unk>'),
}
_PART = 1 << 20  # characters that a library is given at a time: its answers are large
_SPACE = '▁'  # U+2581, what SentencePiece writes for a space


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """Text to tokens and back.

  Attributes:
    size: number of tokens; ids are below it.
    special: name -> id of the special tokens there are, of 'pad', 'begin', 'end' (of a
      text), 'mask', 'class', 'separator', 'unknown'.
    byte_counts: float32 `[size]`, the UTF-8 bytes that a token stands for; 0 for what
      stands for none.
    encode_all: texts -> the int32 ids `[n]` of each; no special tokens are added.
    decode: ids -> text. Special tokens, and ids of no token, are left out.
    token: id -> a readable text of it.
  """

  size: int
  special: dict[str, int]
  byte_counts: np.ndarray
  encode_all: Callable[[Sequence[str]], list[np.ndarray]]
  decode: Callable[[Iterable[int]], str]
  token: Callable[[int], str]

  def encode(self, text: str) -> np.ndarray:
    """The ids of a text, int32 `[n]`, without special tokens."""
    return self.encode_all([text])[0]


class Recipe:
  """What recipes of tokenizers share."""

  def settings(self) -> dict[str, Any]:
    """What has to agree with a tokenizer that is kept, as JSON."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    """The state of a tokenizer for texts."""
    raise NotImplementedError

  def _state(self, **content) -> dict[str, Any]:
    return {'kind': type(self).__name__, 'settings': self.settings(), **content}


@dataclasses.dataclass(frozen=True)
class Bytes(Recipe):
  """The bytes of the text in UTF-8: ids 0 to 255; nothing is fitted.

  Attributes:
    end: whether there is an 'end', id 256.
  """

  end: bool = True

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    del texts
    return self._state()


@dataclasses.dataclass(frozen=True)
class Characters(Recipe):
  """The characters of the training text, sorted; no special tokens.

  A text with any other character is refused.
  """

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    known = ''.join(sorted(set().union(*texts)))
    if not known:
      raise UserError('Characters: there is no text to take them from')
    return self._state(characters=known)


@dataclasses.dataclass(frozen=True)
class Words(Recipe):
  """The most frequent words: what is between white space, as it is written.

  Decoding puts single spaces between them; rarer words become 'unknown'. A word counts
  for its own bytes, white space for none.

  Attributes:
    vocabulary: number of tokens at most, special ones included.
    special: special tokens, in the order of their ids, from 0; 'unknown' is needed.
  """

  vocabulary: int
  special: tuple[str, ...] = ('pad', 'unknown', 'class')

  def __post_init__(self):
    _check_special(self.special)
    if 'unknown' not in self.special:
      raise ValueError(f"special: wants 'unknown' among them, got {self.special}")
    _check_vocabulary(self.vocabulary, len(self.special) + 1)

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    counts = Counter(word for text in texts for word in text.split())
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return self._state(words=ordered[: self.vocabulary - len(self.special)])


@dataclasses.dataclass(frozen=True)
class Bpe(Recipe):
  """Byte-level byte-pair encoding (Sennrich et al., 2016; Radford et al., 2019).

  Loses nothing: every text comes back as it was.

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
    parts = (part for text in texts for part in _parts(_valid(text)))
    tokenizer.train_from_iterator(parts, trainers.BpeTrainer(
      vocab_size=self.vocabulary, show_progress=False,
      special_tokens=[_spelling(name) for name in self.special],
      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return self._state(tokenizer=tokenizer.to_str())


@dataclasses.dataclass(frozen=True)
class SentencePiece(Recipe):
  """Pieces of a unigram model (Kudo, 2018), as SentencePiece fits them.

  Nothing is normalised, and what no piece covers becomes bytes, so that every text
  comes back as it was. Pieces do not go across lines.

  Attributes:
    vocabulary: number of tokens; fewer if the text is too short for them.
    special: special tokens, in the order of their ids, from 0. SentencePiece cannot do
      without 'unknown', which comes last if it is not named.
  """

  vocabulary: int
  special: tuple[str, ...] = ('end',)

  def __post_init__(self):
    _check_special(self.special)
    _check_vocabulary(self.vocabulary, len(self._special()) + 257)

  def _special(self) -> tuple[str, ...]:
    return (*self.special, *('unknown',) * ('unknown' not in self.special))

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    import sentencepiece

    special = self._special()
    # The library has parameters for four of them; the others are control symbols,
    # which take the ids that are left, in order.
    ids, own = {}, {'pad': 'pad', 'begin': 'bos', 'end': 'eos', 'unknown': 'unk'}
    for name, parameter in own.items():
      ids[f'{parameter}_id'] = special.index(name) if name in special else -1
      ids[f'{parameter}_piece'] = _spelling(name)
    model = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_lines(texts),
        model_writer=model, vocab_size=self.vocabulary, hard_vocab_limit=False,
        control_symbols=[_spelling(n) for n in special if n not in own], **ids,
        normalization_rule_name='identity', add_dummy_prefix=False,
        remove_extra_whitespaces=False, byte_fallback=True,
        num_threads=1,  # sums in another order are other sums
        minloglevel=2)
    except RuntimeError as error:
      raise UserError(f'SentencePiece cannot be fitted to this text: {error}') from None
    return self._state(model=base64.b64encode(model.getvalue()).decode())


@dataclasses.dataclass(frozen=True)
class TokenizerFile(Recipe):
  """A `tokenizer.json`, as Hugging Face's libraries write it: GPT-2's, BERT's.

  Nothing is fitted; the file is kept with the run. Special tokens are known by their
  usual spellings: `[PAD]`, `</s>`, `<|endoftext|>`. Where the file's tokenizer changes
  the text (BERT's drops case), what is decoded is not what was encoded, and a token
  counts for its own bytes.

  Attributes:
    path: the file.
  """

  path: str

  def __post_init__(self):
    # Absolute: a run goes on from whatever folder it is started in.
    path = pathlib.Path(self.path).expanduser().resolve()
    object.__setattr__(self, 'path', str(path))

  def _read(self) -> str:
    try:
      return pathlib.Path(self.path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
      reason = getattr(error, 'strerror', None) or error
      raise UserError(f'{self.path}: cannot be read: {reason}; wants the path of a '
                      'tokenizer.json') from None

  def settings(self) -> dict[str, Any]:
    """By what is in the file: it may have moved."""
    return {'sha256': hashlib.sha256(self._read().encode()).hexdigest()[:12]}

  def fit(self, texts: Iterable[str]) -> dict[str, Any]:
    del texts
    text = self._read()
    try:
      _library(text)
    except Exception as error:
      raise UserError(f'{self.path}: is no tokenizer that the library `tokenizers` can '
                      f'read: {error}') from None
    return self._state(tokenizer=text)


def check(recipe: Recipe, state: dict[str, Any]) -> None:
  """Refuses a kept tokenizer that is not what a recipe makes."""
  if isinstance(recipe, TokenizerFile) and not pathlib.Path(recipe.path).exists():
    same = state['kind'] == type(recipe).__name__  # the run has a copy
  else:
    wanted = (type(recipe).__name__, recipe.settings())
    same = (state['kind'], state['settings']) == wanted
  if not same:
    raise UserError(
      f'the run has the tokenizer {_say(state["kind"], state["settings"])} of '
      f'{load(state).size:,} tokens, this wants '
      f'{_say(type(recipe).__name__, recipe.settings())}; give every split the same, '
      'or start a new run with another --workdir')


def load(state: dict[str, Any]) -> Tokenizer:
  """The tokenizer of a state; the same object for the same state."""
  return _load(json.dumps(state, sort_keys=True))


@functools.lru_cache(maxsize=8)
def _load(text: str) -> Tokenizer:
  state = json.loads(text)
  match state['kind']:
    case 'Bytes':
      return _bytes(state['settings']['end'])
    case 'Characters':
      return _characters(state['characters'])
    case 'Words':
      return _words(state['words'], state['settings']['special'])
    case 'Bpe':
      return _library(state['tokenizer'], _parts)
    case 'SentencePiece':
      return _pieces(base64.b64decode(state['model']))
    case 'TokenizerFile':
      return _library(state['tokenizer'])
  raise UserError(f'the run has a tokenizer of the kind {state["kind"]!r}, which is '
                  'not known')


def _say(kind: str, settings: dict[str, Any]) -> str:
  given = ', '.join(f'{name}={tuple(value) if isinstance(value, list) else value!r}'
                    for name, value in settings.items())
  return f'{kind}({given})'


def _spelling(name: str) -> str:
  return f'<|{name}|>'


def _check_special(special: Sequence[str]) -> None:
  for name in special:
    if name not in _SPELLINGS:
      raise ValueError(f'special: wants names of special tokens, got {name!r}'
                       f'{nearest(str(name), _SPELLINGS)}')
  if len(set(special)) < len(special):
    raise ValueError(f'special: wants every name once, got {tuple(special)}')


def _check_vocabulary(vocabulary: int, least: int) -> None:
  if vocabulary < least:
    raise ValueError(f'vocabulary: wants at least {least}, got {vocabulary}')


def _utf8(text: str) -> bytes:
  try:
    return text.encode()
  except UnicodeEncodeError as error:
    raise UserError(f'text: {text[error.start]!r} at place {error.start} is half a '
                    'character, which UTF-8 cannot write') from None


def _valid(text: str) -> str:
  _utf8(text)
  return text


def _ids(ids: Iterable[int], size: int) -> np.ndarray:
  """Those that are ids of tokens: a model may have room for more."""
  ids = np.asarray(ids if hasattr(ids, '__array__') else list(ids), np.int64).ravel()
  return ids[(ids >= 0) & (ids < size)]


# --- bytes, characters, words ---------------------------------------------------


def _bytes(end: bool) -> Tokenizer:
  size = 256 + end
  return Tokenizer(
    size=size,
    special={'end': 256} if end else {},
    byte_counts=(np.arange(size) < 256).astype(np.float32),
    encode_all=lambda texts: [
      np.frombuffer(_utf8(text), np.uint8).astype(np.int32) for text in texts],
    decode=lambda ids: _ids(ids, 256).astype(np.uint8).tobytes().decode(
      errors='replace'),
    token=lambda id: _spelling('end') if id == 256 else (
      chr(id) if id < 128 else f'<0x{id:02X}>'))


def _characters(known: str) -> Tokenizer:
  points = np.array([ord(c) for c in known], np.uint32)

  def encode(text):
    wanted = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), '<u4')
    ids = np.minimum(np.searchsorted(points, wanted), len(points) - 1)
    if (other := points[ids] != wanted).any():
      place = int(other.argmax())
      raise UserError(
        f'the character {text[place]!r} at place {place} of {_excerpt(text, place)} is '
        f'not in the training text, whose {len(known)} are all that is known: '
        f'{_excerpt(known, 0, 200)}')
    return ids.astype(np.int32)

  return Tokenizer(
    size=len(known),
    special={},
    byte_counts=np.array([_length(c) for c in known], np.float32),
    encode_all=lambda texts: [encode(text) for text in texts],
    decode=lambda ids: ''.join(known[i] for i in _ids(ids, len(known))),
    token=lambda id: known[id])


def _excerpt(text: str, place: int, most: int = 40) -> str:
  first = max(0, place - most // 2)
  part = text[first : first + most]
  return f'{"..." * (first > 0)}{part!r}{"..." * (first + len(part) < len(text))}'


def _length(text: str) -> int:
  return len(text.encode('utf-8', 'surrogatepass'))


def _words(words: list[str], special: list[str]) -> Tokenizer:
  named = {name: id for id, name in enumerate(special)}
  first, size = len(special), len(special) + len(words)
  known = {word: first + i for i, word in enumerate(words)}
  unknown = named['unknown']
  return Tokenizer(
    size=size,
    special=named,
    byte_counts=np.array([0] * first + [_length(w) for w in words], np.float32),
    encode_all=lambda texts: [
      np.array([known.get(word, unknown) for word in text.split()], np.int32)
      for text in texts],
    decode=lambda ids: ' '.join(words[i - first] for i in _ids(ids, size)
                                if i >= first),
    token=lambda id: _spelling(special[id]) if id < first else words[id - first])


# --- the library `tokenizers` ---------------------------------------------------


def _parts(text: str) -> Iterator[str]:
  """A long text in parts, cut where the tokens of `Bpe` are cut anyway.

  GPT-2's pattern ends a token between a letter and a line end.
  """
  start = 0
  while len(text) - start > _PART:
    place = re.compile(r'(?<=\w)\n').search(text, start + _PART)
    if not place:
      break
    yield text[start : place.start()]
    start = place.start()
  yield text[start:]


def _library(text: str,
             parts: Callable[[str], Iterable[str]] = lambda text: (text,)) -> Tokenizer:
  import tokenizers

  tokenizer = tokenizers.Tokenizer.from_str(text)
  tokenizer.no_padding()
  tokenizer.no_truncation()
  tokenizer.encode_special_tokens = True  # as any other text, that is
  vocabulary = tokenizer.get_vocab(with_added_tokens=True)
  added = tokenizer.get_added_tokens_decoder()
  hidden = {token.content: id for id, token in added.items() if token.special}
  special = {}
  for name, spellings in _SPELLINGS.items():
    found = [hidden[s] for s in (_spelling(name), *spellings) if s in hidden]
    special |= {name: found[0]} if found else {}
  size = max(vocabulary.values()) + 1
  decoder = json.loads(text).get('decoder') or {}
  byte_counts = np.zeros(size, np.float32)
  for token, id in vocabulary.items():
    if token not in hidden:
      byte_counts[id] = _length(token) if id in added else _stands_for(token, decoder)

  def encode_all(texts):
    pieces = [list(parts(t)) for t in texts]
    flat = [piece for of_text in pieces for piece in of_text]
    arrays: list[np.ndarray] = []
    for group in _groups(flat):
      encoded = tokenizer.encode_batch_fast(
        [_valid(piece) for piece in group], add_special_tokens=False)
      arrays += [np.array(e.ids, np.int32) for e in encoded]
    rest = iter(arrays)
    return [array[0] if len(array) == 1 else np.concatenate(array)
            for array in ([next(rest) for _ in of_text] for of_text in pieces)]

  def readable(id):
    token = tokenizer.id_to_token(int(id)) or ''
    if token in hidden or id in added or not tokenizer.decoder:
      return token
    shown = tokenizer.decoder.decode([token])
    return token if '\ufffd' in shown or not shown else shown

  return Tokenizer(
    size=size,
    special=special,
    byte_counts=byte_counts,
    encode_all=encode_all,
    decode=lambda ids: tokenizer.decode(
      _ids(ids, size).tolist(), skip_special_tokens=True),
    token=readable)


def _groups(texts: list[str]) -> Iterator[list[str]]:
  """Texts in groups that are not too long together."""
  group, length = [], 0
  for text in texts:
    group.append(text)
    length += len(text)
    if length > 4 * _PART:
      yield group
      group, length = [], 0
  if group:
    yield group


def _stands_for(token: str, decoder: dict[str, Any]) -> int:
  """The bytes of text that a token stands for, by what decodes it."""
  inside = (decoder, *decoder.get('decoders', ()))
  kinds = {part.get('type'): part for part in inside}
  if 'ByteLevel' in kinds:
    return len(token)  # a character for every byte
  if 'ByteFallback' in kinds and re.fullmatch(r'<0x[0-9A-F]{2}>', token):
    return 1
  if 'WordPiece' in kinds:
    return _length(token.removeprefix(kinds['WordPiece'].get('prefix') or ''))
  if 'Metaspace' in kinds or 'Replace' in kinds:
    return _length(token.replace(_SPACE, ' '))
  return _length(token)


# --- SentencePiece --------------------------------------------------------------


def _lines(texts: Iterable[str]) -> Iterator[str]:
  """Lines in parts: the library leaves out those of more than 4,192 bytes."""
  for text in texts:
    for line in _valid(text).split('\n'):
      for start in range(0, len(line), 1000):
        yield line[start : start + 1000]


def _pieces(model: bytes) -> Tokenizer:
  import sentencepiece

  processor = sentencepiece.SentencePieceProcessor(model_proto=model)
  size = processor.get_piece_size()
  tokens = [processor.id_to_piece(i) for i in range(size)]
  hidden = {i for i in range(size)
            if processor.is_control(i) or processor.is_unknown(i)}
  names = {_spelling(name): name for name in _SPELLINGS}
  shown = [t if i in hidden or processor.is_byte(i) else t.replace(_SPACE, ' ')
           for i, t in enumerate(tokens)]
  byte_counts = [0 if i in hidden else 1 if processor.is_byte(i) else _length(t)
                 for i, t in enumerate(shown)]
  # A line end is in no piece, and the library would take its own sign for a space.
  apart = {sign: [processor.piece_to_id(f'<0x{byte:02X}>') for byte in sign.encode()]
           for sign in ('\n', _SPACE)}
  pattern = re.compile(f'([{"".join(apart)}])')

  def encode(text):
    parts = pattern.split(_valid(text))
    encoded = processor.encode(parts[::2])
    ids = list(encoded[0])
    for sign, more in zip(parts[1::2], encoded[1:], strict=True):
      ids += [*apart[sign], *more]
    return np.array(ids, np.int32)

  return Tokenizer(
    size=size,
    special={names[tokens[i]]: i for i in sorted(hidden) if tokens[i] in names},
    byte_counts=np.array(byte_counts, np.float32),
    encode_all=lambda texts: [encode(text) for text in texts],
    decode=lambda ids: processor.decode(
      [i for i in _ids(ids, size).tolist() if i not in hidden]),
    token=lambda id: shown[id])
