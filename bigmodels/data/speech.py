"""Transcribed recordings as rows of samples or frames, and tokens."""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data import tokenizers
from bigmodels.data.order import Buckets
from bigmodels.data.recordings.recording import Recordings
from bigmodels.data.sources import Columns, DataContext, Dataset, zeros
from bigmodels.data.tokenized import encode, many, padded, say, tokenizer_of
from bigmodels.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Speech:
  """Recordings with their transcripts, for speech recognition.

  Opened, with S the longest recording of the split and T its longest transcript:
  `inputs` `[n, S]`, samples in [-1, 1], or `[n, S, features]`; `lengths` int32 `[n]`,
  the samples or frames that are real; `labels` `[n, T]`, the tokens of the transcript,
  padded with 0, which is 'pad'.

  Attributes:
    documents: a source of recordings; see `recordings`.
    tokenizer: config of the tokenizer, whose token 0 is 'pad'; see `tokenizers`.
    selected: the split that `open` returns.
    case: 'lower' or 'upper' changes the case of transcripts.
    stride: samples or frames for each output of the model. Recordings of 'train' with
      too few outputs for their transcript, which CTC cannot align, are left out.
    buckets: number of lengths to which training batches are padded; recordings of
      similar lengths then share a batch.
  """

  documents: Any
  tokenizer: Any
  selected: str = 'train'
  _: dataclasses.KW_ONLY
  case: Literal['keep', 'lower', 'upper'] = 'keep'
  stride: int = 1
  buckets: int = 1

  def __post_init__(self):
    if self.case not in ('keep', 'lower', 'upper'):
      raise ValueError(f"case: must be 'keep', 'lower' or 'upper', got {self.case!r}")
    for name in ('stride', 'buckets'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}: must be >= 1, got {getattr(self, name)}')

  def split(self, name: str) -> 'Speech':
    return dataclasses.replace(self, selected=name)

  @property
  def reader(self):
    """The reader of new sounds of the documents; only where these are sounds."""
    return self.documents.reader

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the transcripts of a split; fits the tokenizer if needed.

    Raises:
      UserError: for a transcript with characters that no transcript of 'train' has, or
        if no recording is left.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: self._texts(read('train')))
    if tokenizer.special.get('pad') != 0:
      raise UserError("tokenizer: the first special token must be 'pad', the blank of "
                      f'CTC; it has {", ".join(tokenizer.special) or "none"}')
    found = read(self.selected)
    texts = self._texts(found)
    tokens = self._encoded(tokenizer, texts, found, context)
    notes, rows = [*found.notes], np.arange(len(texts))
    short, names = self._short(tokens, found)
    if len(short) and self.selected == 'train':
      rows = np.delete(rows, short)
      notes.append(f'{many(len(short), "recording")} left out, too short for their '
                   f'transcripts ({names})')
    elif len(short):
      notes.append(f'{many(len(short), "recording")} evaluated, though too short for '
                   f'their transcripts ({names})')
    empty = [found.names[row] for row in rows if not len(tokens[row])]
    notes.append(f'{many(len(empty), "empty transcript")} (such as {empty[0]})'
                 if empty else '')
    changed = [row for row in rows if tokenizer.decode(tokens[row]) != texts[row]]
    notes.append(f'{many(len(changed), "reference")} of {len(rows):,} changed by the '
                 f'tokenizer (such as that of {found.names[changed[0]]}): decoded, not '
                 'as in the table' if changed else '')
    chosen = [tokens[row] for row in rows]
    labels = padded('labels', chosen, max(1, *map(len, chosen)), tokenizer)['labels']
    lengths = np.asarray(found.lengths, np.int32)[rows]
    seconds = lengths.sum() / found.rate
    say(self, context, f'{many(len(rows), "recording")}, {seconds / 60:,.1f} minutes, '
        f'the longest {lengths.max() / found.rate:.1f} s; '
        f'{sum(map(len, chosen)):,} tokens', *notes)

    def columns(index: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      return {**found.read(rows[index], seeds), 'lengths': lengths[index],
              'labels': labels[index]}

    def words(index: np.ndarray) -> list[dict[str, str]]:
      return [{'recording': found.names[row], 'text': texts[row],
               'seconds': f'{found.lengths[row] / found.rate:.2f}'}
              for row in rows[index].tolist()]

    facts = {
      'describe': lambda row: found.describe(int(rows[row])), 'words': words,
      'nbytes': len(rows) * (int(np.prod(found.shape)) * np.dtype(
        found.dtype).itemsize + labels.itemsize * labels.shape[1] + 4),
      'provides': tokenizers.provided(tokenizer),
      'buckets': None if self.buckets == 1 else Buckets.of_lengths(
        lengths, self.buckets)}
    identity = f'{found.identity}, {len(rows):,} kept, tokens {labels.shape[1]}'
    if context.shapes_only:
      return zeros({'inputs': (found.dtype, found.shape), 'lengths': ('int32', ()),
                    'labels': (labels.dtype.name, labels.shape[1:])},
                   len(rows), None, identity, **facts)
    return Dataset(
      length=len(rows), load=lambda: columns(np.arange(len(rows))), read=columns,
      classes=None, identity=identity, origin=found.origin, **facts)

  def _texts(self, found: Recordings) -> list[str]:
    if self.case == 'keep':
      return [*found.texts]
    return [*map(str.lower if self.case == 'lower' else str.upper, found.texts)]

  def _encoded(self, tokenizer: Tokenizer, texts: list[str], found: Recordings,
               context: DataContext) -> list[np.ndarray]:
    """The tokens of every transcript."""
    try:
      return encode(self, tokenizer, texts, context)
    except UserError:
      for row, text in enumerate(texts):
        try:
          tokenizer.encode(text)
        except UserError as error:
          raise UserError(f'{found.where(row)}: {error}') from None
      raise

  def _short(self, tokens: list[np.ndarray], found: Recordings
             ) -> tuple[np.ndarray, str]:
    """The recordings that CTC cannot align, int `[n]`, and what they lack."""
    needed = np.array([len(t) + np.count_nonzero(t[1:] == t[:-1]) for t in tokens])
    outputs = -(-np.asarray(found.lengths) // self.stride)
    # What cannot be read has length 0: batches report it.
    short = np.flatnonzero((outputs < needed) & (outputs > 0))
    if len(short) == len(tokens) and self.selected == 'train':
      raise UserError(
        f'{self.documents.name}: no recording of train is long enough for its '
        f'transcript at an output every {self.stride:,} samples or frames (stride)')
    return short, listed((f'{found.names[row]}: {needed[row]} tokens in '
                          f'{outputs[row]} outputs' for row in short), 3)
