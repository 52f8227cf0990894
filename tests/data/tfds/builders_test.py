"""Tests of bigmodels.data.tfds.builders: what is prepared runs no code of its own."""

import json
import pathlib
import sys
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.tfds import builders, tfds, tfds_examples
from tests.data.tfds.prepared import flat, record, write

IMAGE = 'tensorflow_datasets.core.features.image_feature.Image'
GOOD = {'pythonClassName': IMAGE, 'image': {'dtype': 'uint8'}}


@pytest.fixture
def context(tmp_path, monkeypatch):
  """Of a dataset, and a module that leaves a trace when it is imported."""
  builders.from_files.cache_clear()
  tfds_examples.data_source.cache_clear()
  (tmp_path / 'evilmod.py').write_text(
    f'import pathlib; pathlib.Path({str(tmp_path / "trace")!r}).write_text("")\n')
  monkeypatch.syspath_prepend(tmp_path)
  yield DataContext(str(tmp_path / 'tfds'), tmp_path / 'cache', {}, say=lambda _: None)
  assert not (tmp_path / 'trace').exists() and 'evilmod' not in sys.modules


def features(context, change, *, folder='pets/1.0.0'):
  """Changes `features.json` of a dataset."""
  path = pathlib.Path(context.data_dir) / folder / 'features.json'
  content = json.loads(path.read_text())
  path.write_text(json.dumps(change(content) or content))
  return path


def _named(name):
  def change(content):
    content['featuresDict']['features']['image']['pythonClassName'] = name
  return change


def _of_all(content):
  content['pythonClassName'] = 'evilmod.FeaturesDict'


def _snake(content):
  image = content['featuresDict']['features']['image']
  del image['pythonClassName']
  image['python_class_name'] = 'evilmod.Image'


def _legacy(content):
  return {'type': 'evilmod.FeaturesDict', 'content': {}}


def _legacy_inside(content):
  return {'type': 'tensorflow_datasets.core.features.features_dict.FeaturesDict',
          'content': {'image': {'type': 'evilmod.Image', 'content': {}}}}


def _in_a_sequence(content):
  content['featuresDict']['features']['file_name'] = {
    'pythonClassName':
      'tensorflow_datasets.core.features.sequence_feature.Sequence',
    'sequence': {'feature': {'pythonClassName': 'evilmod.Text', 'text': {}}}}


def _in_a_list(content):
  content['featuresDict']['features']['more'] = [{'pythonClassName': 'evilmod.sub.X'}]


@pytest.mark.parametrize('change', [
  _named('evilmod.Image'), _named('evilmod.sub.Image'),
  _named('tensorflow_datasets_evil.Image'), _named('.evilmod.Image'),
  _named('evilmod.tensorflow_datasets.Image'), _named(f' {IMAGE}'),
  _of_all, _snake, _legacy, _legacy_inside, _in_a_sequence, _in_a_list])
def test_only_classes_of_tfds_are_imported(context, change):
  write(pathlib.Path(context.data_dir), {'train': [record(flat(0), 0, 'a')]})
  path = features(context, change)
  openings = [lambda: builders.prepared('pets', context),
           lambda: builders.described('pets', context),
           lambda: builders.from_files('pets', context.data_dir),
           lambda: tfds_examples.data_source('pets', context.data_dir, 'train'),
           lambda: builders.of_class('pets:1.0.0', context),
           lambda: tfds.Tfds('pets').open(context)]
  for attempt in openings:
    with pytest.raises(UserError) as error:
      attempt()
    assert str(error.value).startswith(f'{path}: names the class ')
    assert 'may only name classes of tensorflow_datasets' in str(error.value)


def test_a_configuration_of_a_dataset_is_looked_at_too(context):
  """TFDS takes one from disk where the package has no such dataset."""
  root = pathlib.Path(context.data_dir)
  write(root, {'train': [record(flat(0), 0, 'a')]})
  (root / 'pets' / 'small').mkdir()
  (root / 'pets' / '1.0.0').rename(root / 'pets' / 'small' / '1.0.0')
  features(context, _named('evilmod.Image'), folder='pets/small/1.0.0')
  for name in ('pets', 'pets/small', 'pets/small:1.0.0'):
    with pytest.raises(UserError, match='names the class'):
      builders.described(name, context)


@pytest.mark.parametrize('content', ['', '[', '[' * 100_000, '7', '{"a": 1}', '\0'])
def test_features_that_are_none_are_a_line(context, content):
  write(pathlib.Path(context.data_dir), {'train': [record(flat(0), 0, 'a')]})
  path = pathlib.Path(context.data_dir) / 'pets' / '1.0.0' / 'features.json'
  path.write_text(content)
  with pytest.raises(UserError, match='what is prepared there cannot be read') as error:
    tfds.Tfds('pets').open(context)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', [
  'huggingface:mnist', 'huggingface:user__name/config', 'kaggle:titanic',
  'a-community:dataset', 'Community:x:1.0.0', '../pets', 'pets/a=1', 'pets;x', ''])
def test_code_of_others_is_not_downloaded(context, name, monkeypatch):
  monkeypatch.setattr(builders.import_tfds(), 'builder',
                      lambda *args, **keywords: pytest.fail('was made'))
  for attempt in (lambda: builders.described(name, context),
               lambda: tfds.Tfds(name).download(context)):
    with pytest.raises(UserError) as error:
      attempt()
    assert '\n' not in str(error.value)
    assert ('is not downloaded and run' if ':' in name else 'must be NAME') in str(
      error.value)


def test_threads_that_read_leave_stderr_as_it_is():
  before, inside = sys.stderr, []

  def work():
    with builders.quiet():
      inside.append(sys.stderr)

  thread = threading.Thread(target=work)
  with builders.quiet():
    quietened = sys.stderr
    thread.start()
    thread.join()
  assert inside == [quietened] and quietened is not before and sys.stderr is before
