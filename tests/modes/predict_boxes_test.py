"""Tests of --mode=predict of runs that find boxes: pictures, COCO's JSON, tables."""

import json

import numpy as np
import pytest
from PIL import Image

import bigmodels
from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.modes import predict, train
from tests.conftest import ROOT
from tests.data.boxes import written

FORK = ROOT / 'tests' / 'forks' / 'boxes.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('boxes')
  written.tfds(folder / 'tfds', 'rectangles', {'train': 8, 'test': 4})
  (folder / 'in/inner').mkdir(parents=True)
  for row, example in enumerate(written.examples(3, 9)):
    Image.fromarray(example.picture).save(
      folder / 'in' / ('inner/' * (row == 2) + f'{row}.png'))
  return folder


@pytest.fixture
def workdir(folder, request_for, plots, capsys):
  """The workdir of a run; trained once."""
  pytest.importorskip('pycocotools', reason='pip install -r '
                                            'requirements-detection.txt')
  path = folder / 'run'
  if not path.is_dir():
    train.run(request_for(FORK, path, data_dir=folder / 'tfds'))
    page = (path / 'report.html').read_text()
    assert 'Precision and recall' in page and 'True and found boxes' in page
    found = json.loads((path / 'result.json').read_text())['metrics']
    assert 0 <= found['test/ap'] <= 1 and 'test/ap50' in found
  capsys.readouterr()
  return path


def test_boxes_are_drawn_and_written(workdir, folder, request_for, tmp_path, capsys):
  (folder / 'in' / 'broken.png').write_bytes(b'no picture')
  (folder / 'in' / 'notes.txt').write_text('no picture')
  predict.run(request_for(None, workdir), input=[str(folder / 'in')],
              output=str(tmp_path / 'out'))
  out = capsys.readouterr().out
  assert 'broken.png: cannot be read as an image' in out and 'found.json' in out
  assert out.count('skipped') == 1  # though files are read twice
  for name in ('broken.png', 'notes.txt'):
    (folder / 'in' / name).unlink()
  found = json.loads((tmp_path / 'out' / 'found.json').read_text())
  assert [each['file_name'] for each in found['images']] == [
    '0.png', '1.png', 'inner/2.png']
  assert [each['name'] for each in found['categories']] == [*written.CLASSES]
  outputs = bigmodels.load(workdir, say=lambda line: None).predict(
    [*map((folder / 'in').joinpath, ('0.png', '1.png', 'inner/2.png'))])
  for image, given in enumerate(written.examples(3, 9)):
    drawn = np.asarray(Image.open(tmp_path / 'out' / found['images'][image]['file_name']
                                  ))
    assert drawn.shape == given.picture.shape
    assert found['images'][image]['height'] == given.size[0]
    boxes = [x for x in found['annotations'] if x['image_id'] == image + 1]
    assert len(boxes) == (outputs['found_scores'][image] > 0).sum() > 0
    for number, box in enumerate(boxes):
      left, top, width, height = box['bbox']
      np.testing.assert_allclose(
        outputs['found_boxes'][image, number],
        [top, left, top + height, left + width], atol=0.02)
      assert top + height <= given.size[0] + 0.01
      assert left + width <= given.size[1] + 0.01
  # What is found is data that can be learned from.
  again = data.Detection(data.boxes.Coco(
    str(tmp_path / 'out' / 'found.json'), str(folder / 'in'), {'train': 1.0}),
    (32, 32)).open(DataContext(None, None, {}, say=lambda line: None))
  assert again.length == 3 and again.classes == written.CLASSES
  with pytest.raises(UserError, match='exists; choose another folder, or replace'):
    predict.run(request_for(None, workdir), input=[str(folder / 'in')],
                output=str(tmp_path / 'out'))
  # It is said before images are drawn that are not in the JSON.
  (tmp_path / 'out/0.png').unlink()
  with pytest.raises(UserError, match=r'found\.json exists'):
    predict.run(request_for(None, workdir), input=[str(folder / 'in/0.png')],
                output=str(tmp_path / 'out'))
  assert not (tmp_path / 'out/0.png').exists()


def test_boxes_are_drawn_from_another_score_on(workdir, folder, request_for, tmp_path,
                                               capsys):
  def drawn(name, **flags):
    predict.run(request_for(None, workdir), input=[str(folder / 'in/0.png')],
                output=str(tmp_path / name), **flags)
    return np.asarray(Image.open(tmp_path / name / '0.png')), capsys.readouterr().out

  none, _ = drawn('none', draw_threshold=1.0)
  np.testing.assert_array_equal(none, np.asarray(Image.open(folder / 'in/0.png')))
  every, out = drawn('all', draw_threshold=0.0)
  count = len(json.loads((tmp_path / 'all/found.json').read_text())['annotations'])
  assert f'boxes: {count} found; {count} drawn, of a score of at least 0 (--d' in out
  assert np.any(every != none)
  for flags, message in (
    ({'draw_threshold': 1.5}, '--draw_threshold=1.5: must be 0 to 1'),
    ({'draw_threshold': 0.5, 'output': 'x.csv'}, 'nothing is drawn in a table; --out')):
    with pytest.raises(UserError, match=message):
      predict.run(request_for(None, workdir), input=[str(folder / 'in/0.png')],
                  **{'output': str(tmp_path / 'other')} | flags)


def test_boxes_in_a_table(workdir, folder, request_for, tmp_path, capsys):
  predict.run(request_for(None, workdir), input=[str(folder / 'in')],
              output=str(tmp_path / 'found.jsonl'))
  rows = [*map(json.loads, (tmp_path / 'found.jsonl').read_text().splitlines())]
  assert len(rows) == 3
  for row in rows:
    boxes = json.loads(row['found'])
    assert len(boxes) == int(row['boxes'])
    assert {each['class'] for each in boxes} <= {*written.CLASSES}
