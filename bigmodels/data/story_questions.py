"""Questions on stories as rows of sentences, for networks with a memory."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data import tokenizers
from bigmodels.data.readers.reader import Chunk, Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.texts import stories
from bigmodels.data.texts.stories import Question, Stories
from bigmodels.data.tokenized import (
  check_length,
  dataset_of,
  dtype_of,
  many,
  say,
  tokenizer_of,
)
from bigmodels.data.tokenizers import Tokenizer

OTHER = 'another'  # the class of answers that 'train' lacks


@dataclasses.dataclass(frozen=True)
class StoryQuestions:
  """Questions on stories, one a row, with the story as sentences.

  Opened, with `S` and `W` the words of the longest sentence and question of the split,
  rounded up to a multiple of 4: `inputs` `[n, sentences, S]`, the sentences before the
  question, the last one first; `questions` `[n, W]`; `labels` int32 `[n]`, indices of
  the sorted answers of 'train' and of a last one, 'another', which stands for all that
  'train' lacks and no question of it has; `tasks` int32 `[n]`. Tokens are uint16 or
  int32 as in `Packed`, and padding is the token 0, 'pad'.

  Words are lower-cased and without punctuation. An answer is one class, also if it has
  several words. Of a longer story the last sentences are kept.

  Attributes:
    documents: a `texts.StoryFiles`.
    tokenizer: config of the tokenizer, with 'pad' as its first special token.
    sentences: number of sentences of a story.
    selected: the split that `open` returns.
  """

  documents: Any
  tokenizer: Any
  sentences: int = 50
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.sentences, 'sentences')

  def split(self, name: str) -> 'StoryQuestions':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads and encodes the selected split; fits the tokenizer if needed.

    Raises:
      UserError: if 'train' has only one answer, or another split other tasks.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: _texts(read('train').questions))
    if tokenizer.special.get('pad') != 0:
      raise UserError("tokenizer: stories need the special token 'pad', as the first")
    classes = context.keep('classes', lambda: [*sorted(
      {question.answer for question in read('train').questions}), OTHER])
    if len(classes) < 3:
      raise UserError(f'{self.documents.name}: every answer of the split \'train\' is '
                      f'{classes[0]!r}; two are needed')
    names = context.keep('groups', lambda: [*read('train').names])
    found = read(self.selected)
    columns, cut = self._columns(tokenizer, found.questions)
    columns['labels'] = _labels(found, classes)
    columns['tasks'] = _tasks(found, names)
    say(self, context, f'{many(len(found.questions), "question")} of '
        f'{many(len(found.names), "task")}, {len(classes) - 1} answers', found.note,
        self._cut(cut), _unknown(columns['labels'], classes))
    dataset = dataset_of(self, columns, tuple(classes), tokenizer, found.origin)
    return dataset._replace(
      words=lambda rows: [_words(found.questions[row]) for row in rows.tolist()],
      provides={**dataset.provides, **_provided(names)})

  def recorded(self, kept: Mapping[str, Any]) -> Mapping[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    return _provided(kept['groups'])

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new stories, with the run's tokenizer; see `readers`."""
    from bigmodels.data.readers.whole import WholeReader

    tokenizer = tokenizers.load(context.kept['tokenizer'])
    classes, names = context.kept['classes'], context.kept['groups']

    def read(paths: Sequence[pathlib.Path], labels: bool, reading: None) -> Chunk:
      del reading
      found = stories.read_files([*paths], answered=labels)
      columns, cut = self._columns(tokenizer, found.questions)
      given = _labels(found, classes) if labels else None
      if labels:
        columns['tasks'] = _tasks(found, names)
      for line in (found.note, self._cut(cut), labels and _unknown(given, classes)):
        if line:
          context.say(line)
      return Chunk(
        columns, range(len(found.questions)), 1.0, labels=given,
        extra={'question': [each.question for each in found.questions]})

    return WholeReader(read, ('.txt',), say=context.say)

  def _cut(self, count: int) -> str:
    return f'{many(count, "question")} on a story of more than {self.sentences} ' + (
      'sentences, of which the last are kept') if count else ''

  def _columns(self, tokenizer: Tokenizer, questions: Sequence[Question]
               ) -> tuple[Columns, int]:
    """The columns of stories and questions; and how many stories were cut."""
    kept = [question.sentences[::-1][: self.sentences] for question in questions]
    distinct = {text: index for index, text in enumerate(dict.fromkeys(
      text for story in kept for text in story))}
    # A story has a row for each sentence; row 0 is padding.
    rows = _padded(tokenizer, ['', *distinct])
    index = np.zeros((len(kept), self.sentences), np.int32)
    for row, story in enumerate(kept):
      index[row, : len(story)] = [1 + distinct[text] for text in story]
    cut = sum(len(question.sentences) > self.sentences for question in questions)
    return {'inputs': rows[index],
            'questions': _padded(tokenizer, [q.question for q in questions])}, cut


def plain(text: str) -> str:
  """Returns the words of a text, in lower case, without punctuation."""
  return ' '.join(re.findall(r"\w+(?:['-]\w+)*", text.lower()))


def _provided(names: Sequence[str]) -> dict[str, Callable[[], Any]]:
  """What a dataset provides of the names of the tasks."""
  return {'groups': lambda: tuple(names)}


def _padded(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
  """The words of texts, `[n, width]`, 0 after their ends."""
  rows = tokenizer.encode_all([plain(text) for text in texts])
  width = -(-max(1, *map(len, rows)) // 4) * 4
  found = np.zeros((len(rows), width), dtype_of(tokenizer))
  for row, ids in zip(found, rows, strict=True):
    row[: len(ids)] = ids
  return found


def _labels(found: Stories, classes: Sequence[str]) -> np.ndarray:
  index = {answer: number for number, answer in enumerate(classes[:-1])}
  return np.array([index.get(question.answer, len(index))
                   for question in found.questions], np.int32)


def _unknown(labels: np.ndarray, classes: Sequence[str]) -> str:
  """A note on answers that are none of the classes, or ''."""
  count = int((labels == len(classes) - 1).sum())
  return (f'{many(count, "question")} with an answer that the split \'train\' lacks, '
          'which cannot be found') if count else ''


def _tasks(found: Stories, names: Sequence[str]) -> np.ndarray:
  for name in found.names:
    if name not in names:
      raise UserError(f"the task {name!r} is not one of those of the split 'train': "
                      f'{listed(names, 20)}')
  return np.array([names.index(found.names[task]) for task in found.tasks], np.int32)


def _texts(questions: Sequence[Question]) -> list[str]:
  """The distinct texts of questions and their stories."""
  return [plain(text) for text in dict.fromkeys(
    text for each in questions for text in (*each.sentences, each.question))]


def _words(question: Question) -> dict[str, str]:
  return {'story': ' '.join(question.sentences), 'question': question.question}
