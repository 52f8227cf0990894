"""Tokenizers: text to tokens and back, made from the states of their configs.

See `tokenizers` for the configs. Each function `of_...` makes a `Tokenizer` from plain
data.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError

# The names of special tokens, and their spellings in well-known vocabularies.
SPELLINGS = {
  'pad': ('[PAD]', '<pad>'),
  'begin': ('<s>', '<bos>', '<|begin_of_text|>', '[BOS]'),
  'end': ('</s>', '<eos>', '<|endoftext|>', '<|end_of_text|>', '[EOS]'),
  'mask': ('[MASK]', '<mask>'),
  'class': ('[CLS]', '<cls>'),
  'separator': ('[SEP]', '<sep>'),
  'unknown': ('[UNK]', '<unk>'),
}
PART = 1 << 20  # characters per call of a library, whose results are large
SPACE = '▁'  # U+2581, SentencePiece's character for a space


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """Text to tokens and back.

  Attributes:
    size: number of tokens; ids are below it.
    special: name -> id of the special tokens that exist, of 'pad', 'begin', 'end' (of a
      text), 'mask', 'class', 'separator', 'unknown'.
    byte_counts: float32 `[size]`, the UTF-8 bytes that a token represents; 0 for
      special tokens.
    encode_all: texts -> the int32 ids `[n]` of each; no special tokens are added.
    decode: ids -> text. Special tokens and invalid ids are skipped.
    token: id -> readable text.
    offsets: text -> its ids, int32 `[n]`, and the first character of each token and
      the one after its last, int32 `[n, 2]`; None if it cannot say.
  """

  size: int
  special: dict[str, int]
  byte_counts: np.ndarray
  encode_all: Callable[[Sequence[str]], list[np.ndarray]]
  decode: Callable[[Iterable[int]], str]
  token: Callable[[int], str]
  offsets: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None

  def encode(self, text: str) -> np.ndarray:
    """Returns the ids of a text, int32 `[n]`, without special tokens.

    Raises:
      UserError: if it cannot be encoded.
    """
    return self.encode_all([text])[0]


def spelling(name: str) -> str:
  """Returns the spelling of a special token in vocabularies that are fitted here."""
  return f'<|{name}|>'


def _utf8(text: str) -> bytes:
  try:
    return text.encode()
  except UnicodeEncodeError as error:
    raise UserError(f'text: {text[error.start]!r} at position {error.start} is half '
                    'a character, which UTF-8 cannot encode') from None


def valid(text: str) -> str:
  """Returns the text, if it can be encoded in UTF-8.

  Raises:
    UserError: if it contains a lone surrogate.
  """
  _utf8(text)
  return text


def _ids(ids: Iterable[int], size: int) -> np.ndarray:
  """The valid ids of tokens, as a model may have more outputs."""
  ids = np.asarray(ids if hasattr(ids, '__array__') else list(ids), np.int64).ravel()
  return ids[(ids >= 0) & (ids < size)]


# --- bytes, characters, words ---------------------------------------------------


def of_bytes(end: bool) -> Tokenizer:
  """Returns the tokenizer of bytes, with or without 'end' as id 256."""
  size = 256 + end
  return Tokenizer(
    size=size,
    special={'end': 256} if end else {},
    byte_counts=(np.arange(size) < 256).astype(np.float32),
    encode_all=lambda texts: [
      np.frombuffer(_utf8(text), np.uint8).astype(np.int32) for text in texts],
    decode=lambda ids: _ids(ids, 256).astype(np.uint8).tobytes().decode(
      errors='replace'),
    token=lambda id: spelling('end') if id == 256 else (
      chr(id) if id < 128 else f'<0x{id:02X}>'))


def of_characters(known: str, special: Sequence[str] = ()) -> Tokenizer:
  """Returns the tokenizer of special tokens, followed by sorted characters.

  It refuses other characters.
  """
  points = np.array([ord(c) for c in known], np.uint32)
  first, size = len(special), len(special) + len(known)

  def encode(text):
    found = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), '<u4')
    ids = np.minimum(np.searchsorted(points, found), len(points) - 1)
    if (other := points[ids] != found).any():
      at = int(other.argmax())
      raise UserError(
        f'the character {text[at]!r} at position {at} of {_excerpt(text, at)} is not '
        f'in the training text, whose {len(known)} characters are '
        f'{_excerpt(known, 0, 200)}')
    return ids.astype(np.int32) + first

  return Tokenizer(
    size=size,
    special={name: id for id, name in enumerate(special)},
    byte_counts=np.array([0] * first + [_length(c) for c in known], np.float32),
    encode_all=lambda texts: [encode(text) for text in texts],
    decode=lambda ids: ''.join(known[i - first] for i in _ids(ids, size) if i >= first),
    token=lambda id: spelling(special[id]) if id < first else known[id - first])


def _excerpt(text: str, position: int, most: int = 40) -> str:
  first = max(0, position - most // 2)
  part = text[first : first + most]
  return f'{"..." * (first > 0)}{part!r}{"..." * (first + len(part) < len(text))}'


def _length(text: str) -> int:
  return len(text.encode('utf-8', 'surrogatepass'))


def of_words(words: list[str], special: list[str]) -> Tokenizer:
  """Returns the tokenizer of special tokens, with 'unknown', followed by words."""
  named = {name: id for id, name in enumerate(special)}
  first, size = len(special), len(special) + len(words)
  known = {word: first + i for i, word in enumerate(words)}
  unknown = named['unknown']

  def offsets(text):
    found = [*re.finditer(r'\S+', text)]
    return (np.array([known.get(word[0], unknown) for word in found], np.int32),
            np.array([word.span() for word in found], np.int32).reshape(-1, 2))

  return Tokenizer(
    size=size,
    special=named,
    byte_counts=np.array([0] * first + [_length(w) for w in words], np.float32),
    encode_all=lambda texts: [
      np.array([known.get(word, unknown) for word in text.split()], np.int32)
      for text in texts],
    decode=lambda ids: ' '.join(words[i - first] for i in _ids(ids, size)
                                if i >= first),
    token=lambda id: spelling(special[id]) if id < first else words[id - first],
    offsets=offsets)


# --- the library `tokenizers` ---------------------------------------------------


def in_parts(text: str) -> Iterator[str]:
  """Yields a long text in parts, cut at boundaries of tokens of `Bpe`.

  GPT-2's pattern ends a token between a letter and a newline.
  """
  start = 0
  while len(text) - start > PART:
    found = re.compile(r'(?<=\w)\n').search(text, start + PART)
    if not found:
      break
    yield text[start : found.start()]
    start = found.start()
  yield text[start:]


def of_library(text: str, parts: Callable[[str], Iterable[str]] = lambda text: (text,)
               ) -> Tokenizer:
  """Returns the tokenizer that a `tokenizer.json` describes.

  Args:
    text: content of the file.
    parts: text -> parts that together have the same tokens.

  Raises:
    ValueError: if it has no tokens. For invalid files, the library raises its own
      errors.
  """
  import tokenizers

  tokenizer = tokenizers.Tokenizer.from_str(text)
  tokenizer.no_padding()
  tokenizer.no_truncation()
  tokenizer.encode_special_tokens = True  # as any other text
  vocabulary = tokenizer.get_vocab(with_added_tokens=True)
  if not vocabulary:
    raise ValueError('its vocabulary is empty')
  added = tokenizer.get_added_tokens_decoder()
  hidden = {token.content: id for id, token in added.items() if token.special}
  special = {}
  for name, spellings in SPELLINGS.items():
    found = [hidden[s] for s in (spelling(name), *spellings) if s in hidden]
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
        [valid(piece) for piece in group], add_special_tokens=False)
      arrays += [np.array(e.ids, np.int32) for e in encoded]
    rest = iter(arrays)
    return [array[0] if len(array) == 1 else np.concatenate(array)
            for array in ([next(rest) for _ in of_text] for of_text in pieces)]

  def offsets(text):
    found = tokenizer.encode(valid(text), add_special_tokens=False)
    return (np.array(found.ids, np.int32),
            np.array(found.offsets, np.int32).reshape(-1, 2))

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
    token=readable,
    offsets=offsets)


def _groups(texts: list[str]) -> Iterator[list[str]]:
  """Yields texts in groups of limited length."""
  group, length = [], 0
  for text in texts:
    group.append(text)
    length += len(text)
    if length > 4 * PART:
      yield group
      group, length = [], 0
  if group:
    yield group


def _stands_for(token: str, decoder: dict[str, Any]) -> int:
  """The number of bytes of text that a token represents, by its decoder."""
  inside = (decoder, *decoder.get('decoders', ()))
  kinds = {part.get('type'): part for part in inside}
  if 'ByteLevel' in kinds:
    return len(token)  # a character for every byte
  if 'ByteFallback' in kinds and re.fullmatch(r'<0x[0-9A-F]{2}>', token):
    return 1
  if 'WordPiece' in kinds:
    return _length(token.removeprefix(kinds['WordPiece'].get('prefix') or ''))
  if 'Metaspace' in kinds or 'Replace' in kinds:
    return _length(token.replace(SPACE, ' '))
  return _length(token)


# --- SentencePiece --------------------------------------------------------------


def of_pieces(model: bytes) -> Tokenizer:
  """Returns the tokenizer that a SentencePiece model describes."""
  import sentencepiece

  processor = sentencepiece.SentencePieceProcessor(model_proto=model)
  size = processor.get_piece_size()
  tokens = [processor.id_to_piece(i) for i in range(size)]
  hidden = {i for i in range(size)
            if processor.is_control(i) or processor.is_unknown(i)}
  names = {spelling(name): name for name in SPELLINGS}
  shown = [t if i in hidden or processor.is_byte(i) else t.replace(SPACE, ' ')
           for i, t in enumerate(tokens)]
  byte_counts = [0 if i in hidden else 1 if processor.is_byte(i) else _length(t)
                 for i, t in enumerate(shown)]
  # No piece contains a newline, and the library would decode its own sign as a space.
  apart = {sign: [processor.piece_to_id(f'<0x{byte:02X}>') for byte in sign.encode()]
           for sign in ('\n', SPACE)}
  pattern = re.compile(f'([{"".join(apart)}])')

  def encode(text):
    parts = pattern.split(valid(text))
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
