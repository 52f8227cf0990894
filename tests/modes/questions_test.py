"""Tests of the experiments on questions and dialogues from files to predictions."""

import csv
import json
import re

import numpy as np
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train

NAMES = ['Ann', 'Ben', 'Cat', 'Dan', 'Eve', 'Flo', 'Gus', 'Hal']
PLACES = ['Rome', 'Oslo', 'Kyiv', 'Lima', 'Bonn', 'Nice', 'Baku', 'York']


def squad(path, count, answered=True, seed=0):
  """People and places, far enough apart for several windows."""
  rng = np.random.default_rng(seed)
  paragraphs = []
  for number in range(count):
    names, places = rng.permutation(NAMES)[:4], rng.permutation(PLACES)[:4]
    context = ' '.join(f'{name} lives in {place}, by the sea.'
                       for name, place in zip(names, places, strict=True))
    context += f' That is all {number}.'
    answers = [{'text': str(places[2]), 'answer_start': context.index(places[2])}]
    paragraphs.append({'context': context, 'qas': [
      {'id': f'q{number}', 'question': f'Where does {names[2]} live?',
       **({'answers': answers} if answered else {})}]})
  path.write_text(json.dumps({'data': [{'paragraphs': paragraphs}]}))
  return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('questions')


SMALL = {'epochs': '2', 'length': '32', 'stride': '12', 'depth': '1', 'width': '16',
         'heads': '2', 'vocabulary': '120', 'batch_size': '16', 'question': '12'}


@pytest.fixture
def answering(folder, request_for, plots, capsys):
  """The workdir of a run of questions."""
  if not (folder / 'run').is_dir():
    squad(folder / 'a.json', 80)
    train.run(request_for(
      'squad_bert', folder / 'run', path=folder / 'a.json', **SMALL))
  capsys.readouterr()
  return folder / 'run'


def rows(path):
  with path.open(newline='') as file:
    return [*csv.DictReader(file)]


def test_predictions_are_spans_of_the_contexts(answering, folder, request_for, capsys):
  squad(folder / 'new.json', 7, answered=False, seed=1)
  paragraphs = json.loads((folder / 'new.json').read_text())['data'][0]['paragraphs']
  predict.run(request_for(None, answering), input=[str(folder / 'new.json')],
              output=str(folder / 'new.csv'))
  found = rows(folder / 'new.csv')
  assert [row['id'] for row in found] == [f'q{i}' for i in range(7)]
  for row, paragraph in zip(found, paragraphs, strict=True):
    assert row['question'] == paragraph['qas'][0]['question']
    start, end = int(row['start']), int(row['end'])
    assert row['prediction'] == paragraph['context'][start:end] != ''
    assert 0 < float(row['probability']) <= 1 and row['error'] == ''
  lines = ['context,question', *(f'"{p["context"]}",{p["qas"][0]["question"]}'
                                 for p in paragraphs)]
  (folder / 'new_table.csv').write_text('\n'.join(lines))
  predict.run(request_for(None, answering), input=[str(folder / 'new_table.csv')],
              output=str(folder / 'table.jsonl'))
  again = [json.loads(line) for line in (folder / 'table.jsonl').open()]
  assert [row['prediction'] for row in again] == [row['prediction'] for row in found]


@pytest.mark.slow('questions')
def test_an_evaluation_of_other_files_scores_what_is_predicted(
  answering, folder, capsys):
  squad(folder / 'more.json', 9, seed=2)
  run = bigmodels.load(answering, say=lambda line: None)
  found = run.evaluate('test', data=folder / 'more.json')
  outputs = run.predict(folder / 'more.json')
  paragraphs = json.loads((folder / 'more.json').read_text())['data'][0]['paragraphs']
  right = [p['context'][a:b] == p['qas'][0]['answers'][0]['text'] for p, a, b in zip(
    paragraphs, outputs['start'], outputs['end'], strict=True)]
  assert found['test/exact_match'] == pytest.approx(100 * np.mean(right))


def test_bad_questions_are_refused(answering, folder, request_for):
  (folder / 'bad.json').write_text('{')
  with pytest.raises(UserError, match=r'bad\.json, line 1: is not JSON'):
    predict.run(request_for(None, answering), input=[str(folder / 'bad.json')],
                output=str(folder / 'bad.csv'))


def test_the_report_shows_questions(answering):
  report = (answering / 'report.html').read_text()
  for title in ('F1 by the length of the answer', 'F1 by the kind of question',
                'Questions'):
    assert title in report
  assert re.search(r'\[\w+[^\]<]*\]', report)  # the predicted answer in its context
