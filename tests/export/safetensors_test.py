"""Tests of weights that are written and read back, without `transformers`."""

import dataclasses
import json
import os
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import bigmodels
from bigmodels import data, models, tasks
from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.texts.documents import Documents
from bigmodels.export import safetensors
from bigmodels.modes import export, train
from bigmodels.storage import exported
from bigmodels.training import initialize
from tests.models.loading import started
from tests.training.untrained import run_of

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 33, 33, 3)).astype(np.uint8)
NAMES = ('ant', 'bee', 'cow')


class Lines:
  """What `data.Packed` needs of documents."""

  name = 'lines'

  def read(self, split, context):
    del split, context
    return Documents(['the cat sat on the mat. ' * 20] * 3)


def to_floats(batch, key):
  del key
  return {**batch, 'inputs': batch['inputs'].astype('float32') / 255}


def of_images(model):
  return run_of(model, data.Arrays(
    inputs=IMAGES, labels=np.arange(10, dtype=np.int32) % 3, classes=NAMES),
    transforms=(to_floats,))


def of_text(model, task=tasks.next_token, tokenizer=tokenizers.Bytes()):  # noqa: B008
  return run_of(model, data.Packed(Lines(), tokenizer, 12), task)


GPT = partial(models.Gpt, length=12, depth=2, width=8, heads=2)
RUNS = {
  'gpt2': lambda: of_text(GPT),
  'cnn': lambda: of_images(models.Cnn(3, (4,), hidden=(5,))),
}
SLOW = {
  'gpt2 untied': lambda: of_text(partial(GPT, tied=False)),
  'bert': lambda: of_text(partial(models.MaskedBert, encoder=partial(
    models.Bert, length=12, depth=2, width=8, heads=2)), tasks.masked_token,
    tokenizers.Bpe(270, special=('pad', 'mask', 'end'))),
  'vit': lambda: of_images(models.Vit(3, size=33, patch=11, depth=2, width=8, heads=2)),
  'modern gpt': lambda: of_text(partial(
    models.ModernGpt, length=12, depth=1, width=8, heads=2)),
  'resnet': lambda: of_images(models.ResNet(3, 18, 4)),
  'mobilenet': lambda: of_images(models.MobileNetV2(3, 0.1)),
}
SLOW_MARK = pytest.mark.slow('compile deep models')
BY_PATH = ('modern gpt', 'cnn')


def written(run, folder, **settings):
  folder.mkdir(exist_ok=True)
  lines = []
  safetensors.write(run, folder, say=lines.append, **{
    'dtype': 'float32', 'shard_bytes': 10**9, **settings})
  return lines


def equal(one, two):
  assert jax.tree.structure(one) == jax.tree.structure(two)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('name, shard_bytes', [
  ('gpt2', 3000), ('cnn', 10**9),
  *(pytest.param(name, size, marks=SLOW_MARK) for name in SLOW for size in (
    3000, 10**9))])
def test_a_round_trip_keeps_every_bit(tmp_path, name, shard_bytes):
  run = (RUNS | SLOW)[name]()
  lines = written(run, tmp_path, shard_bytes=shard_bytes)
  assert lines[0].startswith('weights by parameter path') == (name in BY_PATH)
  assert 'read back: max difference 0, 0 in the outputs of 8 random rows' in lines[-1]
  kept = run.built.data['kept'].get('tokenizer')
  inputs = run.built.train.dataset.read(np.zeros(1, int))['inputs']
  state = started(run.model, tmp_path, inputs.astype(np.float32) if (
    inputs.dtype == np.uint8) else inputs, kept=kept)
  equal(initialize.named(run.state), initialize.named(state))
  shards = len(list(tmp_path.glob('model*.safetensors')))
  assert (shards > 2) == (shard_bytes == 3000)
  sizes = [path.stat().st_size for path in tmp_path.glob('model*.safetensors')]
  assert shards == 1 or min(sizes) < 6000


