"""Tests of bigmodels.data.texts.questions."""

import json

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import QuestionFiles, squad
from bigmodels.data.texts.questions import read_file
from tests.conftest import SHARED
from tests.data.texts.written import write

HERE = DataContext(None, None, {})
CONTEXT = 'Ann met Ben. Ben met Cat.'


def asked(*answers, question='Who?', **more):
  return {'id': question, 'question': question, 'answers': [
    {'text': text, 'answer_start': start} for text, start in answers], **more}


def squad_file(folder, *questions, context=CONTEXT):
  whole = {'data': [{'paragraphs': [{'context': context, 'qas': [*questions]}]}]}
  (folder / 'a.json').write_text(json.dumps(whole))
  return folder / 'a.json'


def test_answers_and_their_characters(tmp_path):
  path = squad_file(tmp_path, asked(('Ben', 13), ('Ben', 8)), asked(('Cat.', 21)))
  found = read_file(path)
  assert found.contexts == [CONTEXT] and found.of == [0, 0]
  for answers in found.answers:
    assert all(CONTEXT[a.start : a.end] == a.text for a in answers)
  assert [a.start for a in found.answers[0]] == [13, 8]
  assert found.texts == [CONTEXT]


def test_answers_that_are_no_span_are_counted_and_named(tmp_path):
  path = squad_file(
    tmp_path, asked(('Ben', 12), question='off by one'), asked(('Ben', 8), ('Bob', 3)),
    asked(('Ann', 0), question='fine'), asked(question='none'),
    asked(('Cat', -5), question='before'))
  found = QuestionFiles('unused', test=str(path)).read('test', HERE)
  assert len(found.of) == 4 and found.answers[0][0].start == -1
  assert found.note == (
    '1 of the file without an answer, so left out (none); 3 with an answer that is not '
    'a span of the context (off by one, Who?, before)')


def test_questions_of_one_id_are_counted_and_named(tmp_path):
  path = squad_file(tmp_path, asked(('Ann', 0), id='x'), asked(('Ben', 8), id='x'),
                    asked(id='x'), asked(('Ann', 0), id=None))
  assert read_file(path).ids == ['x', 'x', 'x', 'data[0].paragraphs[0].qas[3]']
  assert QuestionFiles('unused', test=str(path)).read('test', HERE).note == (
    '2 of the file with the id of an earlier question (x, x); 1 of the file without an '
    'answer, so left out (x)')


@pytest.mark.parametrize(('change', 'message'), [
  (lambda w: w.pop('data'), "the file has no 'data'"),
  (lambda w: w.update(data={}), 'data: must be a list, got {}'),
  (lambda w: w['data'].append(3), r'data\[1\]: must be an object, got int'),
  (lambda w: w['data'][0].pop('paragraphs'), r"data\[0\] has no 'paragraphs'"),
  (lambda w: w['data'][0]['paragraphs'][0].update(context=' '),
   r'data\[0\].paragraphs\[0\].context: is empty'),
  (lambda w: w['data'][0]['paragraphs'][0]['qas'][0].update(question=''),
   r'qas\[0\].question: is empty'),
  (lambda w: w['data'][0]['paragraphs'][0]['qas'][0].pop('answers'),
   r"qas\[0\] has no 'answers'"),
  (lambda w: w['data'][0]['paragraphs'][0]['qas'][0]['answers'][0].update(
    answer_start='3'), r'answers\[0\].answer_start: must be an integer, got "3"'),
  (lambda w: w['data'][0]['paragraphs'].clear(), 'there is no question in it')])
def test_files_that_are_not_in_the_format(tmp_path, change, message):
  path = squad_file(tmp_path, asked(('Ann', 0)))
  whole = json.loads(path.read_text())
  change(whole)
  path.write_text(json.dumps(whole))
  with pytest.raises(UserError, match=message) as error:
    read_file(path)
  assert '\n' not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(('data', 'message'), [
  (b'{"data": [\n{"par', r'a\.json, line 2: is not JSON'), (b'', 'line 1: is not JSON'),
  (b'{"data": "\xff"}', 'cannot be read: line 1: byte 0xff is not UTF-8'),
  (b'[' * 100_000, r'a\.json: is JSON that cannot be read: maximum recursion'),
  (b'{"data": ' + b'9' * 5000 + b'}', 'is JSON that cannot be read: Exceeds the lim')])
