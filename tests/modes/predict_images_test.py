"""Tests of --mode=predict of runs that make images of images, as a user has them."""

import json

import numpy as np
import pytest
from PIL import Image

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from tests.data.folders.written import encoded, picture, write


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('enlarge')
  for seed, name in enumerate(('t91', 'set5', 'set14')):
    write(folder / 'sr' / name, ['a.png', 'b.png', 'c.png'], 10 * seed, shape=(36, 40))
  return folder


@pytest.fixture
def workdir(folder, request_for, plots, capsys):
  """The workdir of a run; trained once."""
  path = folder / 'run'
  if not path.is_dir():
    train.run(request_for('espcn_x3', path, data_dir=folder, steps=2, batch_size=2,
                          patch=8, **{'model.widths': '(4,)'}))
  capsys.readouterr()
  return path


def test_every_image_is_enlarged(workdir, request_for, tmp_path, capsys):
  given = write(tmp_path / 'in', ['grey.png'], shape=(9, 5), channels=1)
  write(tmp_path / 'in', ['inner/two.png'], shape=(20, 31))
  predict.run(request_for(None, workdir), input=[str(tmp_path / 'in')],
              output=str(tmp_path / 'out'))
  out = capsys.readouterr().out
  assert f'{tmp_path}/out/inner/two.png: 93 x 60 pixels, from 31 x 20 pixels\n' in out
  grey, colours = (Image.open(tmp_path / 'out' / name)
                   for name in ('grey.png', 'inner/two.png'))
  assert (grey.mode, grey.size) == ('L', (15, 27))
  assert (colours.mode, colours.size) == ('RGB', (93, 60))
  run = bigmodels.load(workdir, say=lambda line: None)
  np.testing.assert_array_equal(
    np.asarray(grey)[..., None], run.image_to_image(given['grey.png'][..., None]))
  with pytest.raises(UserError, match=r'delimiter: of tables, which this run does not'):
    predict.run(request_for(None, workdir, delimiter=';'), input=[str(tmp_path / 'in')],
                output=str(tmp_path / 'other'))


def test_the_report_and_metrics_of_a_run(workdir):
  page = (workdir / 'report.html').read_text()
  assert 'Enlarged images' in page and 'PSNR of each image' in page
  found = json.loads((workdir / 'result.json').read_text())['metrics']
  assert {'set5/psnr', 'set5/ssim_bicubic', 'set14/psnr_bicubic'} <= {*found}


def test_a_run_without_images_makes_none(request_for, tiny, tmp_path):
  train.run(request_for(tiny, tmp_path / 'run', steps=2))
  run = bigmodels.load(tmp_path / 'run', say=lambda line: None)
  with pytest.raises(UserError, match='classification, which makes no images of'):
    run.image_to_image(np.zeros((8, 8, 1), np.uint8))
  (tmp_path / 'a.png').write_bytes(encoded(picture(0)))
  with pytest.raises(UserError, match=r'must end in \.csv, \.jsonl or \.parquet'):
    predict.run(request_for(None, tmp_path / 'run'), input=[str(tmp_path / 'a.png')],
                output=str(tmp_path / 'out'))


@pytest.mark.parametrize('settings, message', [
  ({'model.scale': 2}, 'Espcn enlarges 2 times, the data is 3 times smaller'),
  ({'patch': 30}, 'size 30 is above that of all images'),
  ({'scale': 9}, 'scale: must be 2 to 8, got 9')])
def test_settings_that_do_not_fit(settings, message, folder, request_for, tmp_path):
  with pytest.raises(UserError, match=message):
    train.run(request_for('espcn_x3', tmp_path / 'run', data_dir=folder, batch_size=2,
                          **settings))
