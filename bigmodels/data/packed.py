"""Documents packed into blocks of tokens, for language models."""

import dataclasses
import functools
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.tokenized import (
  check_length,
  dataset_of,
  dtype_of,
  encode,
  many,
  say,
  tokenizer_of,
)
from bigmodels.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Packed:
  """Documents as one stream of tokens, cut into blocks: for language models.

  The stream has an 'end' before the first document and after each document, if the
  tokenizer has one, so that every token is predicted once. Otherwise the documents are
  simply concatenated, and the very first token is only an input.

  Opened, with `L = length`: `inputs` `[n, L]` and `labels` `[n, L]`, the tokens that
  follow the inputs; uint16, or int32 for more than 65,536 tokens. If the last block is
  padded with zeros, there are also `weights`, uint8 `[n, L]`, 0 for padding.

  With `separate` there are also `segments`, int32 `[n, L]`: 1, 2, ... for successive
  documents of a block, 0 for padding. The 'end' before a document is its first input,
  from which its first token is predicted; the 'end' after it is its last label. Inputs
  and labels of a segment thus belong to one document, and attention within segments
  does not mix documents.

  Attributes:
    documents: source of the documents; see `texts`. Their labels are not read.
    tokenizer: config of the tokenizer; see `tokenizers`.
    length: number of tokens in a block.
    separate: whether to return `segments`.
    stride: number of tokens between the beginnings of two blocks. Below the length,
      blocks overlap: a token is then predicted in several blocks, and counts in each.
      None for the length.
    selected: the split that `open` returns, one of the documents' splits.
  """

  documents: Any
  tokenizer: Any
  length: int
  _: dataclasses.KW_ONLY
  separate: bool = False
  stride: int | None = None
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.length)
    if self.stride is not None and not 1 <= self.stride <= self.length:
      raise ValueError(f'stride: must be 1 to {self.length}, the length, got '
                       f'{self.stride}')

  def split(self, name: str) -> 'Packed':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the selected split, fits the tokenizer if needed, and makes blocks.

    Raises:
      UserError: if the text is shorter than a block, or cannot be encoded.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    found = read(self.selected)
    if found.shapes_only and self.tokenizer.fitted and 'tokenizer' not in context.kept:
      raise UserError(
        f'{self.documents.name} is not prepared, and its text is needed to fit the '
        f'vocabulary of {type(self.tokenizer).__name__}; '
        '--mode=download prepares it, and tokenizers.Bytes is not fitted')
    tokenizer = tokenizer_of(self, context, lambda: read('train').texts)
    documents = encode(self, tokenizer, found.texts, context)
    end = tokenizer.special.get('end')
    if self.separate and end is None:
      raise UserError("separate: needs a tokenizer with an 'end' between documents")
    stream, begins = _stream(documents, end)
    if len(stream) <= self.length:
      raise UserError(
        f'{self.documents.name}, split {self.selected!r}: a total of '
        f'{len(stream):,} tokens is too few for a block of length {self.length:,}, '
        f'which needs {self.length + 1:,}')
    columns = self._cut(stream, begins, tokenizer)
    bytes_ = sum(len(text.encode()) for text in found.texts)
    tokens = sum(map(len, documents))
    say(self, context, f'{many(len(found.texts), "document")}, {bytes_:,} bytes, '
         f'{tokens:,} tokens, {bytes_ / max(tokens, 1):.2f} bytes per token; '
         f'{many(len(columns["inputs"]), "block")} of {self.length:,}', found.note)
    return dataset_of(self, columns, None, tokenizer, found.origin)

  def _cut(self, stream: np.ndarray, begins: np.ndarray, tokenizer: Tokenizer
           ) -> Columns:
    """The columns of a stream.

    Args:
      stream: int32 `[tokens]`.
      begins: positions of the first inputs of documents.
      tokenizer: determines the dtype.
    """
    stride, predictions = self.stride or self.length, len(stream) - 1
    count = 1 + -(-max(predictions - self.length, 0) // stride)
    total = (count - 1) * stride + self.length

    def blocks(array, width):
      whole = np.zeros(total + width - self.length, array.dtype)
      whole[: len(array)] = array
      return np.lib.stride_tricks.sliding_window_view(whole, width)[::stride]

    tokens = blocks(stream.astype(dtype_of(tokenizer)), self.length + 1)
    columns = {'inputs': tokens[:, :-1], 'labels': tokens[:, 1:]}
    if total > predictions:
      columns['weights'] = blocks(np.ones(predictions, np.uint8), self.length)
    if self.separate:
      numbers = np.zeros(predictions, np.int32)
      numbers[begins] = 1
      numbers = blocks(np.cumsum(numbers, dtype=np.int32), self.length)
      columns['segments'] = np.where(numbers, numbers - numbers[:, :1] + 1, 0)
    return columns


def _stream(documents: list[np.ndarray], end: int | None
            ) -> tuple[np.ndarray, np.ndarray]:
  """All tokens `[n]`, concatenated, and the position where each document begins."""
  if end is None:
    return np.concatenate(documents), np.zeros(0, int)
  mark = np.array([end], np.int32)
  stream = np.concatenate([mark, *(a for ids in documents for a in (ids, mark))])
  lengths = np.array([len(ids) + 1 for ids in documents])
  return stream, np.cumsum(lengths) - lengths
