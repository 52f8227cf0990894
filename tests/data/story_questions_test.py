"""Tests of bigmodels.data.story_questions."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.story_questions import StoryQuestions, plain
from bigmodels.data.texts.stories import Question, Stories
from bigmodels.data.tokenizers import Words
from tests.data.given import Given, context

WORDS = Words(50, special=('pad', 'unknown'))


def stories(*rows, names=('qa1', 'qa2')):
  return Stories([Question(tuple(s), q, a, 3) for _, s, q, a in rows],
                 [task for task, *_ in rows], names, ['a.txt'] * len(rows))


TRAIN = stories((0, ['Mary went home.', 'John left.'], 'Where is Mary?', 'home'),
                (1, ['John left.'], 'Did John leave?', 'yes,indeed'),
                (1, ['A b c d e.', 'Mary went home.', 'John left.'], 'Mary?', 'no'))


def opened(found, sentences=2, selected='train', world=None):
  source = StoryQuestions(Given({'train': TRAIN, 'test': found}), WORDS, sentences,
                          selected)
  return source.open(world or context())


def test_the_last_sentence_is_the_first_row():
  data = opened(None)
  columns, tokenizer = data.load(), data.tokenizer

  def text(ids):
    return tokenizer.decode(ids)

  assert columns['inputs'].shape == (3, 2, 4) and columns['inputs'].dtype == np.uint16
  assert [[text(s) for s in row] for row in columns['inputs']] == [
    ['john left', 'mary went home'], ['john left', ''], ['john left', 'mary went home']]
  assert [text(q) for q in columns['questions']] == [
    'where is mary', 'did john leave', 'mary']
  assert data.classes == ('home', 'no', 'yes,indeed', 'another')
  assert columns['labels'].tolist() == [0, 2, 1]
  assert columns['tasks'].tolist() == [0, 1, 1]
  assert data.provides['groups']() == ('qa1', 'qa2')


def test_long_stories_are_cut_and_other_answers_are_told():
  world = context()
  test = stories((0, ['Mary went home.'], 'Where is Zoe?', 'cinema'),
                 (0, ['John left.'], 'Where is Mary?', 'home'), names=('qa2',))
  opened(test, world=world)
  assert '1 question on a story of more than 2 sentences, of which the last' in (
    world.said[-1])
  columns = opened(test, selected='test', world=world).load()
  assert '1 question with an answer that the split \'train\' lacks' in world.said[-1]
  assert columns['labels'].tolist() == [3, 0] and columns['tasks'].tolist() == [1, 1]
  assert columns['questions'][0].tolist()[2] == 1  # unknown
  with pytest.raises(UserError, match="the task 'qa7' is not one of those"):
    opened(stories((0, ['a'], 'b', 'home'), names=('qa7',)), selected='test',
           world=context())


def test_words_are_lower_case_and_without_punctuation():
  assert plain("Mary's cat, well-fed: n,s?") == "mary's cat well-fed n s"
  with pytest.raises(UserError, match="need the special token 'pad', as the first"):
    StoryQuestions(Given({'train': TRAIN}), Words(9, special=('unknown', 'pad'))).open(
      context())
  with pytest.raises(UserError, match="every answer of the split 'train' is 'x'"):
    StoryQuestions(Given({'train': stories((0, ['a'], 'b', 'x'))}), WORDS).open(
      context())


def test_new_stories_are_read_as_those_of_the_run(tmp_path):
  world = context()
  opened(None, world=world)
  source = StoryQuestions(Given({'train': TRAIN}), WORDS, 2)
  path = tmp_path / 'qa2_x.txt'
  path.write_text('1 Mary went home.\n2 Where is Mary?\n3 John left.\n'
                  '4 Did John leave?\tyes,indeed\t3\n')
  found, = source.reader(world).examples([path], labels=False).chunks(0)
  tokenizer = tokenizers.load(world.kept['tokenizer'])
  assert [tokenizer.decode(s) for s in found.columns['inputs'][1]] == [
    'john left', 'mary went home']
  assert found.extra['question'] == ['Where is Mary?', 'Did John leave?']
  with pytest.raises(UserError, match='reads new examples from files'):
    source.reader(world).columns(None, {})
  path.write_text('1 So.\n1 John left.\n2 Where is Mary?\tcinema\t1\n')
  world.said.clear()
  found, = source.reader(world).examples([path], labels=True).chunks(0)
  assert found.labels.tolist() == [3] and world.said == [
    '1 of the stories have no question, and are skipped',
    "1 question with an answer that the split 'train' lacks, which cannot be found"]
  with pytest.raises(ValueError, match='sentences: must be >= 1, got 0'):
    StoryQuestions(Given({'train': TRAIN}), WORDS, 0)
