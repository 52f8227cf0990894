"""Tests of runs of style transfer, from a run of VGG to pictures."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import predict, train
from tests.conftest import ROOT
from tests.data.folders.written import write

pytestmark = pytest.mark.slow('train', together=True)

FORK = ROOT / 'tests' / 'forks' / 'vgg.py'
SMALL = {'photographs': 'photographs', 'style': 'style.png', 'size': 40,
         'style_size': 32, 'steps': 2, 'model__features__width': 2,
         'model__features__depth': 11}
FAST = SMALL | {'patch': 32, 'width': 4, 'depth': 1, 'batch_size': 2,
                'task__content': "('relu3_2',)",
                'task__style': "('relu1_1', 'relu3_1')"}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('style')
  for seed, name in enumerate(('photographs', 'sr/set14')):
    write(folder / name, ['a.png', 'b.png'], 10 * seed, shape=(44, 48))
  write(folder, ['style.png'], 5, shape=(36, 36))
  return folder


@pytest.fixture
def vgg(folder, request_for, capsys):
  """The workdir of a VGG; trained once."""
  if not (folder / 'vgg').is_dir():
    train.run(request_for(FORK, folder / 'vgg'))
  capsys.readouterr()
  return folder / 'vgg'


def test_features_of_a_run_are_taken_and_stay(vgg, folder, request_for, plots, tmp_path,
                                              capsys):
  train.run(request_for('style_gatys', tmp_path / 'run', data_dir=folder, init_from=vgg,
                        **SMALL))
  out = capsys.readouterr().out
  assert f'32 parameters and 16 batch statistics from {vgg} (features/.*), 1 are' in out
  assert 'parameters are frozen\n' in out
  ours, theirs = (bigmodels.load(path, say=lambda line: None)
                  for path in (tmp_path / 'run', vgg))
  for one, other in ((ours.params, theirs.params), (
    ours.model_state['batch_stats'], theirs.model_state['batch_stats'])):
    jax.tree.map(np.testing.assert_array_equal, one['features'], other['features'])
  pictures = np.asarray(ours.params['network']['pictures'])
  given = np.stack([np.asarray(Image.open(folder / 'photographs' / name).resize(
    (40, 40), Image.Resampling.BILINEAR, (2, 0, 46, 44))) for name in (
      'a.png', 'b.png')]) / 255
  assert 1e-4 < np.abs(pictures - given).max() < 0.1  # two steps from the photographs
  found = json.loads((tmp_path / 'run/result.json').read_text())['metrics']
  assert {f'train_pictures/{name}' for name in (
    'content', 'style', 'variation', 'content_noise', 'style_noise', 'style_photograph',
    'loss')} <= {*found}
  assert found['train_pictures/style'] < found['train_pictures/style_photograph']
  assert 'Photograph, style and result' in (tmp_path / 'run/report.html').read_text()
  with pytest.raises(UserError, match='which makes no images of images'):
    ours.image_to_image(np.zeros((40, 40, 3), np.uint8))


def test_photographs_of_any_size_are_made(folder, request_for, tmp_path, capsys):
  workdir = tmp_path / 'run'
  train.run(request_for('style_fast', workdir, data_dir=folder, **FAST))
  assert 'at their random initial values: --init_from=PATH' in capsys.readouterr().out
  given = write(tmp_path / 'in', ['inner/odd.png'], shape=(21, 30))
  write(tmp_path / 'in', ['grey.png'], shape=(9, 5), channels=1)
  predict.run(request_for(None, workdir), input=[str(tmp_path / 'in')],
              output=str(tmp_path / 'out'))
  out = capsys.readouterr().out
  assert f'{tmp_path}/out/inner/odd.png: 30 x 21 pixels, from 30 x 21 pixels' in out
  grey, colours = (Image.open(tmp_path / 'out' / name)
                   for name in ('grey.png', 'inner/odd.png'))
  assert (grey.mode, grey.size) == ('RGB', (5, 9))
  run = bigmodels.load(workdir, say=lambda line: None)
  image = given['inner/odd.png']
  np.testing.assert_array_equal(np.asarray(colours), run.image_to_image(image))
  padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), 'edge')
  whole = run.model.apply(
    {'params': run.params, **run.model_state}, padded[None] / np.float32(255),
    np.zeros(1, int), train=False)[0]
  assert np.abs(255 * np.asarray(whole)[:21, :30] - np.asarray(colours)).max() < 0.51


def test_another_vgg_is_refused(vgg, folder, request_for, tmp_path):
  with pytest.raises(UserError, match=r'features/conv\d_\d/kernel'):
    train.run(request_for('style_gatys', tmp_path / 'run', data_dir=folder,
                          init_from=vgg, **SMALL | {'model__features__depth': 13}))
