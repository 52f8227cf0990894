"""Tests of bigmodels.data.arrays; see columns_test for what a column may hold."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import origins
from bigmodels.data.arrays import Arrays
from bigmodels.data.sources import DataContext, held_out

OPENING = DataContext(None, None, {})


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
  with pytest.raises(ValueError, match='columns differ in length: inputs 3, labels 2'):
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


# --- any columns ------------------------------------------------------------------


RATINGS = {'user': np.arange(20) // 4, 'item': np.arange(20) % 4,
           'rating': np.arange(20) / 2}


def test_arrays_without_labels():
  data = Arrays(inputs=np.arange(20.0)[:, None]).split('test').open(OPENING)
  assert data.classes is None and data.length == 4
  assert {*data.load()} == {'inputs'} == {*data.read(np.arange(2))}
  labels = Arrays(labels=np.arange(20) % 2).open(OPENING)
  assert {*labels.load()} == {'labels'} and labels.classes == ('0', '1')


def test_columns_of_any_name_are_split_together():
  source = Arrays(columns=RATINGS)
  seen = []
  for name, length in (('train', 16), ('test', 4)):
    data = source.split(name).open(OPENING)
    columns = data.load()
    assert (data.length, data.classes, [*columns]) == (
      length, None, ['user', 'item', 'rating'])
    rows = 4 * columns['user'] + columns['item']
    np.testing.assert_array_equal(columns['rating'], rows / 2)
    assert data.describe(1) == f'row {rows[1]} of the arrays'
    seen.extend(rows)
  assert sorted(seen) == list(range(20))


def test_columns_beside_inputs_and_labels():
  source = Arrays(inputs=np.arange(6.0), labels=[0, 1] * 3,
                  columns={'weights': np.ones((6, 2), np.float32)})
  columns = source.open(OPENING).load()
  assert [*columns] == ['inputs', 'labels', 'weights']
  assert columns['weights'].shape == (6, 2)
  named = Arrays(columns={'labels': [True, False], 'query': [[1, 2], [3, 4]]})
  data = named.open(OPENING)
  assert data.classes == ('False', 'True')
  assert data.load()['labels'].dtype == np.int32


@pytest.mark.parametrize('given, message', [
  ({}, 'a dataset needs at least one column'),
  ({'columns': {'user': np.arange(3), 'item': np.arange(4)}},
   'columns differ in length: user 3, item 4'),
  ({'inputs': np.arange(3), 'columns': {'item': np.arange(4)}},
   'columns differ in length: inputs 3, item 4'),
  ({'columns': {'user': np.arange(3), 'item': 4}},
   'item: must be an array of rows, got int'),
  ({'columns': {'user': []}}, 'user: must have at least one row, got 0'),
  ({'inputs': np.arange(3), 'columns': {'inputs': np.arange(3)}},
   "columns: 'inputs' is given twice, as inputs= too"),
  ({'columns': {'mask': np.arange(3)}}, "columns: 'mask' is reserved, as are corr"),
  ({'inputs': np.arange(3), 'classes': ('cat', 'dog')},
   'classes: names the classes of labels, which are not given'),
])
def test_columns_that_cannot_be(given, message):
  with pytest.raises(ValueError, match=message):
    Arrays(**given)


@pytest.mark.parametrize('column, message', [
  (['a', 'b'], r"user must be real numbers; got <U1, such as 'a' at user\[0\]"),
  ([1, 2**40], r'user\[1\] is 1099511627776, beyond int32; .*, user\.astype\(float\)'),
  ([1, 1e300], r'user\[1\] is 1e\+300, beyond float32'),
  (np.ma.array([1, 2], mask=[0, 1]), r'user\[1\] is masked, one of 1'),
])
def test_columns_that_are_refused_by_name(column, message):
  with pytest.raises(UserError, match=f'^Arrays: {message}'):
    Arrays(inputs=[[1.0], [2.0]], columns={'user': column}).open(OPENING)


def test_splits_of_columns_share_rows_only_where_all_columns_do():
  def origin(rows, **columns):
    columns = {name: x[rows] for name, x in {**RATINGS, **columns}.items()}
    return Arrays(columns=columns).open(OPENING).origin

  whole = origin(slice(None))
  assert origins.shared(whole, origin(slice(12)))[1] == 12
  assert origins.shared(origin(slice(12)), origin(slice(8, None)))[1] == 4
  assert origins.shared(origin(slice(12)), origin(slice(12, None)))[1] == 0
  # The same users, and other items.
  assert origins.shared(whole, origin(slice(None), item=np.arange(20)))[1] == 0
  swapped = Arrays(columns={name: RATINGS[name] for name in ('rating', 'item', 'user')})
  assert origins.shared(whole, swapped.open(OPENING).origin)[1] == 20
