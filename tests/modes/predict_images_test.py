"""Tests of --mode=predict of runs that make images of images, as a user has them."""

import json

import numpy as np
import pytest
from PIL import Image

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from tests.conftest import ROOT
from tests.data.folders.written import write

FORK = ROOT / 'tests' / 'forks' / 'enlarge.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('enlarge')
  for seed, name in enumerate(('train', 'test', 'sr/t91', 'sr/set5', 'sr/set14')):
    write(folder / name, ['a.png', 'b.png', 'c.png'], 10 * seed, shape=(36, 40))
  return folder


@pytest.fixture
def workdir(folder, request_for, plots, capsys):
  """The workdir of a run; trained once."""
  path = folder / 'run'
  if not path.is_dir():
    train.run(request_for(FORK, path, folder=folder))
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
  assert {'test/psnr', 'test/ssim', 'test/psnr_bicubic', 'test/ssim_bicubic'} <= {
    *found}


@pytest.mark.parametrize('settings, message', [
  ({'model.scale': 2}, 'Espcn enlarges 2 times, the data is 3 times smaller'),
  ({'patch': 30}, 'size 30 is above that of all images'),
  ({'scale': 9}, 'scale: must be 2 to 8, got 9')])
def test_settings_that_do_not_fit(settings, message, folder, request_for, tmp_path):
  with pytest.raises(UserError, match=message):
    train.run(request_for('espcn_x3', tmp_path / 'run', data_dir=folder, batch_size=2,
                          **settings))
