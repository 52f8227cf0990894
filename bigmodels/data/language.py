"""Text as a source of examples: packed for language models, labelled, or translated.

The tokenizer is fitted to the split 'train' alone and kept with the run, under the
name 'tokenizer'; every other split is read with it.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.origins import Origin
from bigmodels.data.sources import Columns, DataContext, Dataset, in_memory
from bigmodels.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Packed:
  """Documents as one stream of tokens, cut into blocks: for language models.

  The stream has an 'end' before the first document and after each, if the tokenizer
  has one, so that every token is predicted once; without one, the documents follow
  each other as they are, and the very first token is only an input.

  Opened, of `L = length`: `inputs` `[n, L]` and `labels` `[n, L]`, the tokens that
  follow the inputs; uint16, or int32 for more than 65,536 tokens. The last block is
  filled up with zeros: only then there are `weights`, uint8 `[n, L]`, 0 for what is no
  prediction.

  With `separate` there are also `segments`, int32 `[n, L]`: 1, 2, ... for the documents
  of a block in turn, 0 for what only fills up. The 'end' that stands before a document
  is its first input, from which its first token is predicted; the 'end' after it is its
  last label. So inputs and labels of a segment are of one document, and attention that
  stays in the segments never sees another.

  Attributes:
    documents: where they come from; see `texts`. Labels are not looked at.
    tokenizer: its recipe; see `tokenizers`.
    length: tokens in a block.
    separate: whether to tell where documents are.
    stride: tokens from the beginning of a block to that of the next; less than the
      length, and blocks overlap: tokens are then met in several places, and count in
      each. None for the length.
    selected: the split that `open` gives, one of the documents' splits.
  """

  documents: Any
  tokenizer: Any
  length: int
  _: dataclasses.KW_ONLY
  separate: bool = False
  stride: int | None = None
  selected: str = 'train'

  def __post_init__(self):
    _check_length(self.length)
    if self.stride is not None and not 1 <= self.stride <= self.length:
      raise ValueError(f'stride: wants 1 to {self.length}, the length, got '
                       f'{self.stride}')

  def split(self, name: str) -> 'Packed':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads, fits if need be, and cuts the selected split.

    Raises:
      UserError: if there is less text than one block, or it cannot be encoded.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    found = read(self.selected)
    if found.shapes_only and self.tokenizer.fitted and 'tokenizer' not in context.kept:
      raise UserError(
        f'{self.documents.name} is not prepared, and its text is needed: the '
        f'vocabulary of {type(self.tokenizer).__name__} is fitted to it; '
        '--mode=download prepares it, and tokenizers.Bytes is not fitted')
    tokenizer = _tokenizer(self, context, lambda: read('train').texts)
    documents = _encode(self, tokenizer, found.texts)
    end = tokenizer.special.get('end')
    if self.separate and end is None:
      raise UserError("separate: wants a tokenizer with an 'end' between documents")
    stream, begins = _stream(documents, end)
    if len(stream) <= self.length:
      raise UserError(
        f'{self.documents.name}, split {self.selected!r}: {len(stream):,} tokens in '
        f'all are too few for one block of length {self.length:,}, which wants '
        f'{self.length + 1:,}')
    columns = self._cut(stream, begins, tokenizer)
    bytes_ = sum(len(text.encode()) for text in found.texts)
    tokens = sum(map(len, documents))
    _say(self, context, f'{_many(len(found.texts), "document")}, {bytes_:,} bytes, '
         f'{tokens:,} tokens, {bytes_ / max(tokens, 1):.2f} bytes a token; '
         f'{_many(len(columns["inputs"]), "block")} of {self.length:,}', found.note)
    return _dataset(self, columns, None, tokenizer, found.origin)

  def _cut(self, stream: np.ndarray, begins: np.ndarray, tokenizer: Tokenizer
           ) -> Columns:
    """Blocks of a stream `[tokens]`; `begins` are the places of first inputs."""
    stride, predictions = self.stride or self.length, len(stream) - 1
    count = 1 + -(-max(predictions - self.length, 0) // stride)
    total = (count - 1) * stride + self.length

    def blocks(array, width):
      padded = np.zeros(total + width - self.length, array.dtype)
      padded[: len(array)] = array
      return np.lib.stride_tricks.sliding_window_view(padded, width)[::stride]

    tokens = blocks(stream.astype(_dtype(tokenizer)), self.length + 1)
    columns = {'inputs': tokens[:, :-1], 'labels': tokens[:, 1:]}
    if total > predictions:
      columns['weights'] = blocks(np.ones(predictions, np.uint8), self.length)
    if self.separate:
      numbers = np.zeros(predictions, np.int32)
      numbers[begins] = 1
      numbers = blocks(np.cumsum(numbers, dtype=np.int32), self.length)
      columns['segments'] = np.where(numbers, numbers - numbers[:, :1] + 1, 0)
    return columns


@dataclasses.dataclass(frozen=True)
class Sentences:
  """Labelled texts, one a row: for classification.

  Opened, of `L = length`: `inputs` `[n, L]`, uint16 or int32 as in `Packed`, with the
  tokens 'class' first and 'separator' last, as BERT reads a text, if the tokenizer has
  them; filled up with 'pad' (0 without one); `segments` int32 `[n, L]`, 1 for a token
  and 0 for what only fills up; `labels` int32 `[n]`, indices of the sorted labels of
  the split 'train'. Longer texts are cut off, before the 'separator'.

  Attributes:
    documents: a `texts.LabelledCsv`.
    tokenizer: its recipe; see `tokenizers`.
    length: tokens in a row.
    selected: the split that `open` gives.
  """

  documents: Any
  tokenizer: Any
  length: int
  selected: str = 'train'

  def __post_init__(self):
    _check_length(self.length)

  def split(self, name: str) -> 'Sentences':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads, fits if need be, and encodes the selected split.

    Raises:
      UserError: if a text cannot be encoded, or has a label that 'train' has not.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = _tokenizer(self, context, lambda: read('train').texts)
    classes = context.keep('classes', lambda: _sorted(set(read('train').labels)))
    if len(classes) < 2:
      raise UserError(f'{self.documents.name}: every label of the split \'train\' is '
                      f'{classes[0]!r}; two classes are needed')
    found = read(self.selected)
    index = {name: i for i, name in enumerate(classes)}
    for row, label in enumerate(found.labels):
      if label not in index:
        raise UserError(f'{found.place(row)}: the label {label!r} is none of those of '
                        f'the split \'train\': {", ".join(classes[:20])}')
    rows = _encode(self, tokenizer, found.texts)
    first, last = ([tokenizer.special[name]] if name in tokenizer.special else []
                   for name in ('class', 'separator'))
    room = self.length - len(first) - len(last)
    if room < 1:
      raise UserError(f'length={self.length}: leaves no room for a text between the '
                      'special tokens')
    cut = sum(len(row) > room for row in rows)
    rows = [np.concatenate([first, row[:room], last]).astype(np.int32) for row in rows]
    note = f'{cut:,} longer than {self.length} tokens, so cut off' * bool(cut)
    columns = {
      **_filled('inputs', rows, self.length, tokenizer, marks='segments',
                marks_dtype=np.int32),
      'labels': np.array([index[label] for label in found.labels], np.int32)}
    _say(self, context, f'{_many(len(rows), "text")}, {len(classes)} classes, '
         f'{sum(map(len, rows)):,} tokens', found.note, note)
    return _dataset(self, columns, tuple(classes), tokenizer, found.origin)


@dataclasses.dataclass(frozen=True)
class Translations:
  """Pairs of lines with one vocabulary for both languages: for translation.

  Opened, `S` and `T` being what the longest lines of the split need: `inputs` `[n, S]`,
  the source and 'end'; `segments` int32 `[n, S]`, 1 for a token and 0 for what only
  fills up; `decoder_inputs` `[n, T]`, 'begin' and the target; `labels` `[n, T]`, the
  target and 'end'; `weights` uint8 `[n, T]`, 1 for a token, 0 for what only fills up.
  Filled up with 'pad'. Tokens are uint16 or int32 as in `Packed`.

  Pairs of 'train' where a side with its 'end' is longer than `length` are dropped. Of
  other splits nothing is, and S and T, multiples of 8, grow with them, so that scores
  are of the whole split.

  With `packed`, pairs of 'train' share rows of so many tokens on either side, so that
  little is only filled up: `segments` and then `decoder_segments`, int32 `[n, T]`, are
  1, 2, ... for the pairs of a row, 0 for what only fills up.

  Attributes:
    documents: a `texts.ParallelFiles`.
    tokenizer: its recipe, with 'pad', 'begin' and 'end'; see `tokenizers`.
    length: the most tokens of a side in training, 'end' included.
    selected: the split that `open` gives.
    packed: tokens of a row in training, at least the length; None gives each pair a
      row.
  """

  documents: Any
  tokenizer: Any
  length: int
  selected: str = 'train'
  _: dataclasses.KW_ONLY
  packed: int | None = None

  def __post_init__(self):
    _check_length(self.length)
    if self.packed is not None and self.packed < self.length:
      raise ValueError(f'packed: wants at least {self.length}, the length, got '
                       f'{self.packed}')

  def split(self, name: str) -> 'Translations':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads, fits if need be, and encodes the selected split.

    Raises:
      UserError: if no pair is left, or the tokenizer lacks a special token.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = _tokenizer(
      self, context, lambda: [*read('train').sources, *read('train').targets])
    special, needed = tokenizer.special, ('pad', 'begin', 'end')
    if lacking := [name for name in needed if name not in special]:
      raise UserError(f'tokenizer: translation wants the special tokens {needed}; '
                      f'{", ".join(map(repr, lacking))} not among {tuple(special)}')
    found = read(self.selected)
    sources = _encode(self, tokenizer, found.sources)
    targets = _encode(self, tokenizer, found.targets)
    notes, training = [found.note], self.selected == 'train'
    if training:
      pairs = [(s, t) for s, t in zip(sources, targets, strict=True)
               if max(len(s), len(t)) < self.length]
      if not pairs:
        raise UserError(f'{self.documents.name}: every pair of {self.selected!r} is '
                        f'longer than {self.length} tokens')
      gone = len(sources) - len(pairs)
      notes.append(f'{_many(gone, "pair")} longer than {self.length} tokens, so left '
                   'out' if gone else '')
      sources, targets = map(list, zip(*pairs, strict=True))
    else:
      changed = sum(tokenizer.decode(ids) != text
                    for ids, text in zip(targets, found.targets, strict=True))
      notes.append(f'{_many(changed, "reference")} of {len(targets):,} changed by the '
                   'tokenizer: decoded, not as in the file' if changed else '')
    begin, end = ([special[name]] for name in ('begin', 'end'))
    if training and self.packed:
      columns = _packed(sources, targets, begin, end, self.packed, tokenizer)
      _say(self, context, f'{_many(len(sources), "pair")}, '
           f'{sum(map(len, sources)):,} and {sum(map(len, targets)):,} tokens, in '
           f'{len(columns["inputs"]):,} rows of {self.packed}', *notes)
      return _dataset(self, columns, None, tokenizer, found.origin)

    def fill(name, parts, **marks):
      rows = [np.concatenate(part) for part in parts]
      width = -(-max(map(len, rows)) // 8) * 8
      width = min(width, self.length) if training else width
      return _filled(name, rows, width, tokenizer, **marks)

    columns = {
      **fill('inputs', [(ids, end) for ids in sources], marks='segments',
             marks_dtype=np.int32),
      **fill('decoder_inputs', [(begin, ids) for ids in targets]),
      **fill('labels', [(ids, end) for ids in targets], marks='weights',
             marks_dtype=np.uint8)}
    _say(self, context, f'{_many(len(sources), "pair")}, {sum(map(len, sources)):,} '
         f'and {sum(map(len, targets)):,} tokens, filled up to '
         f'{columns["inputs"].shape[1]} and {columns["labels"].shape[1]}', *notes)
    return _dataset(self, columns, None, tokenizer, found.origin)


def _packed(sources, targets, begin, end, width: int, tokenizer: Tokenizer) -> Columns:
  """The columns of pairs that share rows; see `Translations`."""
  pairs = [[np.append(s, end), np.append(begin, t), np.append(t, end)]
           for s, t in zip(sources, targets, strict=True)]
  rows = _fitting(np.array([[len(s), len(t)] for s, t, _ in pairs]), width)

  def fill(name, side, **marks):
    joined = [np.concatenate([pairs[i][side] for i in row]) for row in rows]
    return _filled(name, joined, width, tokenizer, **marks)

  def numbers(side):
    found = np.zeros((len(rows), width), np.int32)
    for number, row in zip(found, rows, strict=True):
      lengths = [len(pairs[i][side]) for i in row]
      number[: sum(lengths)] = np.repeat(np.arange(len(row)) + 1, lengths)
    return found

  return {**fill('inputs', 0), 'segments': numbers(0), **fill('decoder_inputs', 1),
          'decoder_segments': numbers(1),
          **fill('labels', 2, marks='weights', marks_dtype=np.uint8)}


def _fitting(sizes: np.ndarray, width: int) -> list[list[int]]:
  """Rows of indices of `sizes` `[n, sides]`, no side of a row over the width.

  Each goes where least is left after it, among the last rows that were begun.
  """
  rows: list[list[int]] = []
  left = np.zeros((0, sizes.shape[1]), int)  # in each of the last rows
  for index, size in enumerate(sizes):
    fits = (left >= size).all(1)
    if fits.any():
      place = int(np.where(fits, left.sum(1), np.iinfo(int).max).argmin())
    else:
      left = np.concatenate([left[-63:], [[width] * sizes.shape[1]]])
      rows.append([])
      place = len(left) - 1
    rows[len(rows) - len(left) + place].append(index)
    left[place] -= size
  return rows


# --- common ---------------------------------------------------------------------


def _check_length(length: int) -> None:
  if length < 1:
    raise ValueError(f'length: wants at least 1, got {length}')


def _tokenizer(source, context: DataContext, texts) -> Tokenizer:
  """The run's tokenizer, fitted now if it has none."""

  def fit():
    found = texts()
    try:
      state = source.tokenizer.fit(found)
    except UserError as error:
      raise UserError(f'{source.documents.name}: {error}') from None
    context.say(f'tokenizer: {type(source.tokenizer).__name__}, '
                f'{tokenizers.load(state).size:,} tokens')
    return state

  state = context.keep('tokenizer', fit)
  tokenizers.check(source.tokenizer, state)
  return tokenizers.load(state)


