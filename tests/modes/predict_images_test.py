"""Tests of --mode=predict of runs that make images of images, as a user has them."""

import io
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
    write(folder / 'sr' / name, ['a.png', 'b.png', 'c.png', 'd.png'], 10 * seed,
          shape=(36, 40))
  return folder


@pytest.fixture
def workdir(folder, request_for, capsys):
  """The workdir of a run; trained once."""
  path = folder / 'run'
  if not path.is_dir():
    train.run(request_for('espcn_x3', path, data_dir=folder, steps=3, batch_size=2,
                          patch=8, **{'model.widths': '(4,)'}))
  capsys.readouterr()
  return path


@pytest.fixture
def ask(workdir, request_for, capsys):
  """(inputs, output) -> what is printed."""

  def ask(*inputs, output, **flags):
    predict.run(request_for(None, workdir), input=[*map(str, inputs)],
                output=str(output), **flags)
    return capsys.readouterr().out

  return ask


def test_every_image_is_written_as_png(workdir, folder, tmp_path, ask):
  write(tmp_path / 'in', ['one.png', 'inner/two.png'], shape=(20, 31))
  grey = write(tmp_path / 'in', ['grey.png'], shape=(9, 5), channels=1)
  (tmp_path / 'in' / 'soft.png').write_bytes(encoded(
    picture(3, (12, 12), channels=4)))
  (tmp_path / 'in' / 'print.jpg').write_bytes(encoded(
    picture(4, (10, 10)).convert('CMYK'), 'JPEG'))
  out = ask(tmp_path / 'in', output=tmp_path / 'out')
  sizes = {str(path.relative_to(tmp_path / 'out')): (
    Image.open(path).size, Image.open(path).mode, Image.open(path).format)
    for path in (tmp_path / 'out').rglob('*') if path.is_file()}
  assert sizes == {
    'one.png': ((93, 60), 'RGB', 'PNG'), 'inner/two.png': ((93, 60), 'RGB', 'PNG'),
    'grey.png': ((15, 27), 'L', 'PNG'), 'soft.png': ((36, 36), 'RGB', 'PNG'),
    'print.png': ((30, 30), 'RGB', 'PNG')}
  assert f'{tmp_path}/out/one.png: 93 x 60 pixels, from 31 x 20\n' in out
  assert 'from 12 x 12; image of mode RGBA stripped of transparency' in out
  assert 'from 10 x 10; image of mode CMYK turned to RGB' in out
  assert '5 images in ' in out
  run = bigmodels.load(workdir, say=lambda line: None)
  np.testing.assert_array_equal(
    np.asarray(Image.open(tmp_path / 'out' / 'grey.png'))[..., None],
    run.image_to_image(grey['grey.png'][..., None]))
  assert not [path for path in (tmp_path / 'out').rglob('.*')]


def test_a_damaged_image_is_told_and_the_others_are_written(tmp_path, ask):
  write(tmp_path / 'in', ['a.png', 'c.png'])
  (tmp_path / 'in' / 'b.png').write_bytes(b'no image')
  out = ask(tmp_path / 'in', output=tmp_path / 'out')
  assert f'warning: 1 without a prediction: {tmp_path}/in/b.png (cannot' in out
  assert '2 images in ' in out
  assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['a.png', 'c.png']


def test_what_is_refused(tmp_path, ask, request_for, workdir):
  write(tmp_path / 'in', ['a.png'])
  with pytest.raises(UserError, match='must be a folder, for this run makes images'):
    ask(tmp_path / 'in', output=tmp_path / 'out.csv')
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='is not a folder'):
    ask(tmp_path / 'in', output=tmp_path / 'file')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='empty: has no images'):
    ask(tmp_path / 'empty', output=tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
  ask(tmp_path / 'in', output=tmp_path / 'out')
  with pytest.raises(UserError, match=r'a\.png exists; set --overwrite to replace it'):
    ask(tmp_path / 'in', output=tmp_path / 'out')
  ask(tmp_path / 'in', output=tmp_path / 'out', overwrite=True)
  with pytest.raises(UserError, match=r'a\.png is a file of --input, which would be'):
    ask(tmp_path / 'in', output=tmp_path / 'in', overwrite=True)
  (tmp_path / 'in' / 'a.jpg').write_bytes(encoded(picture(0), 'JPEG'))
  with pytest.raises(UserError, match=r'a\.jpg and .*a\.png would both be written to'):
    ask(tmp_path / 'in', output=tmp_path / 'other')
  with pytest.raises(UserError, match=r'--config\.delimiter: of tables'):
    predict.run(request_for(None, workdir, delimiter=';'), input=[str(tmp_path / 'in')],
                output=str(tmp_path / 'other'))


def test_the_report_and_metrics_of_a_run(workdir, folder, plots, request_for, tmp_path):
  train.run(request_for('espcn_x3', tmp_path / 'run', data_dir=folder, steps=3,
                        batch_size=2, patch=8, **{'model.widths': '(4,)'}))
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'Enlarged images' in page and 'PSNR of each image' in page
  found, first = (json.loads((path / 'result.json').read_text())['metrics']
                  for path in (tmp_path / 'run', workdir))
  assert found == first  # a run is a function of its seed
  assert {'set5/psnr', 'set5/ssim_bicubic', 'set14/psnr_bicubic'} <= {*found}


def test_a_run_without_images_makes_none(request_for, tmp_path):
  train.run(request_for('digits_cnn', tmp_path / 'digits', epochs='1', **{
    'model.widths': '(8,)', 'model.pool': '(2,)', 'model.hidden': '(12,)'}))
  run = bigmodels.load(tmp_path / 'digits', say=lambda line: None)
  with pytest.raises(UserError, match='classification, which makes no images of'):
    run.image_to_image(np.zeros((8, 8, 1), np.uint8))
  file = io.BytesIO()
  picture(0).save(file, 'PNG')
  (tmp_path / 'a.png').write_bytes(file.getvalue())
  with pytest.raises(UserError, match=r'must end in \.csv, \.jsonl or \.parquet'):
    predict.run(request_for(None, tmp_path / 'digits'), input=[str(tmp_path / 'a.png')],
                output=str(tmp_path / 'out'))


@pytest.mark.parametrize('settings, message', [
  ({'model.scale': 2}, 'Espcn enlarges 2 times, the data is 3 times smaller'),
  ({'patch': 30}, 'size 30 is above that of all images'),
  ({'scale': 9}, 'scale: must be 2 to 8, got 9')])
def test_settings_that_do_not_fit(settings, message, folder, request_for, tmp_path):
  with pytest.raises(UserError, match=message):
    train.run(request_for('espcn_x3', tmp_path / 'run', data_dir=folder, batch_size=2,
                          **settings))
