"""Tests of the plots of answers, groups and ranks."""

import numpy as np
import pytest

from bigmodels import plots
from bigmodels.plots.answers import kind_of
from tests.plots.rendering import render


@pytest.mark.parametrize(('question', 'kind'), [
  ('Who was it?', 'who'), ('In what year did who die?', 'what'),
  ('How many are there?', 'how many'), ('How is it?', 'how'),
  ('The whole of it is whose?', 'other'), ('', 'other')])
def test_kinds_of_questions(question, kind):
  assert kind_of(question) == kind


def test_answers_by_length_and_kind():
  scores = {'f1': np.array([100.0, 50, 0]), 'exact_match': np.array([100.0, 0, 0])}
  words = [{'question': 'Who?', 'context': f'x {"w " * 100}Ann'},
           {'question': 'who is', 'context': 'Ben B.'},
           {'question': 'Why', 'context': 'one two three four'}]
  outputs = {'start': np.array([202, 0, 4]), 'end': np.array([205, 3, 7])}
  drawn = plots.answers(scores, ['Ann', 'Ben', 'two'], [['Ann'], ['Ben B.'], [
    'one two three four', 'x']], outputs, lambda rows: [words[i] for i in rows])
  table = drawn.pop('Questions')
  render(drawn)
  axes, = drawn['F1 by the kind of question'].axes
  assert [label.get_text() for label in axes.get_xticklabels()] == ['who\n2', 'why\n1']
  assert [bar.get_height() for bar in axes.patches] == [75, 0, 50, 0]
  axes, = drawn['F1 by the length of the answer'].axes
  assert [label.get_text() for label in axes.get_xticklabels()] == [
    '1\n1', '2\n1', '4 to 5\n1']
  assert table.rows[0][1].startswith('… ') and table.rows[0][1].endswith(' w [Ann]')
  assert table.rows[1] == ('who is', '[Ben] B.', 'Ben', 'Ben B.', '50')
  assert table.rows[2][3] == 'one two three four | x'
  assert plots.answers(scores, [], [], outputs, None) == {}


def test_errors_of_groups():
  right = np.array([1, 0, 1, 1], bool)
  drawn = plots.error_by_group(right, np.array([0, 0, 2, 2]), ['qa1', 'qa2', 'qa$3'])
  table = drawn.pop('Errors of each task')
  render(drawn)
  axes, = drawn['Error by task'].axes
  assert [bar.get_width() for bar in axes.patches] == [50, 0]
  assert table.rows == [('qa1', '50.0 %', '1 of 2'), ('qa$3', '0.0 %', '0 of 2')]
  assert '25.0 %' in axes.get_title(loc='left')
  assert plots.error_by_group(right[:0], np.zeros(0, int), 'ab') == {}


def test_ranks():
  drawn = render(plots.ranks(np.array([1, 1, 3, 4]), 4))
  axes, = drawn['Ranks of the right candidate'].axes
  assert [bar.get_height() for bar in axes.patches] == [0.5, 0, 0.25, 0.25]
  assert plots.ranks(np.zeros(0, int), 4) == {}