def test_what_is_beside_the_weights(tmp_path):
  run = SLOW['vit']()
  lines = written(run, tmp_path)
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'README.md', 'bigmodels.json', 'config.json', 'model.safetensors',
    'preprocessor_config.json']
  with safe_open(tmp_path / 'model.safetensors', 'numpy') as file:
    metadata = file.metadata()
    names = set(file.keys())
  assert metadata['format'] == 'pt' and metadata['step'] == '7'
  assert len(metadata['config_sha256']) == 64
  assert {'vit.embeddings.cls_token', 'vit.encoder.layer.1.output.dense.weight',
          'classifier.bias'} <= names
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config['architectures'] == ['ViTForImageClassification']
  assert config['id2label'] == {'0': 'ant', '1': 'bee', '2': 'cow'}
  assert config['image_size'] == 33 and config['num_channels'] == 3
  found = json.loads((tmp_path / 'preprocessor_config.json').read_text())
  assert found['size'] == {'height': 33, 'width': 33} and not found['do_normalize']
  assert any('lacks the transform to_floats' in line for line in lines)
  card = (tmp_path / 'README.md').read_text()
  assert '10 training examples' in card and 'ant, bee, cow' in card
  assert 'pipeline_tag: image-classification' in card and 'None is stated' in card
  assert 'to_floats' in card
  assert (tmp_path / 'model.safetensors').stat().st_mode & 0o044 == 0o044


def test_weights_by_parameter_path(tmp_path):
  run = RUNS['cnn']()
  written(run, tmp_path)
  arrays = load_file(tmp_path / 'model.safetensors')
  np.testing.assert_array_equal(
    arrays['params/head/Dense_1/kernel'], run.params['head']['Dense_1']['kernel'])
  record = json.loads((tmp_path / 'bigmodels.json').read_text())
  assert record['classes'] == list(NAMES) and record['layout'] == 'parameter paths'
  assert record['shapes']['params/head/Dense_1/bias'] == [3]
  assert 'model = bigmodels.models.Cnn' in record['config']


@pytest.mark.parametrize('model, words', [
  (models.MobileNetV1(3, reduction=16), 'reduction: must be 32 in transformers, got'),
  (models.ResNet(3, 18, stem='cifar'), 'stem: must be imagenet as in the published'),
  (models.BertClassifier(models.Bert(5), 2, 'mean'),
   "BERT: published with pooling='first', here it is 'mean'"),
  (models.Mlp(3), 'Mlp has no published parameters'),
])
def test_models_that_transformers_computes_otherwise_are_by_path(model, words):
  names = {'head': {'kernel': np.zeros(1)}}
  run = SimpleNamespace(model=model, state=SimpleNamespace(
    params=names, model_state={}))
  layout, why = safetensors._layout(run)
  assert layout is None and words in why


def test_types(tmp_path):
  run = RUNS['cnn']()
  for dtype, bits in (('bfloat16', 8), ('float16', 11)):
    lines = written(run, tmp_path / dtype, dtype=dtype)
    rounding = float(lines[-2].split()[-4])
    assert 2.0 ** -(bits + 2) < rounding < 1e-2
    state = started(run.model, tmp_path / dtype, IMAGES[:1].astype(np.float32))
    for a, b in zip(*(jax.tree.leaves(x.params) for x in (run.state, state)),
                    strict=True):
      np.testing.assert_allclose(a, b, rtol=2.0**-bits, atol=1e-7)
  big = run.state._replace(params=jax.tree.map(lambda x: x * 1e6, run.params))
  with pytest.raises(UserError, match=r'--dtype=float16: params/.* beyond its range'):
    written(dataclasses.replace(run, state=big), tmp_path / 'x', dtype='float16')


def test_values_that_are_not_finite_are_not_written(tmp_path):
  run = RUNS['cnn']()
  bad = run.state._replace(params=jax.tree.map(lambda x: x * np.nan, run.params))
  with pytest.raises(UserError, match='params/Conv_0/bias: 4 of 4 values are not fini'):
    written(dataclasses.replace(run, state=bad), tmp_path)


ONE_STEP = {'duration.steps': '1', 'duration.epochs': 'None'}

# --- the mode -------------------------------------------------------------------


@pytest.fixture(scope='module')
def trained(tmp_path_factory, tiny, cache_dir):
  """The workdir of a run of an experiment file that trains in a second."""
  from bigmodels.cli.request import Request

  path = tmp_path_factory.mktemp('run') / 'a'
  train.run(Request(str(tiny), ONE_STEP, str(path), None, cache_dir, None))
  return path


def exporting(request_for, workdir, **flags):
  export.run(request_for(None, workdir), **flags)


