"""Tests of bigmodels.data.texts.stories."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import StoryFiles, babi
from bigmodels.data.texts.stories import read_files, stories_of
from tests.conftest import SHARED
from tests.data.texts.written import write

HERE = DataContext(None, None, {})
STORY = ('1 Mary went to the hall.\n2 Where is Mary?\thall\t1\n3 Mary left.\n'
         '4 Where was Mary? \thall\t1\n')


def test_sentences_before_a_question():
  (first, second), = stories_of(STORY, 'a.txt')
  assert first.sentences == ('Mary went to the hall.',)
  assert second.sentences == ('Mary went to the hall.', 'Mary left.')
  assert (second.question, second.answer, second.line) == ('Where was Mary?', 'hall', 4)
  several = stories_of(STORY + '1 So.\n' + STORY, 'a')
  assert [len(story) for story in several] == [2, 0, 2]
  assert stories_of(STORY.replace('\n', '\r\n'), 'a') == stories_of(STORY, 'a')


@pytest.mark.parametrize(('text', 'message'), [
  ('Mary went.\n', "a.txt, line 1: must be a number and a sentence, got 'Mary went.'"),
  ('1 \n', 'line 1: must be a number and a sentence'),
  ('1 a\n3 b\n', 'line 2: is numbered 3, must be 2, or 1 where a story begins'),
  ('2 a\n', 'line 1: is numbered 2, must be 1'),
  ('1 a\n2 b?\t\t1\n', 'line 2: the question has no answer'),
  ('1 a\n2  \tb\t1\n', 'line 2: the question is empty')])
def test_lines_that_are_not_in_the_format(text, message):
  with pytest.raises(UserError, match=message):
    stories_of(text, 'a.txt')


def test_splits_are_of_whole_stories_of_each_task(tmp_path):
  stories = ''.join(STORY.replace('hall', f'room{i}') for i in range(20))
  root = write(tmp_path, qa2_train_txt=stories, qa10_train_txt=STORY * 3 + '1 So.\n',
               qa2_test_txt=STORY)
  for name in ('qa2_train', 'qa10_train', 'qa2_test'):  # `write` makes dots of _
    (tmp_path / f'{name.replace("_", ".")}.txt').rename(tmp_path / f'{name}.txt')
  source = StoryFiles(root)
  train, validation, test = (
    source.read(name, HERE) for name in ('train', 'validation', 'test'))
  assert train.names == ('qa2', 'qa10') and test.names == ('qa2',)
  assert train.tasks == [0] * 36 + [1] * 4 and validation.tasks == [0] * 4 + [1] * 2
  assert validation.questions[0].answer == 'room18'
  assert validation.location(0).endswith('qa2_train.txt, line 74')
  assert train.note == '1 of the stories have no question, and are skipped'
  with pytest.raises(UserError, match="has no split 'tset'; did you mean 'test'"):
    source.read('tset', HERE)


def test_files_without_questions(tmp_path):
  write(tmp_path, a_txt='1 Mary went.\n', b_txt=STORY,
        c_txt=b'1 Mar\xff went.\n2 W?\tx\n')
  with pytest.raises(UserError, match=r'a\.txt: there is no question in it'):
    read_files([tmp_path / 'a.txt'])
  with pytest.raises(UserError, match='its 1 stories with questions are too few'):
    read_files([tmp_path / 'b.txt'], 'train')
  assert '1 file not UTF-8, so read with replacements (c.txt)' in read_files(
    [tmp_path / 'c.txt']).note
  with pytest.raises(UserError, match='there is no'):
    StoryFiles(str(tmp_path / 'gone')).read('train', HERE)
  with pytest.raises(UserError, match=r'b\.txt: is a file; must be a folder'):
    StoryFiles(str(tmp_path / 'b.txt')).read('train', HERE)
  for encoding in ('utf-16', 'utf-16-le'):
    (tmp_path / 'd.txt').write_bytes(STORY.encode(encoding))
    with pytest.raises(UserError, match=r'd\.txt: (it is UTF-16|line 1: has a zero)'):
      read_files([tmp_path / 'd.txt'])


def test_two_files_of_one_task_are_refused(tmp_path):
  for name in ('qa1_a_train.txt', 'qa1_b_train.txt'):
    (tmp_path / name).write_text(STORY * 2)
  with pytest.raises(UserError, match=r"qa1_a_train\.txt and qa1_b_train\.txt are both "
                                      r"of the task 'qa1'"):
    StoryFiles(str(tmp_path)).read('train', HERE)
  assert read_files([*tmp_path.glob('*.txt')]).names == ('qa1', 'qa1')  # new stories


def test_questions_without_answers_end_in_a_question_mark():
  text = '1 Mary went.\n2 Where is Mary?\n3 John left.\n4 Is he here?\tno\n'
  (first, second), = stories_of(text, 'a', answered=False)
  assert (first.answer, second.answer) == ('', 'no') and len(second.sentences) == 2


def test_babi_has_a_thousand_questions_a_task():
  if not (SHARED / 'data/babi').is_dir():
    pytest.skip('bAbI is not in ../shared/data')
  found = babi(str(SHARED / 'data/babi')).read('test', HERE)
  assert found.names == tuple(f'qa{i}' for i in range(1, 21))
  assert [found.tasks.count(i) for i in range(20)] == [1000] * 20
