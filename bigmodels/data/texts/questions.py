"""Questions on texts, with answers that are spans of them: SQuAD's format, tables."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, held_out
from bigmodels.data.tables import text_columns
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.texts.reading import check_split, json_of

SUFFIXES = ('.json', '.csv', '.tsv', '.jsonl', '.parquet')
_NAMED = 3  # questions that are named in a note


class Answer(NamedTuple):
  """A right answer.

  Attributes:
    text: text of the answer.
    start, end: its first character in the context and the one after its last; -1 if it
      is not a span of the context.
  """

  text: str
  start: int
  end: int


class Questions(NamedTuple):
  """Questions on contexts.

  Attributes:
    contexts: the distinct contexts.
    of: index of the context of each question.
    questions: the questions.
    answers: the right answers of each question; none if they are not given.
    ids: a name of each question.
    note: a note to print, or ''.
    shapes_only: as in `Documents`.
    origin: source rows of the questions: their numbers in files.
  """

  contexts: list[str]
  of: list[int]
  questions: list[str]
  answers: list[tuple[Answer, ...]]
  ids: list[str]
  note: str = ''
  shapes_only: bool = False
  origin: Origin | None = None

  @property
  def texts(self) -> list[str]:
    """The contexts, so that a language model can be trained on them."""
    return self.contexts

  def take(self, rows: Sequence[int]) -> 'Questions':
    """Returns some of the questions, and their contexts."""
    kept = {old: new for new, old in enumerate(dict.fromkeys(
      self.of[row] for row in rows))}
    return self._replace(
      contexts=[self.contexts[old] for old in kept],
      of=[kept[self.of[row]] for row in rows],
      **{name: [getattr(self, name)[row] for row in rows]
         for name in ('questions', 'answers', 'ids')})


@dataclasses.dataclass(frozen=True)
class QuestionFiles:
  """Questions in a file of SQuAD's format, or in a table.

  A `.json` file has SQuAD's format (Rajpurkar et al., *SQuAD: 100,000+ questions for
  machine comprehension of text*, 2016). Any other file is a table (CSV, JSON lines,
  Parquet) with the columns `context`, `question` and `answer`; the answer is where its
  text first occurs in the context, unless `position` says it.

  With a file for 'test', the others are split into 'train' (90 %) and 'validation';
  else into 'train' (80 %), 'validation' and 'test'. Questions on one context are in one
  split. Questions without an answer, as in SQuAD 2.0, are left out.

  Attributes:
    path: the file.
    test: the file of the split 'test', or None.
    contexts: a table with the columns `context`, a name, and `text`, if the contexts of
      the file are names; not of SQuAD's format.
    position: columns of the file that say where an answer is: one has the number of its
      first character; two, the numbers of its first and its last token, where tokens
      are separated by single spaces. All count from 0.
  """

  path: str
  test: str | None = None
  contexts: str | None = None
  position: tuple[str, ...] = ()

  def __post_init__(self):
    for name in ('path', 'test', 'contexts'):
      if getattr(self, name) is not None:
        object.__setattr__(self, name, files.absolute(getattr(self, name), name))
    if len(self.position) > 2:
      raise ValueError('position: must be one column of characters or two of tokens, '
                       f'got {self.position}')

  @property
  def name(self) -> str:
    return pathlib.Path(self.path).name

  @property
  def splits(self) -> dict[str, float]:
    """The fractions of the splits that are cut from `path`."""
    return {'train': 0.9, 'validation': 0.1} if self.test else {
      'train': 0.8, 'validation': 0.1, 'test': 0.1}

  def read(self, split: str, context: DataContext) -> Questions:
    """Reads the questions of a split.

    Raises:
      UserError: for another split, or files that are missing or not in this format.
    """
    check_split(self.name, split, ('train', 'validation', 'test'))
    if split == 'test' and self.test:
      path = files.find(self.test, context.data_dir)
      return noted(_answered(read_file(path), str(path)))
    path = files.find(self.path, context.data_dir)
    contexts = self.contexts and files.find(self.contexts, context.data_dir)
    whole = _answered(read_file(path, contexts, self.position), str(path))
    rows = held_out(len(whole.of), split, self.splits, groups=np.array(whole.of))
    if not len(rows):
      raise UserError(f'{path}: its {len(whole.of):,} questions on '
                      f'{len(whole.contexts):,} contexts leave none for {split!r}')
    return noted(whole.take(rows.tolist()))._replace(origin=Origin(
      {name: rows for name in whole.origin.rows},
      {f'splits of {name}': dict(self.splits) for name in whole.origin.rows}))


def read_file(path: pathlib.Path, contexts: pathlib.Path | None = None,
              position: tuple[str, ...] = (), *, answered: bool = True,
              reading: Reading | None = None) -> Questions:
  """Reads the questions of one file, also those without an answer.

  Args:
    path: path of the file; see `QuestionFiles`.
    contexts: path of the table of contexts, or None.
    position: columns that say where answers are.
    answered: whether the answers are read.
    reading: settings for reading tables.

  Raises:
    UserError: for a file that is not in this format, with the place.
  """
  if path.suffix.lower() == '.json':
    rows, digest = _squad(path, answered)
  else:
    rows, digest = _table(path, contexts, position, answered, reading or Reading())
  if not rows:
    raise UserError(f'{path}: there is no question in it')
  distinct = {text: i for i, text in enumerate(dict.fromkeys(row[0] for row in rows))}
  numbers = range(len(rows))
  return Questions(
    [*distinct], [distinct[row[0]] for row in rows], [row[1] for row in rows],
    [row[2] for row in rows], [row[3] for row in rows], _repeated(rows),
    origin=Origin({str(path.resolve()): numbers, f'the text {digest}': numbers}))


def squad(folder: str = 'squad') -> QuestionFiles:
  """Returns a part of SQuAD 1.1: 4,284 questions, and the 1,190 of XQuAD to test.

  Artetxe et al., *On the cross-lingual transferability of monolingual representations*
  (XQuAD), 2020. Not SQuAD's own split: figures are comparable with those of XQuAD in
  English. The questions for training are tokenized.
  """
  return QuestionFiles(f'{folder}/train_questions.csv', f'{folder}/test.json',
                       f'{folder}/train_contexts.csv', ('first_token', 'last_token'))


# --- formats --------------------------------------------------------------------

# Of a question: its context, itself, its answers and its id.
_Row = tuple[str, str, tuple[Answer, ...], str]


def _squad(path: pathlib.Path, answered: bool) -> tuple[list[_Row], str]:
  whole, data = json_of(path)
  rows = []

  def get(record: Any, key: str, kind: type, place: str) -> Any:
    if not isinstance(record, dict):
      raise UserError(f'{path}: {place or "the file"}: must be an object, got '
                      f'{type(record).__name__}')
    if key not in record:
      raise UserError(f'{path}: {place or "the file"} has no {key!r}'
                      f'{nearest(key, record)}')
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
      raise UserError(f'{path}: {place}{"." * bool(place)}{key}: must be '
                      f'{_KINDS[kind]}, got {json.dumps(value)[:40]}')
    if kind is str and key != 'text' and not value.strip():
      raise UserError(f'{path}: {place}.{key}: is empty')
    return value

  for a, article in enumerate(get(whole, 'data', list, '')):
    for p, paragraph in enumerate(get(article, 'paragraphs', list, f'data[{a}]')):
      place = f'data[{a}].paragraphs[{p}]'
      context = get(paragraph, 'context', str, place)
      for q, asked in enumerate(get(paragraph, 'qas', list, place)):
        here = f'{place}.qas[{q}]'
        question, answers = get(asked, 'question', str, here), []
        given = get(asked, 'answers', list, here) if answered else []
        for i, answer in enumerate(given):
          text = get(answer, 'text', str, f'{here}.answers[{i}]')
          start = get(answer, 'answer_start', int, f'{here}.answers[{i}]')
          answers.append(_at(context, text, start))
        name = here if asked.get('id') is None else str(asked['id'])
        rows.append((context, question, tuple(answers), name))
  return rows, digests.of_bytes(data)


_KINDS = {str: 'a text', list: 'a list', int: 'an integer'}


def _table(path: pathlib.Path, contexts: pathlib.Path | None, position: tuple[str, ...],
           answered: bool, reading: Reading) -> tuple[list[_Row], str]:
  position = position if answered else ()
  names = ['context', 'question', *['answer'] * answered, *position]
  found = _columns(path, names, reading)
  columns, texts = found.columns, found.columns['context']
  if contexts is not None:
    table = _columns(contexts, ['context', 'text'], Reading())
    known: dict[str, str] = {}
    for row, (name, text) in enumerate(zip(
      table.columns['context'], table.columns['text'], strict=True)):
      if known.setdefault(name, text) != text:
        raise UserError(f'{contexts}, line {table.line(row)}: the context {name!r} has '
                        'another text in an earlier line')
    for row, name in enumerate(texts):
      if name not in known:
        raise UserError(f'{path}, line {found.line(row)}: no context {name!r} in '
                        f'{contexts}')
    texts = [known[name] for name in texts]
  rows = []
  for row, (context, question) in enumerate(zip(texts, columns['question'],
                                                strict=True)):
    place = f'line {found.line(row)}'
    for name, text in (('context', context), ('question', question)):
      if not text.strip():
        raise UserError(f'{path}, {place}: the {name} is empty')
    answers = ()
    if answered and columns['answer'][row].strip():
      numbers = [_whole(columns[name][row], f'{path}, {place}, column {name!r}')
                 for name in position]
      answers = (_located(context, columns['answer'][row], numbers),)
    rows.append((context, question, answers, place))
  return rows, found.digest


def _columns(path: pathlib.Path, names: Sequence[str], reading: Reading
             ) -> text_columns.TextColumns:
  files.require_file(path)
  try:
    return text_columns.read(path, names, reading)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except OSError as error:
    raise UserError(f'{path}: cannot be read: {error.strerror}') from None


def _whole(text: str, place: str) -> int:
  if not text.strip().isdigit():
    raise UserError(f'{place}: must be a number from 0, got {text[:40]!r}')
  return int(text)


def _located(context: str, text: str, numbers: list[int]) -> Answer:
  """An answer at its position: nowhere given, a character, or two tokens."""
  if len(numbers) < 2:
    return _at(context, text, numbers[0] if numbers else context.find(text))
  first, last = numbers
  tokens = context.split(' ')
  if not first <= last < len(tokens):
    return Answer(text, -1, -1)
  start = len(' '.join(tokens[:first])) + (first > 0)
  return Answer(text, start, start + len(' '.join(tokens[first : last + 1])))


def _at(context: str, text: str, start: int) -> Answer:
  """An answer that should start at a character."""
  there = start >= 0 and text.strip() and context.startswith(text, start)
  return Answer(text, start, start + len(text)) if there else Answer(text, -1, -1)


def _repeated(rows: Sequence[_Row]) -> str:
  """A note about questions with the id of an earlier one."""
  seen: set[str] = set()
  again = [id for *_, id in rows if id in seen or seen.add(id)]
  return _note(again, 'of the file with the id of an earlier question')


def _answered(found: Questions, path: str) -> Questions:
  """The questions that have an answer, and a note about the others."""
  kept = [row for row, answers in enumerate(found.answers) if answers]
  if not kept:
    raise UserError(f'{path}: none of its {len(found.of):,} questions has an answer')
  without = [name for name, answers in zip(found.ids, found.answers, strict=True)
             if not answers]
  return found.take(kept)._replace(
    origin=found.origin.take(np.array(kept), len(found.of)),
    note='; '.join(filter(None, (found.note, _note(
      without, 'of the file without an answer, so left out')))))


def noted(found: Questions) -> Questions:
  """The same, with a note about answers that are unusual."""
  nowhere, other = [], []
  for of, answers, name in zip(found.of, found.answers, found.ids, strict=True):
    text = found.contexts[of]
    nowhere += [name] * any(answer.start < 0 for answer in answers)
    other += [name] * any(text[answer.start : answer.end] != answer.text
                          for answer in answers if answer.start >= 0)
  return found._replace(note='; '.join(filter(None, (
    found.note, _note(nowhere, 'with an answer that is not a span of the context'),
    _note(other, 'with an answer that is spelt differently in the context')))))


def _note(names: list[str], what: str) -> str:
  return f'{len(names):,} {what} ({listed(names, _NAMED)})' if names else ''