def test_a_run_is_exported_and_another_begins_with_it(
    request_for, trained, tiny, tmp_path, capsys):
  folder = tmp_path / 'out'
  folder.mkdir()  # empty, so allowed
  exporting(request_for, trained, output=str(folder))
  assert f'exported to {folder}' in capsys.readouterr().out
  assert [path.name for path in tmp_path.iterdir()] == ['out']
  card = (folder / 'README.md').read_text()
  assert '| test/' in card and 'At step' in card
  workdir = tmp_path / 'b'
  train.run(request_for(tiny, workdir, init_from=folder, duration__steps=1,
                        duration__epochs='None'))
  assert f'8 parameters and 4 batch statistics from {folder}' in capsys.readouterr().out
  with pytest.raises(UserError, match=rf'--output={folder}: must be a new folder or an '
                     'empty one, holds 3 files'):
    exporting(request_for, trained, output=str(folder))


@pytest.mark.slow('train')
def test_the_average_is_exported(request_for, tiny, tmp_path):
  workdir, folder = tmp_path / 'a', tmp_path / 'out'
  train.run(request_for(tiny, workdir, average=0.9, duration__steps=2,
                        duration__epochs='None'))
  exporting(request_for, workdir, output=str(folder))
  arrays = load_file(folder / 'model.safetensors')
  state = bigmodels.load(workdir).state
  last, average = (exported.by_path(x) for x in (
    state, state._replace(**state.average)))
  assert arrays.keys() == last.keys() == average.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, average[name])
    assert not np.array_equal(array, last[name])


def test_a_format_of_ones_own(request_for, trained, tmp_path):
  mine = tmp_path / 'mine.py'
  mine.write_text(
    'import numpy as np\n'
    'from bigmodels.storage import exported\n'
    'def write(run, folder, *, dtype, shard_bytes, say):\n'
    '  np.savez(folder / "all.npz", **exported.by_path(run.state))\n'
    '  say(f"{dtype}, {shard_bytes}")\n')
  exporting(request_for, trained, to=str(mine), output=str(tmp_path / 'out'))
  exporting(request_for, trained, output=str(tmp_path / 'other'))
  ours = np.load(tmp_path / 'out' / 'all.npz')
  equal(dict(ours), load_file(tmp_path / 'other' / 'model.safetensors'))
  mine.write_text('def wirte(): pass')
  with pytest.raises(UserError, match=r'mine.py: a format defines write\(run, folder'):
    exporting(request_for, trained, to=str(mine), output=str(tmp_path / 'x'))
  with pytest.raises(UserError, match=r'--to=.*gone.py: there is no file'):
    exporting(request_for, trained, to=str(tmp_path / 'gone.py'),
              output=str(tmp_path / 'x'))


@pytest.mark.parametrize('flags, words', [
  ({}, '--mode=export: set the --output folder'),
  ({'output': 'x', 'to': 'safetensor'}, '--to=safetensor: no such format, nor the path '
                                        "of a .py file; did you mean 'safetensors'?"),
  ({'output': 'x', 'dtype': 'bf16'}, '--dtype=bf16: no such type; did you mean '),
  ({'output': 'x', 'shard_gb': 0.0}, '--shard_gb=0.0: must be > 0 and finite'),
  ({'output': 'x', 'shard_gb': float('nan')}, '--shard_gb=nan: must be > 0'),
  ({'output': __file__}, 'is not a folder'),
])
def test_flags_that_are_refused(request_for, trained, tmp_path, monkeypatch, flags,
                                words):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError) as error:
    exporting(request_for, trained, **flags)
  assert words in str(error.value)
  assert os.listdir(tmp_path) == []


def test_a_failure_leaves_nothing(request_for, trained, tmp_path, monkeypatch):
  monkeypatch.setattr(safetensors, '_compared', lambda *a, **b: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    exporting(request_for, trained, output=str(tmp_path / 'x'))
  assert os.listdir(tmp_path) == []
  with pytest.raises(UserError, match='set the --workdir of a run'):
    exporting(request_for, None, output=str(tmp_path / 'x'))


def test_a_folder_with_a_damaged_record_is_refused(tmp_path):
  run = RUNS['cnn']()
  written(run, tmp_path)
  (tmp_path / 'bigmodels.json').write_text('{"format": 2, "kept": {}}')
  with pytest.raises(UserError, match=r'bigmodels\.json: format must be 1'):
    started(run.model, tmp_path, IMAGES[:1].astype(np.float32))
