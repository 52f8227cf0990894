"""Tests of bigmodels.data.sources and bigmodels.data.scikit."""

import numpy as np
import pytest
from sklearn import datasets

from bigmodels.core.errors import UserError
from bigmodels.data.scikit import Digits, ScikitTable
from bigmodels.data.sources import Arrays, DataContext, Subset, held_out, in_memory

OPENING = DataContext(None, None, {})


@pytest.mark.parametrize('splits', [
  {'train': 0.8, 'test': 0.2},
  {'train': 0.7, 'validation': 0.1, 'test': 0.2},
  {name: 1 / 7 for name in 'abcdefg'},
])
@pytest.mark.parametrize('length', [10, 97, 1000])
def test_held_out_splits_are_disjoint_and_cover_all(length, splits):
  parts = {name: held_out(length, name, splits) for name in splits}
  np.testing.assert_array_equal(
    np.sort(np.concatenate(list(parts.values()))), np.arange(length))
  for name, fraction in splits.items():
    assert len(parts[name]) == pytest.approx(fraction * length, abs=1)


def test_held_out_rows_are_random_but_fixed():
  splits = {'train': 0.5, 'test': 0.5}
  rows = held_out(1000, 'test', splits)
  np.random.seed(1)
  np.testing.assert_array_equal(rows, held_out(1000, 'test', splits))
  assert 200 < np.sum(rows < 500) < 300  # 3 deviations of 250
  assert 200 < np.sum(rows % 2) < 300


def test_held_out_rows_are_known():
  """They must be the same on every machine and for every release."""
  order = np.argsort(np.random.Philox(key=20).random_raw(20))
  np.testing.assert_array_equal(
    held_out(20, 'test', {'train': 0.8, 'test': 0.2}), np.sort(order[16:]))


def test_held_out_refuses():
  with pytest.raises(UserError, match="no split 'tset'; did you mean 'test'"):
    held_out(10, 'tset', {'train': 0.8, 'test': 0.2})
  with pytest.raises(UserError, match=r'add up to 0\.9, not 1'):
    held_out(10, 'test', {'train': 0.8, 'test': 0.1})
  with pytest.raises(UserError, match="'test' of 2 rows is empty"):
    held_out(2, 'test', {'train': 0.9, 'test': 0.1})


def arrays(n=20, dtype=np.int64):
  rows = np.arange(n)
  return Arrays(inputs=rows[:, None] + 0.5, labels=(rows % 3).astype(dtype))


def test_arrays_are_split_row_by_row():
  source = arrays()
  opened = {name: source.split(name).open(OPENING) for name in ('train', 'test')}
  assert {name: d.length for name, d in opened.items()} == {'train': 16, 'test': 4}
  seen = []
  for data in opened.values():
    columns = data.load()
    rows = columns['inputs'][:, 0] - 0.5
    np.testing.assert_array_equal(columns['labels'], rows % 3)
    seen.extend(rows)
  assert sorted(seen) == list(range(20))


def test_arrays_without_a_split_are_whole():
  data = arrays().open(OPENING)
  np.testing.assert_array_equal(data.load()['inputs'], arrays().inputs)


@pytest.mark.parametrize('dtype, classes, kept', [
  (np.int64, ('0', '1', '2'), np.int32), (np.uint8, ('0', '1', '2'), np.int32),
  (np.float64, None, np.float32)])
def test_integers_are_classes_and_floats_are_targets(dtype, classes, kept):
  data = arrays(dtype=dtype).open(OPENING)
  assert data.classes == classes
  assert data.load()['labels'].dtype == kept


def test_classes_do_not_depend_on_the_split():
  labels = np.zeros(10, int)
  labels[held_out(10, 'test', {'train': 0.8, 'test': 0.2})[0]] = 4
  source = Arrays(inputs=np.zeros((10, 1)), labels=labels)
  for name in ('train', 'test'):
    assert len(source.split(name).open(OPENING).classes) == 5


