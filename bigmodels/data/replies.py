"""Responses to contexts as rows of tokens: to be written, or to be chosen from."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.texts.dialogues import Dialogues
from bigmodels.data.tokenized import (
  check_length,
  dataset_of,
  dtype_of,
  encode,
  many,
  padded,
  say,
  tokenizer_of,
)
from bigmodels.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Replies:
  """Responses to contexts, for models that write them.

  A row is 'end', the turns of the context, each with a newline, a response, and 'end':
  what `--mode=chat` continues. Each response of a context has a row. From long contexts
  the oldest turns are left out, and then the beginning of the last one; responses are
  truncated to half of a row.

  Opened, with `L = length`: `inputs` and `labels` `[n, L]`, the tokens that follow the
  inputs, uint16 or int32 as in `Packed`; `segments` int32 `[n, L]`, 1 for a token and 0
  for padding; `weights` uint8 `[n, L]`, 1 where the label is of the response or its
  'end'.

  Except in 'train', with `prompt`, there are also `prompts` `[n, P]`, the inputs up to
  the response, padded on the left to `P = length - prompt`, and `prompt_segments` int32
  `[n, P]`.

  Attributes:
    documents: a source of `texts.Dialogues`.
    tokenizer: config of the tokenizer, with 'end'; see `tokenizers`.
    length: number of tokens in a row.
    prompt: maximum number of tokens that are written after a prompt; 0 for no prompts.
    selected: the split that `open` returns.
  """

  documents: Any
  tokenizer: Any
  length: int
  _: dataclasses.KW_ONLY
  prompt: int = 0
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.length)
    if not 0 <= self.prompt < self.length:
      raise ValueError(f'prompt: must be 0 to {self.length - 1}, less than the length, '
                       f'got {self.prompt}')

  def split(self, name: str) -> 'Replies':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the selected split; fits the tokenizer if needed.

    Raises:
      UserError: if a text cannot be encoded, or the tokenizer has no 'end'.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: [
      *read('train').texts, '\n'])
    end = tokenizer.special.get('end')
    if end is None:
      raise UserError("tokenizer: responses need the special token 'end', which is not "
                      f'among {tuple(tokenizer.special)}')
    found = read(self.selected)
    turns = _encoded(self, tokenizer, [t for turns in found.contexts for t in turns],
                     '\n')
    texts = _encoded(self, tokenizer, [t for each in found.responses for t in each])
    rows, weights, prompts, short, cut, origins = [], [], [], set(), 0, []
    room = self.length - self.prompt if self.prompt else self.length
    for number, (before, responses) in enumerate(zip(
      found.contexts, found.responses, strict=True)):
      for response in responses:
        answer = texts[response]
        cut += len(answer) > self.length // 2
        answer = [*answer[: self.length // 2], end]
        most = min(self.length + 1 - len(answer), room) - 1
        history, left = _fitting([turns[turn] for turn in before], most)
        short |= {number} if left else set()
        rows.append(np.array([end, *history, *answer], np.int32))
        weights.append(np.arange(1, len(rows[-1])) > len(history))
        prompts.append(np.array([end, *history], np.int32))
        origins.append(number)
    columns = padded('inputs', [row[:-1] for row in rows], self.length, tokenizer,
                     marks='segments', marks_dtype=np.int32)
    columns |= padded('labels', [row[1:] for row in rows], self.length, tokenizer)
    columns['weights'] = np.zeros(columns['labels'].shape, np.uint8)
    for row, weight in zip(columns['weights'], weights, strict=True):
      row[: len(weight)] = weight
    if self.prompt and self.selected != 'train':
      columns |= _left(prompts, room, tokenizer)
    say(self, context, f'{many(len(found.contexts), "context")}, '
        f'{many(len(rows), "response")}, padded to {self.length} tokens', found.note,
        f'{many(len(short), "context")} without their oldest turns' * bool(short),
        f'{many(cut, "response")} truncated to {self.length // 2} tokens' * bool(cut))
    origin = found.origin and found.origin._replace(keys=None)
    dataset = dataset_of(self, columns, None, tokenizer, origin)
    return dataset._replace(words=lambda index: [
      {'context': '\n'.join(found.contexts[origins[row]])} for row in index.tolist()])


@dataclasses.dataclass(frozen=True)
class Candidates:
  """Contexts and candidates for the response, for models that choose one.

  Opened, with `L = length` and `C = candidates`: `inputs` `[n, L]`, the last tokens of
  the context, its turns one after the other, and `segments` int32 `[n, L]`, 1 for a
  token and 0 for padding; `responses` `[n, C, L]`, the first tokens of each candidate,
  and `response_segments` int32 `[n, C, L]`; `contexts` int32 `[n]`, the number of the
  context. Tokens are uint16 or int32 as in `Packed`.

  In 'train' C is 1: a row is a context and one of its responses. In other splits a row
  is a context, the first candidate is the first of its responses, and the others are
  drawn at random from the distinct responses of the split that are none of its own: by
  the number of the row, not by a seed, so that all runs choose from the same.

  Attributes:
    documents: a source of `texts.Dialogues`.
    tokenizer: config of the tokenizer; see `tokenizers`.
    length: number of tokens of a context, and of a candidate.
    candidates: number of candidates.
    selected: the split that `open` returns.
  """

  documents: Any
  tokenizer: Any
  length: int
  _: dataclasses.KW_ONLY
  candidates: int = 10
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.length)
    if self.candidates < 2:
      raise ValueError(f'candidates: must be >= 2, got {self.candidates}')

  def split(self, name: str) -> 'Candidates':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the selected split; fits the tokenizer if needed.

    Raises:
      UserError: if a text cannot be encoded, or there are fewer other responses than
        candidates.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: read('train').texts)
    found = read(self.selected)
    if self.selected == 'train':
      pairs = [(row, [text]) for row, responses in enumerate(found.responses)
               for text in responses]
    else:
      pairs = [*enumerate(candidates_of(found, self.candidates, self.documents.name))]
    joined = ['\n'.join(turns) for turns in found.contexts]
    tokens = _encoded(self, tokenizer, joined)
    answers = _encoded(self, tokenizer, [text for _, texts in pairs for text in texts])
    columns = padded(
      'inputs', [tokens[joined[row]][-self.length :] for row, _ in pairs], self.length,
      tokenizer, marks='segments', marks_dtype=np.int32)
    flat = padded('responses', [
      answers[text][: self.length] for _, texts in pairs for text in texts],
      self.length, tokenizer, marks='response_segments', marks_dtype=np.int32)
    columns |= {name: column.reshape(len(pairs), -1, self.length)
                for name, column in flat.items()}
    columns['contexts'] = np.array([row for row, _ in pairs], np.int32)
    long = [sum(len(ids) > self.length for ids in each.values())
            for each in (tokens, answers)]
    say(self, context, f'{many(len(found.contexts), "context")}, '
        f'{columns["responses"].shape[1] * len(pairs):,} candidates', found.note,
        f'{long[0]:,} contexts and {long[1]:,} candidates longer than {self.length} '
        'tokens, so truncated' if any(long) else '')
    origin = found.origin and found.origin._replace(keys=None)
    dataset = dataset_of(self, columns, None, tokenizer, origin)
    return dataset._replace(words=lambda index: [
      {'context': joined[pairs[row][0]], **{
        f'candidate {i}': text for i, text in enumerate(pairs[row][1])}}
      for row in index.tolist()])


def candidates_of(found: Dialogues, count: int, name: str) -> list[list[str]]:
  """Returns the candidates for each context, the right one first; see `Candidates`.

  Args:
    found: dialogues of a split.
    count: number of candidates of each context.
    name: name of the data, for errors.

  Raises:
    UserError: if there are too few other responses.
  """
  every = [*dict.fromkeys(text for each in found.responses for text in each)]
  result = []
  for row, responses in enumerate(found.responses):
    own = {*responses}
    others = [text for text in every if text not in own]
    if len(others) < count - 1:
      raise UserError(f'{name}: {len(others):,} other responses are too few for '
                      f'{count} candidates')
    # A bit generator's raw stream is stable across NumPy releases.
    stream, drawn = np.random.Philox(key=row), {}
    while len(drawn) < count - 1:
      drawn[int(stream.random_raw() % len(others))] = None
    result.append([responses[0], *(others[i] for i in drawn)])
  return result


def _encoded(source: Any, tokenizer: Tokenizer, texts: Sequence[str], end: str = ''
             ) -> dict[str, list[int]]:
  """The tokens of each distinct text."""
  distinct = [*dict.fromkeys(texts)]
  encoded = encode(source, tokenizer, [text + end for text in distinct])
  return {text: ids.tolist() for text, ids in zip(distinct, encoded, strict=True)}


def _fitting(turns: list[list[int]], most: int) -> tuple[list[int], bool]:
  """The last turns that fit, or the end of the last; and whether some were left out."""
  kept: list[int] = []
  for number, turn in enumerate(reversed(turns)):
    if len(kept) + len(turn) > most:
      return (kept if number else turn[len(turn) - most :]), True
    kept = [*turn, *kept]
  return kept, False


def _left(prompts: list[np.ndarray], width: int, tokenizer: Tokenizer) -> Columns:
  """Prompts padded on the left, and 1 for their tokens."""
  tokens = np.full((len(prompts), width), tokenizer.special.get('pad', 0),
                   dtype_of(tokenizer))
  there = np.zeros(tokens.shape, np.int32)
  for row, mark, prompt in zip(tokens, there, prompts, strict=True):
    row[width - len(prompt) :], mark[width - len(prompt) :] = prompt, 1
  return {'prompts': tokens, 'prompt_segments': there}