def _encode(source, tokenizer: Tokenizer, texts: Iterable[str]) -> list[np.ndarray]:
  try:
    return _encoded(tokenizer, tuple(texts))
  except UserError as error:
    raise UserError(f'{source.documents.name}, split {source.selected!r}: {error}'
                    ) from None


@functools.lru_cache(maxsize=4)  # a process may open the same splits several times
def _encoded(tokenizer: Tokenizer, texts: tuple[str, ...]) -> list[np.ndarray]:
  return tokenizer.encode_all(texts)


def _stream(documents: list[np.ndarray], end: int | None
            ) -> tuple[np.ndarray, np.ndarray]:
  """All tokens `[n]` in a row, and the place where each document begins."""
  if end is None:
    return np.concatenate(documents), np.zeros(0, int)
  mark = np.array([end], np.int32)
  stream = np.concatenate([mark, *(a for ids in documents for a in (ids, mark))])
  lengths = np.array([len(ids) + 1 for ids in documents])
  return stream, np.cumsum(lengths) - lengths


def _dtype(tokenizer: Tokenizer) -> type:
  return np.uint16 if tokenizer.size <= 2**16 else np.int32


def _filled(name: str, rows: list[np.ndarray], width: int, tokenizer: Tokenizer,
            marks: str = '', marks_dtype: Any = np.uint8) -> Columns:
  """Rows filled up to `[n, width]`, and under the name `marks` where they are not."""
  lengths = np.array([len(row) for row in rows])
  there = np.arange(width) < lengths[:, None]
  array = np.full(there.shape, tokenizer.special.get('pad', 0), _dtype(tokenizer))
  array[there] = np.concatenate(rows)
  return {name: array} | ({marks: there.astype(marks_dtype)} if marks else {})


def _dataset(source, columns: Columns, classes: tuple[str, ...] | None,
             tokenizer: Tokenizer, origin: Origin | None) -> Dataset:
  dataset = in_memory(columns, classes)
  return dataset._replace(
    read=functools.partial(_take, columns),  # unlike a lambda it goes to workers
    identity=f'{source.documents.name}, split {source.selected!r}: {dataset.identity}',
    provides=tokenizers.provided(tokenizer), origin=origin)


def _take(columns: Mapping[str, np.ndarray], rows: np.ndarray,
          seeds: np.ndarray | None = None) -> Columns:
  del seeds
  return {name: array[rows] for name, array in columns.items()}


def _sorted(labels: set[str]) -> list[str]:
  """Sorted as numbers if they are numbers."""
  try:
    return sorted(labels, key=lambda label: (float(label), label))
  except ValueError:
    return sorted(labels)


def _many(count: int, what: str) -> str:
  return f'{count:,} {what}{"s" * (count != 1)}'


def _say(source, context: DataContext, *parts: str) -> None:
  context.say(f'{source.documents.name}, {source.selected}: '
              f'{"; ".join(filter(None, parts))}')