def test_arrays_refuse():
  with pytest.raises(ValueError, match='differ in length: 3 and 2'):
    Arrays(inputs=np.zeros(3), labels=np.zeros(2))
  with pytest.raises(UserError, match=r'labels\[3\] is -2; classes are counted from 0'):
    Arrays(inputs=np.zeros(5), labels=np.array([0, 1, 2, -2, -1])).open(OPENING)
  with pytest.raises(UserError, match="no split 'dev'"):
    arrays().split('dev').open(OPENING)


def test_read_gives_the_rows_of_load():
  data = arrays().open(OPENING)
  rows = np.array([7, 0, 7, 19])
  for name, column in data.read(rows).items():
    np.testing.assert_array_equal(column, data.load()[name][rows])
  assert data.nbytes == 20 * (8 + 4)


def test_identity_changes_with_values_rows_and_names():
  base = {'inputs': np.arange(6.0).reshape(3, 2), 'labels': np.arange(3)}
  changed = base['inputs'].copy()
  changed[2, 1] = np.nextafter(5.0, 6.0)
  others = [base, base | {'inputs': changed}, base | {'labels': np.array([0, 2, 1])},
            {k: v[:2] for k, v in base.items()},
            {'inputs': base['inputs'], 'targets': base['labels']}]
  assert len({in_memory(columns, None).identity for columns in others}) == len(others)
  same = {k: np.asfortranarray(base[k].copy()) for k in ('labels', 'inputs')}
  assert in_memory(same, None).identity == in_memory(base, None).identity


def test_what_is_kept_is_fitted_once():
  context = DataContext(None, None, {'old': 1})
  assert context.keep('old', lambda: 2) == 1
  assert [context.keep('new', lambda v=v: v) for v in (3, 4)] == [3, 3]
  assert context.kept == {'old': 1, 'new': 3}


def test_digits_are_all_there_once():
  opened = [Digits().split(name).open(OPENING) for name in ('train', 'test')]
  assert [data.length for data in opened] == [1438, 359]
  columns = [data.load() for data in opened]
  for column in columns:
    assert column['inputs'].shape[1:] == (8, 8, 1)
    assert column['inputs'].dtype == np.uint8 and column['labels'].dtype == np.int32
  raw = datasets.load_digits()
  rows = {raw.data[i].astype(np.uint8).tobytes() + bytes([raw.target[i]])
          for i in range(1797)}
  ours = [image.tobytes() + bytes([label]) for c in columns
          for image, label in zip(c['inputs'], c['labels'], strict=True)]
  assert len(ours) == 1797 and set(ours) == rows
  assert opened[0].classes == tuple('0123456789')
  assert opened[0].identity != opened[1].identity


def test_digits_refuse_another_split():
  with pytest.raises(UserError, match='no split'):
    Digits().split('validation').open(OPENING)


@pytest.mark.parametrize('name, length, width, classes', [
  ('diabetes', 442, 10, None), ('breast_cancer', 569, 30, 2), ('iris', 150, 4, 3),
  ('wine', 178, 13, 3)])
def test_scikit_tables(name, length, width, classes):
  parts = [ScikitTable(name).split(s).open(OPENING) for s in ('train', 'test')]
  columns = [part.load() for part in parts]
  inputs = np.concatenate([c['inputs'] for c in columns])
  labels = np.concatenate([c['labels'] for c in columns])
  assert inputs.shape == (length, width) and inputs.dtype == np.float32
  assert labels.dtype == (np.int32 if classes else np.float32)
  assert (parts[0].classes and len(parts[0].classes)) == classes
  raw = getattr(datasets, f'load_{name}')()
  rows = np.concatenate([held_out(length, s, {'train': 0.8, 'test': 0.2})
                         for s in ('train', 'test')])
  np.testing.assert_array_equal(inputs, raw.data[rows].astype(np.float32))
  np.testing.assert_array_equal(labels, raw.target[rows].astype(labels.dtype))


