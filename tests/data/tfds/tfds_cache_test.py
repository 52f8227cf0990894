"""Tests of bigmodels.data.tfds.tfds_cache: what is cached of which data."""

import dataclasses
import os
import pathlib
import shutil
import socket

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.cached import array_cache
from bigmodels.data.subset import Subset
from bigmodels.data.tfds import builders, tfds, tfds_cache, tfds_examples
from tests.data.tfds.prepared import (
  GOOD,
  flat,
  forget,
  fresh_context,
  of_any_size,
  pets,
  record,
  write,
)


@pytest.fixture
def context(tmp_path):
  return fresh_context(tmp_path)


@pytest.mark.parametrize('digested', [64 << 20, 400])
def test_identity_is_of_the_content(context, tmp_path, monkeypatch, digested):
  monkeypatch.setattr(tfds_cache, '_DIGESTED', digested)
  before = pets(context, GOOD, shards=2).identity
  assert before.startswith('pets/1.0.0 train ')
  moved = shutil.copytree(context.data_dir, tmp_path / 'moved')  # with other times
  files = sorted(moved.glob('pets/*/*train*'))
  for path in files:
    os.utime(path, (1, 1))

  def found(**keywords):
    builders.from_files.cache_clear()
    there = dataclasses.replace(context, data_dir=str(moved))
    return tfds.Tfds('pets', **keywords).open(there).identity

  assert found() == before
  assert found(selected='train[:4]') != before
  assert found(inputs='label', labels='image') != before
  content = bytearray(files[1].read_bytes())
  content[-1] ^= 0xff
  files[1].write_bytes(content)
  assert found() != before


def test_a_file_that_cannot_be_read_is_named(context):
  root = write(pathlib.Path(context.data_dir), {'train': GOOD})
  path, = root.glob('pets/*/*train*')
  path.unlink()
  path.mkdir()
  with pytest.raises(UserError, match=r"--data_dir: pets 'train' cannot be read: .*"
                     r"Is a directory: .*pets-train\.array_record-00000-of-00001"):
    tfds.Tfds('pets').open(context)


def test_a_missing_file_is_named(context):
  root = write(pathlib.Path(context.data_dir), {'train': GOOD}, shards=2)
  path = sorted(root.glob('pets/*/*train*'))[1]
  path.unlink()
  with pytest.raises(UserError, match=r"--data_dir: pets 'train' cannot be read: .*No "
                     r'such file .*pets-train\.array_record-00001-of-00002'):
    tfds.Tfds('pets').open(context)


def test_labels_that_cannot_be_kept(context, monkeypatch):
  source = of_any_size(context)

  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(array_cache.os, 'rename', full)
  with pytest.raises(UserError, match=r'--cache_dir: cannot write .* No space left'):
    Subset(source).open(context)
  assert not list((context.cache_dir / 'decoded').iterdir())


def prepare_again(context, records, **keywords):
  """Other data in the same place, of the same sizes and times of modification."""
  root = pathlib.Path(context.data_dir)
  before = {path.relative_to(root): path.stat() for path in root.rglob('*')}
  shutil.rmtree(root)
  write(root, {'train': records}, **keywords)
  for path, found in before.items():
    assert path.suffix == '.json' or (root / path).stat().st_size == found.st_size
    os.utime(root / path, ns=(found.st_atime_ns, found.st_mtime_ns))
  forget()


@pytest.mark.parametrize('digested', [64 << 20, 40])
def test_other_data_of_the_same_sizes_and_times_is_decoded(
    context, monkeypatch, digested):
  monkeypatch.setattr(tfds_cache, '_DIGESTED', digested)
  said = []
  context.say = said.append
  before = pets(context, GOOD)
  before.load()
  records = [record(flat(row), (row + 1) % 3, f'p{row}.jpg') for row in range(8)]
  prepare_again(context, records)
  after = tfds.Tfds('pets').open(context)
  np.testing.assert_array_equal(after.load()['labels'], (np.arange(8) + 1) % 3)
  assert len(list((context.cache_dir / 'decoded').iterdir())) == 1
  assert len(said) == 2 and said[1].startswith(
    'decoding 8 examples of pets train again, since ')
  assert 'the data has changed since it was made' in said[1]
  if digested > 1000:
    assert after.identity != before.identity


def test_another_number_of_examples_of_the_same_files(context):
  pets(context, GOOD).load()
  path, = pathlib.Path(context.data_dir).glob('pets/*/dataset_info.json')
  path.write_text(path.read_text().replace('"8"', '"6"'))
  forget()
  said = []
  context.say = said.append
  assert len(tfds.Tfds('pets').open(context).load()['labels']) == 6
  assert 'it was made by other rules' in said[0]


def test_labels_that_are_kept_are_compared(context):
  """Labels moved by one in the cache would be another subset."""
  source, said = of_any_size(context), []
  context.say = said.append
  older = pathlib.Path(context.cache_dir / 'decoded')
  before = source.open(context).labels()
  path, = older.glob('*-labels/labels.npy')
  old_one = path.parent.with_name(f'{path.parent.name}.npy')
  np.save(path, np.roll(before, 1))
  np.save(old_one, np.roll(before, 1))
  np.testing.assert_array_equal(source.open(context).labels(), np.arange(8) % 3)
  assert not old_one.exists() and len(said) == 2
  assert said[1].startswith('reading 8 labels of pets train again, since ')


def test_what_killed_runs_left_is_swept_at_the_start(context):
  pets(context, GOOD).load()
  left = context.cache_dir / 'decoded' / '.pets-1.0.0-train-abcdefgh'
  left.mkdir()
  (left / 'lock').write_text(socket.gethostname())
  (left / 'inputs.npy').write_bytes(bytes(92_000_000 // 100))
  said = []
  tfds.Tfds('pets').open(dataclasses.replace(context, say=said.append))
  assert not left.exists() and said == [
    f'removed 1 folder that killed runs left in {left.parent}, 0.9 MB']


@pytest.mark.parametrize('error', [OSError(5, 'Input/output error')])
def test_data_that_cannot_be_read_is_not_blamed_on_the_cache(
    context, monkeypatch, error):
  data = pets(context, GOOD)
  found = tfds_examples.opened(tfds.Tfds('pets'), context.data_dir, 'train')

  def fail(self, keys):
    raise error

  monkeypatch.setattr(type(found), '__getitems__', fail)
  with pytest.raises(UserError, match=r"--data_dir: pets 'train' cannot be read: .*"
                     'Input/output error'):
    data.load()
  assert not list((context.cache_dir / 'decoded').iterdir())
