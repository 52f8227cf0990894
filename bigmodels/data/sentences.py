"""Labelled texts as rows of tokens, for classification."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tokenized import (
  check_length,
  dataset_of,
  encode,
  many,
  padded,
  say,
  tokenizer_of,
)
from bigmodels.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Sentences:
  """Labelled texts, one per row, for classification.

  Opened, with `L = length`: `inputs` `[n, L]`, uint16 or int32 as in `Packed`, padded.
  They begin with the token 'class' and end with 'separator', as in BERT, if the
  tokenizer has these. `segments` int32 `[n, L]`, 1 for a token and 0 for padding.
  `labels` int32 `[n]`, indices of the sorted labels of the split 'train'. Longer texts
  are truncated before the 'separator'.

  Attributes:
    documents: a `texts.LabelledTexts`.
    tokenizer: config of the tokenizer; see `tokenizers`.
    length: number of tokens in a row.
    selected: the split that `open` returns.
  """

  documents: Any
  tokenizer: Any
  length: int
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.length)

  def split(self, name: str) -> 'Sentences':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the selected split; fits the tokenizer if needed.

    Raises:
      UserError: if a text cannot be encoded, or has a label that 'train' does not have.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: read('train').texts)
    classes = context.keep('classes', lambda: _sorted(set(read('train').labels)))
    if len(classes) < 2:
      raise UserError(f'{self.documents.name}: every label of the split \'train\' is '
                      f'{classes[0]!r}; two classes are needed')
    found = read(self.selected)
    index = {name: i for i, name in enumerate(classes)}
    for row, label in enumerate(found.labels):
      if label not in index:
        raise UserError(f'{found.location(row)}: the label {label!r} is not one of '
                        f'those of the split \'train\': {", ".join(classes[:20])}')
    columns, lengths, cut = self._columns(tokenizer, found.texts)
    note = f'{cut:,} longer than {self.length} tokens, so truncated' * bool(cut)
    columns['labels'] = np.array([index[label] for label in found.labels], np.int32)
    say(self, context, f'{many(len(lengths), "text")}, {len(classes)} classes, '
         f'{sum(lengths):,} tokens', found.note, note)
    dataset = dataset_of(self, columns, tuple(classes), tokenizer, found.origin)
    return dataset._replace(words=lambda rows: [
      {'text': found.texts[row]} for row in rows.tolist()])

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new texts, with the run's tokenizer; see `readers`."""
    from bigmodels.data.readers.texts import TextReader

    tokenizer = tokenizers.load(context.kept['tokenizer'])

    def tokens(texts):
      columns, _, cut = self._columns(tokenizer, texts)
      if cut:
        context.say(f'{many(cut, "text")} longer than {self.length} tokens, so '
                    'truncated')
      return columns, {}

    def setting(name, default=None):  # which other documents may lack
      return getattr(self.documents, name, default)

    return TextReader(
      tokens, setting('text', 'text'), setting('label', 'label'),
      context.kept['classes'], Reading(
        setting('delimiter'), encoding=setting('encoding')), context.say)

  def _columns(self, tokenizer: Tokenizer, texts: Sequence[str]
               ) -> tuple[Columns, list[int], int]:
    """Columns of texts; the number of tokens of each; and how many were truncated."""
    rows = encode(self, tokenizer, texts)
    first, last = ([tokenizer.special[name]] if name in tokenizer.special else []
                   for name in ('class', 'separator'))
    room = self.length - len(first) - len(last)
    if room < 1:
      raise UserError(f'length={self.length}: leaves no room for a text between the '
                      'special tokens')
    cut = sum(len(row) > room for row in rows)
    rows = [np.concatenate([first, row[:room], last]).astype(np.int32) for row in rows]
    return padded('inputs', rows, self.length, tokenizer, marks='segments',
                  marks_dtype=np.int32), [*map(len, rows)], cut


def _sorted(labels: set[str]) -> list[str]:
  """The labels, sorted as numbers if all are numbers."""
  try:
    return sorted(labels, key=lambda label: (float(label), label))
  except ValueError:
    return sorted(labels)