def test_broken_json(tmp_path, data, message):
  write(tmp_path, a_json=data)
  with pytest.raises(UserError, match=message):
    read_file(tmp_path / 'a.json')


def test_tables_and_positions(tmp_path):
  text = 'to be or not to be'
  write(tmp_path, a_csv=f'context,question,answer\n{text},what?,be\n{text},which?,x\n',
        b_csv=f'context,question,answer,at\n{text},what?,be,16\n{text},what?,be,15\n',
        c_csv='context,question,answer,first,last\nk,what?,to bee,4,5\nk,what?,x,5,6\n',
        names_csv=f'context,text\nk,{text}\n', d_csv=f'context,question\n{text},?\n')
  first = read_file(tmp_path / 'a.csv')
  assert [each.start for each, in first.answers] == [3, -1]  # the first occurrence
  by_character = read_file(tmp_path / 'b.csv', position=('at',))
  assert [each.start for each, in by_character.answers] == [16, -1]
  by_token = read_file(tmp_path / 'c.csv', tmp_path / 'names.csv', ('first', 'last'))
  (answer,), (beyond,) = by_token.answers
  assert text[answer.start : answer.end] == 'to be' and answer.text == 'to bee'
  assert beyond.start == -1 and by_token.contexts == [text]
  assert read_file(tmp_path / 'd.csv', answered=False).answers == [()]
  with pytest.raises(UserError, match="no column 'answer'"):
    read_file(tmp_path / 'd.csv')
  with pytest.raises(UserError, match=r"c\.csv, line 2: no context 'k' in"):
    read_file(tmp_path / 'c.csv', tmp_path / 'other.csv') if write(
      tmp_path, other_csv='context,text\nj,x\n') else None
  write(tmp_path, twice_csv=f'context,text\nk,{text}\nk,{text}\nk,other\n')
  with pytest.raises(UserError, match=r"twice\.csv, line 4: the context 'k' has"):
    read_file(tmp_path / 'c.csv', tmp_path / 'twice.csv')
  write(tmp_path, e_csv='context,question,answer,at\na,b,c,x\n')
  with pytest.raises(UserError, match="line 2, column 'at': must be a number from 0"):
    read_file(tmp_path / 'e.csv', position=('at',))
  write(tmp_path, f_csv='context,question,answer\n ,b,c\n')
  with pytest.raises(UserError, match='line 2: the context is empty'):
    read_file(tmp_path / 'f.csv')
  with pytest.raises(ValueError, match='position: must be one column'):
    QuestionFiles('a', position=('a', 'b', 'c'))


def test_questions_on_a_context_are_in_one_split(tmp_path):
  rows = [f'context {i // 3},q{i}?,context' for i in range(90)]
  write(tmp_path, a_csv='\n'.join(['context,question,answer', *rows]))
  source = QuestionFiles(str(tmp_path / 'a.csv'))
  found = [source.read(name, HERE) for name in ('train', 'validation', 'test')]
  assert sum(len(each.of) for each in found) == 90
  contexts = [{*each.contexts} for each in found]
  assert not contexts[0] & contexts[1] and not contexts[2] & (contexts[0] | contexts[1])
  assert all(each.of.count(i) == 3 for each in found for i in range(len(each.contexts)))
  with pytest.raises(UserError, match="has no split 'dev'"):
    source.read('dev', HERE)


def test_the_part_of_squad_that_is_at_hand():
  if not (SHARED / 'data/squad').is_dir():
    pytest.skip('SQuAD is not in ../shared/data')
  source = squad(str(SHARED / 'data/squad'))
  train, validation, test = (
    source.read(name, HERE) for name in ('train', 'validation', 'test'))
  assert len(train.of) + len(validation.of) == 4284 and len(test.of) == 1190
  assert len(test.contexts) == 240
  # Of the training answers 31 are spelt differently; all of the test are spans.
  assert '29 with an answer that is spelt' in train.note and test.note == ''
