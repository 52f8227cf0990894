"""Questions on contexts as windows of tokens, for models that point at a span."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data import text_bytes, tokenizers
from bigmodels.data.readers.reader import Chunk, Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.texts import questions
from bigmodels.data.texts.questions import Questions
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

_NEEDED = ('class', 'separator', 'pad')


@dataclasses.dataclass(frozen=True)
class QuestionWindows:
  """Questions on contexts as BERT reads them, in windows that overlap.

  A window is 'class', the question, 'separator', a part of the context, 'separator'.
  Every token of the context is in a window.

  Opened, a row is a question with its `W` windows of `L = length` tokens; W is that of
  the longest context, and windows beyond a question's own are padding. In 'train' a row
  is one window, W is 1. Columns:

  - `inputs` `[n, W, L]`, uint16 or int32 as in `Packed`, and `segments` int32 `[n, W,
    L]`, 1 for a token and 0 for padding.
  - `types` uint8 `[n, W, L]`: 0 for the question, 1 for the context; with `match`, 2
    for tokens of the context that the question has too.
  - `labels` int32 `[n, W, 2]`: the first and the last token of the answer in the
    window; 0, the 'class', if the window does not have all of it; -1 if the answer is
    not a span of the context. Of several answers the first that is a span is meant.
  - `offsets` int32 `[n, W, L, 2]`: the first character in the context of each token,
    and the one after its last; -1 where no token of an answer can be.
  - except in 'train': `context` uint8 `[n, bytes]` and `answers` uint8 `[n, bytes]`,
    see `text_bytes`; of several answers the texts are separated by newlines.

  In 'train', questions whose answer is not a span are left out.

  Attributes:
    documents: a `texts.QuestionFiles`.
    tokenizer: config of a tokenizer that knows where its tokens are, with 'class',
      'separator' and 'pad'; see `tokenizers`.
    length: number of tokens of a window.
    stride: number of tokens between the beginnings of two windows.
    question: maximum number of tokens of a question; longer ones are truncated.
    match: whether to mark tokens that the question has too (the exact match of Chen et
      al., *Reading Wikipedia to answer open-domain questions*, 2017).
    selected: the split that `open` returns.
  """

  documents: Any
  tokenizer: Any
  length: int
  _: dataclasses.KW_ONLY
  stride: int = 128
  question: int = 64
  match: bool = False
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.length)
    if self.stride < 1:
      raise ValueError(f'stride: must be >= 1, got {self.stride}')
    if not 1 <= self.question <= self.length - 4:
      raise ValueError(f'question: must be 1 to {self.length - 4}, so that a window of '
                       f'{self.length} tokens has room for the context, got '
                       f'{self.question}')

  def split(self, name: str) -> 'QuestionWindows':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the selected split; fits the tokenizer if needed.

    Raises:
      UserError: if the tokenizer lacks a special token, or does not know where its
        tokens are; or if no question of 'train' has an answer that is a span.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: [
      *read('train').contexts, *read('train').questions])
    self._check(tokenizer)
    found, training = read(self.selected), self.selected == 'train'
    origin = found.origin
    if training:
      kept = [row for row, answers in enumerate(found.answers) if _span(answers)]
      if not kept:
        raise UserError(f"{self.documents.name}: no question of 'train' has an answer "
                        'that is a span of its context')
      if origin is not None:
        origin = origin.take(np.array(kept), len(found.of))
      found = found.take(kept)
    windows, cut = self._windows(tokenizer, found)
    counts = [len(each) for each in windows]
    if training:
      windows = [[window] for each in windows for window in each]
      rows = np.repeat(np.arange(len(counts)), counts)
    else:
      rows = np.arange(len(counts))
    columns = self._columns(tokenizer, windows)
    if not training:
      columns |= _texts(found)
    say(self, context, f'{many(len(found.of), "question")} on '
        f'{many(len(found.contexts), "context")}, {many(sum(counts), "window")} of '
        f'{self.length} tokens, at most {max(counts)} of a question', found.note, cut)
    if origin is not None and training:
      origin = origin.take(rows, len(counts))._replace(keys=None)
      origin = origin._replace(rows={k: np.unique(v) for k, v in origin.rows.items()})
    dataset = dataset_of(self, columns, None, tokenizer, origin)
    return dataset._replace(words=lambda index: [
      _words(found, row) for row in rows[index].tolist()])

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new questions, with the run's tokenizer; see `readers`."""
    from bigmodels.data.readers.whole import WholeReader

    tokenizer = tokenizers.load(context.kept['tokenizer'])

    def read(paths: Sequence[pathlib.Path], labels: bool, reading: Reading) -> Chunk:
      parts = [questions.read_file(path, answered=labels, reading=reading)
               for path in paths]
      contexts = [text for part in parts for text in part.contexts]
      starts = np.cumsum([0, *(len(part.contexts) for part in parts)])
      found = Questions(contexts, [int(start) + i for start, part in zip(
        starts, parts, strict=False) for i in part.of], *(
          [each for part in parts for each in getattr(part, name)]
          for name in ('questions', 'answers', 'ids')))
      for path, part in zip(paths, parts, strict=True):
        if note := (questions.noted(part) if labels else part).note:
          context.say(f'{path.name}: {note}')
      windows, cut = self._windows(tokenizer, found)
      if cut:
        context.say(cut)
      columns = self._columns(tokenizer, windows) | _texts(found)
      given = columns.pop('labels')
      if not labels:
        columns.pop('answers')
      faults = {row: 'has no answer' for row, answers in enumerate(found.answers)
                if labels and not answers}
      return Chunk(columns, range(len(found.of)), 1.0, faults=faults, extra={
        'id': found.ids, 'question': found.questions}, labels=given if labels else None)

    return WholeReader(read, questions.SUFFIXES, Reading(), context.say)

  def _check(self, tokenizer: Tokenizer) -> None:
    if missing := [name for name in _NEEDED if name not in tokenizer.special]:
      raise UserError(f'tokenizer: questions need the special tokens {_NEEDED}; '
                      f'{listed(map(repr, missing))} not among '
                      f'{tuple(tokenizer.special)}')
    if tokenizer.offsets is None:
      raise UserError('tokenizer: answers are spans of the text, and '
                      f'{type(self.tokenizer).__name__} does not know where its tokens '
                      'are; WordPiece, Bpe, Words and TokenizerFile do')

  def _windows(self, tokenizer: Tokenizer, found: Questions
               ) -> 'tuple[list[list[_Window]], str]':
    """The windows of each question, and a note on truncated questions."""
    contexts = [tokenizer.offsets(text) for text in found.contexts]
    trimmed = [_trimmed(text, places) for text, (_, places) in zip(
      found.contexts, contexts, strict=True)]
    windows, cut = [], 0
    for of, ids, answers in zip(
      found.of, encode(self, tokenizer, found.questions), found.answers, strict=True):
      cut += len(ids) > self.question
      asked, (tokens, _), places = ids[: self.question], contexts[of], trimmed[of]
      inside = _tokens_of(places, _span(answers))
      room = self.length - len(asked) - 3
      stride = min(self.stride, room)
      starts = range(0, max(1, len(tokens) - room + stride), stride)
      windows.append([_Window(
        asked, tokens[start : start + room], places[start : start + room],
        _labels(inside, start, min(room, len(tokens) - start), len(asked) + 2))
        for start in starts])
    return windows, (f'{many(cut, "question")} longer than {self.question} tokens, so '
                     'truncated') if cut else ''

  def _columns(self, tokenizer: Tokenizer, windows: 'list[list[_Window]]') -> Columns:
    most = max(map(len, windows))
    shape = (len(windows), most, self.length)
    first, separator, pad = (tokenizer.special[name] for name in _NEEDED)
    columns = {'inputs': np.full(shape, pad, dtype_of(tokenizer)),
               'segments': np.zeros(shape, np.int32),
               'types': np.zeros(shape, np.uint8),
               'offsets': np.full((*shape, 2), -1, np.int32),
               'labels': np.full((*shape[:2], 2), -1, np.int32)}
    for row, each in enumerate(windows):
      for place, window in enumerate(each):
        begin = len(window.question) + 2
        end = begin + len(window.tokens)
        at = row, place
        columns['inputs'][at][: end + 1] = np.concatenate([
          [first], window.question, [separator], window.tokens, [separator]])
        columns['segments'][at][: end + 1] = 1
        columns['types'][at][begin : end + 1] = 1
        if self.match:
          columns['types'][at][begin:end] += np.isin(window.tokens, window.question)
        columns['offsets'][at][begin:end] = window.offsets
        columns['labels'][at] = window.answer
    return columns


