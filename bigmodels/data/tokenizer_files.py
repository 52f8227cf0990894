"""A run's tokenizer as a `tokenizer.json` of Hugging Face's libraries."""

from typing import Any

from bigmodels.data import tokenizers, vocabularies

# Our name of a special token -> its key in `tokenizer_config.json`.
KEYS = {'pad': 'pad_token', 'begin': 'bos_token', 'end': 'eos_token',
        'mask': 'mask_token', 'class': 'cls_token', 'separator': 'sep_token',
        'unknown': 'unk_token'}


def as_library(state: dict[str, Any]) -> Any:
  """The `tokenizers.Tokenizer` that gives the same tokens; None if there is none.

  It differs in one thing: a text that spells a special token is encoded as that token.

  Args:
    state: of a tokenizer; see `tokenizers.Config`.
  """
  from tokenizers import Tokenizer

  kind = state['kind']
  if isinstance(state.get('tokenizer'), str):
    return Tokenizer.from_str(state['tokenizer'])
  make = {'Bytes': _bytes, 'Characters': _characters, 'Words': _words}.get(kind)
  return make(state) if make else None  # SentencePiece's has no such form


def text_of(state: dict[str, Any], *, framed: bool) -> str | None:
  """The content of the file; None if the library has no such tokenizer.

  Args:
    state: see `as_library`.
    framed: whether texts begin with 'class' and end with 'separator', as those of
      `data.Sentences`, where the tokenizer has these and the file does not say so.
  """
  found = as_library(state)
  if found is None:
    return None
  special = tokenizers.load(state).special
  frame = [special.get('class'), special.get('separator')]
  if framed and found.post_processor is None and frame != [None, None]:
    from tokenizers import processors

    first, last = (None if id is None else found.id_to_token(id) for id in frame)
    found.post_processor = processors.TemplateProcessing(
      single=[part for part in (first, '$A', last) if part],
      special_tokens=[(token, id) for token, id in zip(
        (first, last), frame, strict=True) if token])
  return found.to_str(pretty=True)


def config_of(state: dict[str, Any], length: int | None) -> dict[str, Any]:
  """The content of `tokenizer_config.json`.

  Args:
    state: see `as_library`.
    length: maximum number of tokens of a text; None for no limit.
  """
  library, special = as_library(state), tokenizers.load(state).special
  limit = {} if length is None else {'model_max_length': length}
  return {'tokenizer_class': 'PreTrainedTokenizerFast',
          'clean_up_tokenization_spaces': False, **limit,
          **{KEYS[name]: library.id_to_token(id) for name, id in special.items()}}


def _with_special(library, tokens: list[str]):
  """Marks tokens of the vocabulary as special, or adds them behind it."""
  library.add_special_tokens(tokens)
  return library


def _bytes(state):
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers

  # The library's character for a byte: its own where that can be printed, or another.
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  own = {c: ord(c) for c in alphabet if ord(c) < 256}
  rest = sorted({*range(256)} - {*own.values()})
  vocabulary = own | dict(zip(alphabet[len(own):], rest, strict=True))
  found = Tokenizer(models.BPE(vocabulary, []))
  found.pre_tokenizer = pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=False)
  found.decoder = decoders.ByteLevel()
  return _with_special(
    found, [vocabularies.spelling('end')] if state['settings']['end'] else [])


def _characters(state):
  from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

  known = {character: id for id, character in enumerate(state['characters'])}
  found = Tokenizer(models.WordLevel(known))  # refuses others, as `Characters` does
  found.pre_tokenizer = pre_tokenizers.Split(Regex(r'[\s\S]'), 'isolated')
  found.decoder = decoders.Fuse()
  return found


def _words(state):
  from tokenizers import Tokenizer, models, pre_tokenizers

  names = state['settings'].get('special', ())
  special = [vocabularies.spelling(name) for name in names]
  tokens = [*special, *state['words']]
  if len({*tokens}) < len(tokens):  # a word spells a special token
    return None
  found = Tokenizer(models.WordLevel(
    {token: id for id, token in enumerate(tokens)},
    unk_token=vocabularies.spelling('unknown')))
  found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  return _with_special(found, special)