def test_a_subset_has_some_of_some_classes():
  whole = arrays(60).split('train')  # classes '0', '1', '2' in turn
  opened = Subset(whole, classes=('2', '0'), each=5).open(OPENING)
  columns = opened.load()
  assert opened.classes == ('2', '0') and opened.length == 10
  rows = (columns['inputs'][:, 0] - 0.5).astype(int)  # inputs are rows and a half
  np.testing.assert_array_equal(columns['labels'], (rows % 3 == 0).astype(np.int32))
  assert np.bincount(columns['labels']).tolist() == [5, 5]
  assert set(rows + 0.5) <= set(whole.open(OPENING).load()['inputs'][:, 0])
  for name, array in opened.read(np.array([3, 1])).items():
    np.testing.assert_array_equal(array, columns[name][[3, 1]])
  more = Subset(whole, classes=('2', '0'), each=6).open(OPENING).load()
  assert set(rows + 0.5) < set(more['inputs'][:, 0])
  every = Subset(whole, classes=('2', '0')).open(OPENING)
  assert every.length == np.sum(whole.open(OPENING).load()['labels'] != 1)
  assert every.identity != opened.identity


def test_examples_of_a_subset_are_told_by_their_rows_in_the_whole():
  class Told:
    def open(self, context):
      return arrays(6).open(context)._replace(describe=lambda row: f'number {row}')

  opened = Subset(Told(), classes=('1',)).open(OPENING)
  assert [opened.describe(row) for row in range(2)] == ['number 1', 'number 4']


def test_subsets_that_cannot_be():
  with pytest.raises(ValueError, match='each: wants a whole number, at least 1, got 0'):
    Subset(arrays(), each=0)
  for classes in (('1', '1'), (), '10', (1, 2)):
    with pytest.raises(ValueError, match='classes: wants names, each of them once'):
      Subset(arrays(), classes=classes)
  with pytest.raises(UserError, match="there is no class '3'"):
    Subset(arrays(), classes=('1', '3')).open(OPENING)
  with pytest.raises(UserError, match='wants data with classes'):
    Subset(arrays(dtype=np.float32)).open(OPENING)
  lacking = Arrays(np.ones((3, 1)), np.array([0, 2, 2]))
  with pytest.raises(UserError, match="no example is of the class '1'"):
    Subset(lacking).open(OPENING)


def test_corrupt_examples_are_of_no_class_in_a_subset():
  class Damaged:
    def open(self, context):
      found = arrays(6).open(context)
      corrupt = np.arange(6) == 3  # its label reads 0
      return found._replace(load=lambda: {**found.load(), 'corrupt': corrupt})

  lines = []
  context = DataContext(None, None, {}, lines.append)
  assert Subset(Damaged(), classes=('0',)).open(context).length == 1
  assert lines == ['Subset: 1 of 6 examples are corrupt, and left out: rows 3']


def test_labels_that_are_no_class():
  class Wrong:
    def open(self, context):
      return arrays(6).open(context)._replace(classes=('0', '1'))

  with pytest.raises(UserError, match='Subset: the label of row 2 is 2, wants 0 to 1'):
    Subset(Wrong()).open(OPENING)
  with pytest.raises(UserError, match=r'labels must be integers.* got <U3'):
    Arrays(np.ones((2, 1)), np.array(['cat', 'dog'])).open(OPENING)


def test_the_numbers_of_groups_are_only_names():
  """Hashes of text differ from process to process; the splits must not."""
  chance = np.random.default_rng(0)
  groups, names = chance.integers(0, 300, 1000), chance.permutation(300)
  splits = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
  for name in splits:
    rows = held_out(1000, name, splits, groups)
    np.testing.assert_array_equal(rows, held_out(1000, name, splits, names[groups]))