class _Window(NamedTuple):
  """A question and a part of its context.

  Attributes:
    question: tokens `[q]`.
    tokens: tokens of the context `[k]`.
    offsets: their characters `[k, 2]`.
    answer: see `labels` of `QuestionWindows`.
  """

  question: np.ndarray
  tokens: np.ndarray
  offsets: np.ndarray
  answer: tuple[int, int]


def _labels(inside: tuple[int, int] | None, first: int, count: int, begin: int
            ) -> tuple[int, int]:
  """The answer in a window.

  Args:
    inside: the first and last token of the answer in the context, or None.
    first: the first token of the context in the window.
    count: number of tokens of the context in the window.
    begin: the token of the window that is the first of the context.
  """
  if inside is None:
    return -1, -1
  if inside[0] < first or inside[1] >= first + count:
    return 0, 0
  return inside[0] - first + begin, inside[1] - first + begin


def _span(answers: Sequence[questions.Answer]) -> tuple[int, int] | None:
  """The characters of the first answer that is a span; None if none is."""
  return next(((a.start, a.end) for a in answers if a.start >= 0), None)


def _tokens_of(places: np.ndarray, span: tuple[int, int] | None
               ) -> tuple[int, int] | None:
  """The first and last of the tokens at `places` `[k, 2]` that are in a span."""
  if span is None:
    return None
  inside = np.flatnonzero((places[:, 1] > span[0]) & (places[:, 0] < span[1]))
  return (int(inside[0]), int(inside[-1])) if len(inside) else None


def _trimmed(text: str, places: np.ndarray) -> np.ndarray:
  """The characters of tokens `[k, 2]`, without white space at their ends."""
  found = places.copy()
  for place, (start, end) in zip(found, places.tolist(), strict=True):
    part = text[start:end]
    if part.strip():
      place[0] = start + len(part) - len(part.lstrip())
      place[1] = end - len(part) + len(part.rstrip())
  return found


def _texts(found: Questions) -> Columns:
  contexts = text_bytes.rows(found.contexts)
  return {'context': contexts[np.array(found.of)], 'answers': text_bytes.rows([
    '\n'.join(' '.join(answer.text.split()) for answer in answers)
    for answers in found.answers])}


def _words(found: Questions, row: int) -> dict[str, str]:
  return {'question': found.questions[row], 'context': found.contexts[found.of[row]],
          'answers': ' | '.join(answer.text for answer in found.answers[row])}
