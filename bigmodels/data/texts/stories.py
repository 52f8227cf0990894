"""Questions on short stories: files in the format of bAbI."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from bigmodels.core import files
from bigmodels.core.errors import UserError
from bigmodels.data import origins
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext
from bigmodels.data.texts.reading import NOT_UTF8, check_split, note

_VALIDATION = 10  # the last of so many stories of a file are held out


class Question(NamedTuple):
  """A question, and the sentences that precede it in its story.

  Attributes:
    sentences: the sentences, in order; questions are not among them.
    question: text of the question.
    answer: text of the answer; '' if it is not given.
    line: line of the question in its file, from 1.
  """

  sentences: tuple[str, ...]
  question: str
  answer: str
  line: int


class Stories(NamedTuple):
  """Questions on stories, of several tasks.

  Attributes:
    questions: the questions.
    tasks: index of the task of each question, among `names`.
    names: names of the tasks, such as 'qa1'.
    paths: the file of each question.
    note: a note to print, or ''.
    origin: source rows of the questions: lines of files.
  """

  questions: list[Question]
  tasks: list[int]
  names: tuple[str, ...]
  paths: list[pathlib.Path]
  note: str = ''
  origin: Origin | None = None

  def location(self, row: int) -> str:
    """Returns the file and the line of a question."""
    return f'{self.paths[row]}, line {self.questions[row].line}'


@dataclasses.dataclass(frozen=True)
class StoryFiles:
  """Stories in the format of bAbI: a file for each task and split.

  Weston et al., *Towards AI-complete question answering: a set of prerequisite toy
  tasks*, 2015. A line is `N SENTENCE` or `N QUESTION<TAB>ANSWER<TAB>NUMBERS`; N is 1
  where a story begins, and then counts its lines. The numbers of the supporting
  sentences are not read.

  A task is named by what its file names have before the first `_`. 'validation' is the
  last tenth of the stories of each file of 'train'.

  Attributes:
    folder: folder of the files.
    patterns: 'train' and 'test' -> pattern of their files.
  """

  folder: str
  patterns: Mapping[str, str] = dataclasses.field(default_factory=lambda: {
    'train': '*_train.txt', 'test': '*_test.txt'})

  def __post_init__(self):
    object.__setattr__(self, 'folder', files.absolute(self.folder, 'folder'))

  @property
  def name(self) -> str:
    return pathlib.Path(self.folder).name

  def read(self, split: str, context: DataContext) -> Stories:
    """Reads the stories of a split: task by task, in the order of their numbers.

    Raises:
      UserError: for another split; or files that are missing, or not in this format,
        with the line.
    """
    check_split(self.name, split, ('train', 'validation', 'test'))
    root = files.find(self.folder, context.data_dir)
    pattern = self.patterns['test' if split == 'test' else 'train']
    paths = [root / name for name in sorted(files.glob(root, pattern), key=_numbered)]
    files_of: dict[str, pathlib.Path] = {}
    for path in paths:
      task = _task(path)
      if (first := files_of.setdefault(task, path)) != path:
        raise UserError(f'{first} and {path.name} are both of the task {task!r}, the '
                        'part before the first _; each task must have one file')
    return read_files(paths, None if split == 'test' else split)


def read_files(paths: list[pathlib.Path], split: str | None = None, *,
               answered: bool = True) -> Stories:
  """Reads files of stories.

  Args:
    paths: one for each task.
    split: 'train' or 'validation' of each file; None for all of it.
    answered: whether questions must have answers.

  Raises:
    UserError: for files that are not in this format, with the line.
  """
  found: list[tuple[int, Question]] = []
  counts = {NOT_UTF8: 0, 'without a question, so skipped': 0}
  first, without, taken = '', 0, {}
  for task, path in enumerate(paths):
    data = files.read(path)
    if b'\0' in data[:4]:
      files.text_of(data, f'{path}: ')  # refuses it: UTF-16, or no text
    text, bad = files.decode(data)
    counts[NOT_UTF8] += bad
    first = first or path.name * bad
    stories = stories_of(text, str(path), answered=answered)
    without += sum(not story for story in stories)
    stories = [story for story in stories if story]
    if not stories:
      raise UserError(f'{path}: there is no question in it')
    cut = len(stories) - max(1, len(stories) // _VALIDATION)
    kept = {'train': stories[:cut], 'validation': stories[cut:]}.get(split, stories)
    if not kept:
      raise UserError(f'{path}: its {len(stories)} stories with questions are too few '
                      'for train and validation')
    questions = [question for story in kept for question in story]
    lines = range(questions[0].line, questions[-1].line + 1)
    taken |= {name: lines for name in origins.of_text(path, text, len(lines))}
    found += [(task, question) for question in questions]
  notes = (note({NOT_UTF8: counts[NOT_UTF8]}, 'file', first),
           f'{without:,} of the stories have no question, and are skipped' * bool(
             without))
  tasks, questions = map(list, zip(*found, strict=True))
  return Stories(questions, tasks, tuple(map(_task, paths)),
                 [paths[task] for task in tasks], '; '.join(filter(None, notes)),
                 Origin(taken))


def stories_of(text: str, name: str, *, answered: bool = True) -> list[list[Question]]:
  """Returns the questions of each story of a text, none for a story without.

  Args:
    text: content of a file.
    name: name of the file, for errors.
    answered: whether questions must have answers; otherwise a sentence that ends in
      `?` is a question as well.

  Raises:
    UserError: for a line that is not in this format.
  """
  stories: list[list[Question]] = []
  sentences: list[str] = []
  expected = 1
  for number, line in enumerate(text.split('\n'), 1):
    if not line.strip():
      continue
    head, _, rest = line.rstrip('\r').partition(' ')
    if not re.fullmatch('[0-9]+', head) or not rest.strip():
      raise UserError(f'{name}, line {number}: must be a number and a sentence, got '
                      f'{line[:60]!r}')
    if int(head) == 1:
      stories.append([])
      sentences, expected = [], 1
    if int(head) != expected:
      raise UserError(f'{name}, line {number}: is numbered {head}, must be {expected}, '
                      'or 1 where a story begins')
    expected += 1
    question, tab, answer = rest.partition('\t')
    answer = answer.partition('\t')[0].strip()
    if tab and answered and not answer:
      raise UserError(f'{name}, line {number}: the question has no answer')
    if tab or (not answered and rest.rstrip().endswith('?')):
      if not question.strip():
        raise UserError(f'{name}, line {number}: the question is empty')
      stories[-1].append(Question(tuple(sentences), question.strip(), answer, number))
    else:
      sentences.append(rest.strip())
  return stories


def babi(folder: str = 'babi') -> StoryFiles:
  """Returns bAbI in English: 20 tasks with 1,000 questions for training each."""
  return StoryFiles(folder, {'train': 'qa*_train.txt', 'test': 'qa*_test.txt'})


def _task(path: pathlib.Path) -> str:
  """The name of the task of a file: 'qa1'."""
  return path.stem.partition('_')[0]


def _numbered(name: str) -> tuple:
  """Sorts qa2 before qa10."""
  return [(int(part) if part.isdigit() else 0, part)
          for part in re.split('([0-9]+)', name)]
