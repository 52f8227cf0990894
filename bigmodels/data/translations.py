"""Pairs of texts as rows of tokens, for translation."""

import dataclasses
import functools
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
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
class Translations:
  """Pairs of lines with one vocabulary for both languages, for translation.

  Opened, with `S` and `T` the lengths of the longest lines of the split: `inputs` `[n,
  S]`, the source and 'end'; `segments` int32 `[n, S]`, 1 for a token and 0 for padding;
  `decoder_inputs` `[n, T]`, 'begin' and the target; `labels` `[n, T]`, the target and
  'end'; `weights` uint8 `[n, T]`, 1 for a token and 0 for padding. Tokens are uint16 or
  int32 as in `Packed`.

  Pairs of 'train' are skipped if a side with its 'end' is longer than `length`. Other
  splits are complete, and S and T, multiples of 8, are as large as needed, so that
  scores are comparable.

  With `packed`, several pairs of 'train' share a row of that many tokens on either
  side, with little padding: `segments`, and then `decoder_segments`, int32 `[n, T]`,
  are 1, 2, ... for the pairs of a row, 0 for padding.

  Attributes:
    documents: a `texts.ParallelFiles`.
    tokenizer: config of the tokenizer, with 'pad', 'begin' and 'end'; see `tokenizers`.
    length: maximum number of tokens of a side in training, including 'end'.
    selected: the split that `open` returns.
    packed: number of tokens of a row in training, at least the length; None for one
      pair per row.
  """

  documents: Any
  tokenizer: Any
  length: int
  selected: str = 'train'
  _: dataclasses.KW_ONLY
  packed: int | None = None

  def __post_init__(self):
    check_length(self.length)
    if self.packed is not None and self.packed < self.length:
      raise ValueError(f'packed: must be >= {self.length}, the length, got '
                       f'{self.packed}')

  def split(self, name: str) -> 'Translations':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the selected split; fits the tokenizer if needed.

    Raises:
      UserError: if no pair is left, or a special token is missing.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(
      self, context, lambda: [*read('train').sources, *read('train').targets])
    special, needed = tokenizer.special, ('pad', 'begin', 'end')
    if missing := [name for name in needed if name not in special]:
      raise UserError(f'tokenizer: translation needs the special tokens {needed}; '
                      f'{", ".join(map(repr, missing))} not among {tuple(special)}')
    found = read(self.selected)
    sources = encode(self, tokenizer, found.sources, context)
    targets = encode(self, tokenizer, found.targets, context)
    notes, training = [found.note], self.selected == 'train'
    if training:
      pairs = [(s, t) for s, t in zip(sources, targets, strict=True)
               if max(len(s), len(t)) < self.length]
      if not pairs:
        raise UserError(f'{self.documents.name}: every pair of {self.selected!r} is '
                        f'longer than {self.length} tokens')
      gone = len(sources) - len(pairs)
      notes.append(f'{many(gone, "pair")} longer than {self.length} tokens, so '
                   'skipped' if gone else '')
      sources, targets = map(list, zip(*pairs, strict=True))
    else:
      changed = sum(tokenizer.decode(ids) != text
                    for ids, text in zip(targets, found.targets, strict=True))
      notes.append(f'{many(changed, "reference")} of {len(targets):,} changed by the '
                   'tokenizer: decoded, not as in the file' if changed else '')
    begin, end = ([special[name]] for name in ('begin', 'end'))
    if training and self.packed:
      columns = _packed(sources, targets, begin, end, self.packed, tokenizer)
      say(self, context, f'{many(len(sources), "pair")}, '
           f'{sum(map(len, sources)):,} and {sum(map(len, targets)):,} tokens, in '
           f'{len(columns["inputs"]):,} rows of {self.packed}', *notes)
      return dataset_of(self, columns, None, tokenizer, found.origin)

    def column(name, parts, **marks):
      rows = [np.concatenate(part) for part in parts]
      width = -(-max(map(len, rows)) // 8) * 8
      width = min(width, self.length) if training else width
      return padded(name, rows, width, tokenizer, **marks)

    columns = {
      **column('inputs', [(ids, end) for ids in sources], marks='segments',
             marks_dtype=np.int32),
      **column('decoder_inputs', [(begin, ids) for ids in targets]),
      **column('labels', [(ids, end) for ids in targets], marks='weights',
             marks_dtype=np.uint8)}
    say(self, context, f'{many(len(sources), "pair")}, {sum(map(len, sources)):,} '
         f'and {sum(map(len, targets)):,} tokens, padded to '
         f'{columns["inputs"].shape[1]} and {columns["labels"].shape[1]}', *notes)
    return dataset_of(self, columns, None, tokenizer, found.origin)

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new texts, with the run's tokenizer; see `readers`."""
    from bigmodels.data.readers.texts import TextReader

    tokenizer = tokenizers.load(context.kept['tokenizer'])
    end = [tokenizer.special['end']]

    def tokens(texts):
      rows = encode(self, tokenizer, texts)
      faults = {index: f'is longer than {self.length} tokens'
                for index, row in enumerate(rows) if len(row) >= self.length}
      rows = [np.append(row[: self.length - 1], end) for row in rows]
      return padded('inputs', rows, self.length, tokenizer, marks='segments',
                    marks_dtype=np.int32), faults

    return TextReader(tokens, 'text', say=context.say)


def _packed(sources, targets, begin, end, width: int, tokenizer: Tokenizer) -> Columns:
  """The columns of pairs that share rows; see `Translations.packed`."""
  pairs = [[np.append(s, end), np.append(begin, t), np.append(t, end)]
           for s, t in zip(sources, targets, strict=True)]
  rows = _fitting(np.array([[len(s), len(t)] for s, t, _ in pairs]), width)

  def column(name, side, **marks):
    joined = [np.concatenate([pairs[i][side] for i in row]) for row in rows]
    return padded(name, joined, width, tokenizer, **marks)

  def numbers(side):
    found = np.zeros((len(rows), width), np.int32)
    for number, row in zip(found, rows, strict=True):
      lengths = [len(pairs[i][side]) for i in row]
      number[: sum(lengths)] = np.repeat(np.arange(len(row)) + 1, lengths)
    return found

  return {**column('inputs', 0), 'segments': numbers(0),
          **column('decoder_inputs', 1),
          'decoder_segments': numbers(1),
          **column('labels', 2, marks='weights', marks_dtype=np.uint8)}


def _fitting(sizes: np.ndarray, width: int) -> list[list[int]]:
  """Packs pairs into rows by best fit, in order.

  Args:
    sizes: numbers of tokens of the sides of each pair, int `[n, sides]`.
    width: maximum number of tokens of a side of a row.

  Returns:
    The pairs of each row. A pair is added to the row with the least space left after
    it, among the last 64 rows.
  """
  rows: list[list[int]] = []
  left = np.zeros((0, sizes.shape[1]), int)  # in each of the last rows
  for index, size in enumerate(sizes):
    fits = (left >= size).all(1)
    if fits.any():
      best = int(np.where(fits, left.sum(1), np.iinfo(int).max).argmin())
    else:
      left = np.concatenate([left[-63:], [[width] * sizes.shape[1]]])
      rows.append([])
      best = len(left) - 1
    rows[len(rows) - len(left) + best].append(index)
    left[best] -= size
  return rows
