"""Tests of bigmodels.data.array_files."""

import dataclasses
import os

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import array_files, origins
from bigmodels.data.array_files import ArrayFiles
from bigmodels.data.arrays import Arrays
from bigmodels.data.sources import DataContext

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.normal(size=(100, 3)).astype(np.float32), np.arange(100) % 4


@pytest.fixture
def context(tmp_path):
  lines = []
  return DataContext(None, tmp_path, {}, lines.append)


@pytest.fixture
def saved(tmp_path):
  np.save(tmp_path / 'x.npy', INPUTS)
  np.save(tmp_path / 'y.npy', LABELS)
  np.savez(tmp_path / 'both.npz', x_train=INPUTS, y_train=LABELS)
  return tmp_path


@pytest.mark.parametrize('large', [False, True])
@pytest.mark.parametrize('names', [('x.npy', 'y.npy'),
                                   ('both.npz:x_train', 'both.npz:y_train')])
def test_files_are_read_as_their_arrays(saved, context, monkeypatch, names, large):
  if large and 'npz' in names[0]:
    names = 'x.npy', 'both.npz:y_train'
  monkeypatch.setattr(array_files, '_LARGE', 10 if large else 2**31)
  source = ArrayFiles(*(str(saved / name) for name in names))
  for split in ('train', 'test', None):
    ours = dataclasses.replace(source, selected=split).open(context)
    theirs = Arrays(INPUTS, LABELS, selected=split).open(context)
    assert ours.classes == theirs.classes and ours.length == theirs.length
    rows = np.array([3, 0, 3, ours.length - 1])
    for name, column in theirs.load().items():
      np.testing.assert_array_equal(ours.load()[name], column)
      np.testing.assert_array_equal(ours.read(rows)[name], column[rows])
      assert ours.load()[name].dtype == column.dtype
  assert any('are mapped: 100 rows identify them' in x for x in context.kept.get(
    'notes', ())) == large


@pytest.mark.parametrize('large', [False, True])
def test_a_changed_file_has_another_identity_and_splits_are_apart(
  saved, context, monkeypatch, large):
  monkeypatch.setattr(array_files, '_LARGE', 10 if large else 2**31)
  source = ArrayFiles(str(saved / 'x.npy'), str(saved / 'y.npy'))
  train, test = (source.split(name).open(context) for name in ('train', 'test'))
  assert origins.shared(train.origin, test.origin) == ('', 0)
  assert origins.shared(train.origin, source.open(context).origin)[1] == 80
  np.save(saved / 'x.npy', INPUTS + 1)
  assert source.split('train').open(context).identity != train.identity


def test_paths_are_absolute(saved, monkeypatch):
  monkeypatch.chdir(saved)
  source = ArrayFiles('x.npy', 'both.npz:y_train')
  assert source.inputs == str(saved.resolve() / 'x.npy')
  assert source.labels == os.path.join(saved.resolve(), 'both.npz:y_train')


@pytest.mark.parametrize('arguments, problem', [
  (('z.npy', 'y.npy'), r"inputs: there is no .*z\.npy; did you mean"),
  (('both.npz',), 'has several arrays: set .*both.npz:NAME; choose from x_train, y_'),
  (('both.npz:x_tran',), "did you mean 'x_train'"),
  (('text.npy',), 'is not a NumPy array'),
  (('cut.npy',), 'is not a NumPy array'), (('objects.npy',), 'it has Python objects'),
  (('x.npy', 'short.npy'), 'columns differ in length: inputs 100, labels 5'),
  (('nan.npy', 'y.npy'), 'Arrays: inputs'), (('words.npy',), 'must be real numbers')])
def test_files_that_are_refused(saved, context, arguments, problem):
  (saved / 'text.npy').write_text('a,b')
  (saved / 'cut.npy').write_bytes((saved / 'x.npy').read_bytes()[:300])
  np.save(saved / 'objects.npy', np.array([{}, 'a'], object))
  np.save(saved / 'short.npy', np.arange(5))
  np.save(saved / 'nan.npy', np.full((100, 2), 1e300))
  np.save(saved / 'words.npy', np.array(['a', 'b']))
  with pytest.raises(UserError, match=problem) as error:
    ArrayFiles(*(str(saved / name) for name in arguments)).open(context)
  assert '\n' not in str(error.value)


def test_values_of_mapped_files_are_checked_when_read(tmp_path, context, monkeypatch):
  monkeypatch.setattr(array_files, '_LARGE', 10)
  monkeypatch.setattr(array_files, '_SAMPLE', 2)
  values = np.ones((100, 2))
  values[50] = 1e300
  np.save(tmp_path / 'x.npy', values)
  dataset = ArrayFiles(str(tmp_path / 'x.npy')).open(context)
  dataset.read(np.arange(10))
  with pytest.raises(UserError, match='beyond float32'):
    dataset.read(np.arange(45, 55))
