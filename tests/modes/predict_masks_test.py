"""Tests of a run on a folder of masks, and of --mode=predict of it."""

import json

import numpy as np
import pytest
from PIL import Image

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from bigmodels.plots.style import mask_colours
from tests.data.folders import masked, written

pytestmark = pytest.mark.slow('train')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('masks')
  for index in range(20):
    masked.write(folder, f'{index}', index, shape=(15 + index % 3, 18))
  return folder


@pytest.fixture
def workdir(folder, request_for, plots, capsys):
  """The workdir of a run; trained once."""
  path = folder / 'run'
  if not path.is_dir():
    train.run(request_for(
      'mask_folder', path, data_dir=folder, epochs=2, width=4, halvings=1, patch=8,
      classes="('sky', 'sea', 'land')"))
  capsys.readouterr()
  return path


def test_masks_have_the_size_of_their_pictures(workdir, request_for, tmp_path, capsys):
  given = written.write(tmp_path / 'in', ['in/colour.png'], shape=(21, 34))
  written.write(tmp_path / 'in', ['grey.png'], shape=(5, 3), channels=1)
  predict.run(request_for(None, workdir), input=[str(tmp_path / 'in')],
              output=str(tmp_path / 'out'))
  out = capsys.readouterr().out
  assert f'{tmp_path}/out/in/colour.png: 34 x 21 pixels, from 34 x 21 pixels\n' in out
  colour, grey = (Image.open(tmp_path / 'out' / name)
                  for name in ('in/colour.png', 'grey.png'))
  assert (colour.mode, colour.size) == ('P', (34, 21))
  assert grey.size == (3, 5)  # of three equal channels
  run = bigmodels.load(workdir, say=lambda line: None)
  mask = run.image_to_image(given['in/colour.png'])
  np.testing.assert_array_equal(np.asarray(colour), mask)
  np.testing.assert_array_equal(np.asarray(colour.convert('RGB')), mask_colours()[mask])
  with pytest.raises(UserError, match=r'image: must be uint8 \[height, width, 3\], got '
                                      r'uint8 \[21, 34, 1\]'):
    run.image_to_image(given['in/colour.png'][..., :1])


def test_predictions_are_those_of_an_evaluation(workdir, folder):
  run = bigmodels.load(workdir, say=lambda line: None, data_dir=folder)
  outputs = run.evaluated('test')[1]['test']
  columns = run._with_data.built.evals['test'].dataset.load()
  for row in range(len(outputs['row'])):
    inside = columns['inside'][row] if 'inside' in columns else np.ones(
      columns['labels'][row].shape, bool)
    shape = inside.any(1).sum(), inside.any(0).sum()
    image = columns['inputs'][row, : shape[0], : shape[1]]
    same = run.image_to_image(image) == (
      outputs['predictions'][row, : shape[0], : shape[1]])
    assert same.mean() > 0.99


def test_the_report_and_metrics_of_a_run(workdir):
  page = (workdir / 'report.html').read_text()
  for text in ('Images and masks', 'IoU of each class', 'land'):
    assert text in page
  found = json.loads((workdir / 'result.json').read_text())['metrics']
  assert {'test/mean_iou', 'test/mean_dice', 'test/accuracy', 'validation/iou/1'} <= {
    *found}
