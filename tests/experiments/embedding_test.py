"""Runs on pictures of people, as a user has them: trained, evaluated, asked."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import bigmodels
from bigmodels.config import resolving
from bigmodels.core.errors import UserError
from bigmodels.modes import eval as eval_mode
from bigmodels.modes import predict, train
from tests.conftest import ROOT
from tests.data.folders import people

FORK = ROOT / 'tests' / 'forks' / 'people.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Pictures of people, one of them grey."""
  folder = tmp_path_factory.mktemp('people')
  people.write(folder)
  path = folder / 'train/P3_0.png'
  Image.open(path).convert('L').save(path)
  return folder


@pytest.fixture(scope='module')
def opened():
  return []


@pytest.fixture
def run(folder, opened, request_for, plots, capsys, cache_dir):
  """A run that is trained and opened once; what it said is in `said`."""
  if not opened:
    path = folder / 'run'
    train.run(request_for(FORK, path, path=folder / 'index.csv',
                          pairs=folder / 'pairs_test.csv'))
    (folder / 'said').write_text(capsys.readouterr().out)
    opened.append(bigmodels.load(path, cache_dir=cache_dir, say=lambda line: None))
  return opened[0]


def pixels(folder, rows):
  return np.stack([np.asarray(Image.open(folder / row['file']).convert('RGB'))
                   for row in rows])


def listed(folder, split):
  with (folder / 'index.csv').open() as file:
    return [row for row in csv.DictReader(file) if row['split'] == split]


def test_what_is_said_of_the_data(folder, run):
  said = (folder / 'said').read_text()
  for line in ('train: 28 images of 8 classes', 'test: 9 images of 4 classes',
               'channels=3: 1 of 49 images are grey, and get three equal channels',
               '1 of 8 classes have fewer than 2 examples and are left out',
               '1 of the 7 classes have fewer than 3 examples, which are repeated',
               '36 pairs, 7 of them of one identity, of 9 examples of 4'):
    assert line in said, line
  assert run.classes == tuple(f'train {i}' for i in range(8) if i != 5)


def test_metrics_are_those_of_the_embeddings(folder, run):
  rows = listed(folder, 'test')
  found = run.predict(pixels(folder, rows))
  x, labels = found['embeddings'], [row['person'] for row in rows]
  np.testing.assert_allclose((x**2).sum(1), 1, rtol=1e-5)
  pairs = [(i, j) for i in range(len(x)) for j in range(i)]
  same = np.array([labels[i] == labels[j] for i, j in pairs])
  scores = np.array([x[i] @ x[j] for i, j in pairs])
  result = json.loads((folder / 'run/result.json').read_text())
  metrics, chosen = result['metrics'], result['threshold']
  assert metrics['test/roc_auc'] == pytest.approx(roc_auc_score(same, scores))
  assert (chosen['by'], chosen['split']) == ('accuracy', 'validation')
  assert metrics['test/accuracy'] == pytest.approx(
    np.mean((scores >= chosen['value']) == same))
  assert metrics['test/roc_auc'] > 0.9  # people whom it has not seen
  assert run.evaluate('test') == {
    name: value for name, value in metrics.items() if name.startswith('test/')}


def test_people_are_recognized_and_others_are_unknown(
  folder, run, request_for, tmp_path, capsys):
  output = tmp_path / 'out.jsonl'
  predict.run(request_for(None, folder / 'run'), input=[
    str(folder / 'train'), str(folder / 'test')], output=str(output))
  rows = [json.loads(line) for line in output.read_text().splitlines()]
  truth = {row['file'].split('/')[1]: row['person'] for row in listed(folder, 'train')}
  known = [(row, truth[row['file'].rpartition('/')[2]]) for row in rows
           if '/train/' in row['file'] and 'P5_' not in row['file']]
  assert np.mean([row['nearest_1'] == name for row, name in known]) > 0.9
  assert [len(row['embedding']) for row in rows] == [6] * len(rows)
  threshold = run.threshold
  for row in rows:
    expected = row['nearest_1'] if row['similarity_1'] >= threshold else None
    assert row['identity'] == expected and row['similarity_1'] >= row['similarity_2']
  by_name = {row['file'].partition('people')[2]: row for row in rows}
  found = run.predict(pixels(folder, listed(folder, 'test')))
  for each, vector in zip(listed(folder, 'test'), found['embeddings'], strict=True):
    row = next(row for name, row in by_name.items() if name.endswith(each['file']))
    np.testing.assert_allclose([*row['embedding'].values()], vector, atol=1e-6)
  table = tmp_path / 'out.csv'
  predict.run(request_for(None, folder / 'run'), input=[str(folder / 'test')],
              output=str(table))
  assert table.read_text().splitlines()[0].replace('"', '') == (
    'file,identity,nearest_1,nearest_2,similarity_1,similarity_2,embedding_0,'
    'embedding_1,embedding_2,embedding_3,embedding_4,embedding_5,error')


def test_a_run_is_evaluated_on_people_with_other_names(folder, run, tmp_path,
                                                       request_for, capsys):
  people.write(tmp_path, counts={'New 1': [3], 'New 2': [3]})
  found = run.evaluate('test', data=tmp_path / 'index.csv')
  assert {'test/roc_auc', 'test/rank_1', 'test/accuracy'} <= {*found}
  (tmp_path / 'photos').mkdir()
  for name in ('New 1', 'New 2'):
    (tmp_path / name).rename(tmp_path / 'photos' / name)
  capsys.readouterr()
  eval_mode.run(request_for(None, folder / 'run'), data=[str(tmp_path / 'photos')],
                split='test')
  said = capsys.readouterr().out
  assert '12 pairs, 6 of them of one identity, of 6 examples of 2, drawn' in said
  assert f"test/roc_auc: {found['test/roc_auc']}" in said  # of the same pictures


def test_the_report_shows_pairs_and_embeddings(folder, run):
  page = (folder / 'run/report.html').read_text()
  for title in ('ROC curve', 'Similarities', 'Most similar of two identities',
                'Least similar of one identity', 'Embeddings'):
    assert title in page


def test_a_pair_of_a_picture_that_is_not_there(folder, request_for, tmp_path):
  pairs = tmp_path / 'pairs.csv'
  pairs.write_text('a,b,same\ntest/P0_0.png,test/P9_0.png,0\n')
  with pytest.raises(UserError, match="1 names are of no file of this split, such as "
                     r"'test/P9_0.png' \(line 2\)"):
    train.run(request_for(FORK, tmp_path / 'run', path=folder / 'index.csv',
                          pairs=pairs))


@pytest.mark.parametrize('loss', ['triplet', 'supervised_contrastive'])
def test_one_picture_of_each_person_has_no_positives(loss):
  with pytest.raises(UserError, match=(
    f'--config.each: must be >= 2 for positives of {loss}, got 1')):
    resolving.resolve('lfw_facenet', {'loss': loss, 'each': '1'})
  resolving.resolve('lfw_facenet', {'loss': 'arc_face', 'each': '1'})  # needs none
