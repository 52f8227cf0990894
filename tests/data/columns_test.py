"""Tests of bigmodels.data.columns by way of `Arrays`, with values written out."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import columns
from bigmodels.data.arrays import Arrays
from bigmodels.data.sources import DataContext

ROWS = np.arange(6.0, dtype=np.float32)[:, None]
NAN, INF = float('nan'), float('inf')
BOTH = [0, 1, 1, 0, 2, 2]


def opened(inputs=ROWS, labels=(0, 1, 0, 1, 0, 1), **fields):
  """What `Arrays` makes of both, and the lines it says."""
  lines = []
  source = Arrays(inputs=inputs, labels=labels, **fields)
  return source.open(DataContext(None, None, {}, lines.append)), lines


class Series:
  """What another library hands out, as far as `numpy.asarray` knows."""

  def __init__(self, values):
    self.values = np.array(values)

  def __len__(self):
    return len(self.values)

  def __array__(self, dtype=None, copy=None):
    return self.values


def read_only(values):
  array = np.array(values)
  array.flags.writeable = False
  return array


@pytest.mark.parametrize('labels', [
  BOTH, tuple(BOTH), np.array(BOTH, np.uint8), np.array(BOTH, np.int8),
  np.array(BOTH, np.uint64), np.array(BOTH, '>i8'), np.array(BOTH, '>u2'),
  np.repeat(BOTH, 2)[::2], np.array([BOTH, BOTH], order='F').T[:, 0], read_only(BOTH),
  jnp.array(BOTH), jnp.array(BOTH, jnp.int4), Series(BOTH), np.ma.array(BOTH),
  np.broadcast_to(np.array(BOTH)[:, None], (6, 2))[:, 1],
])
def test_integers_of_any_kind_are_classes(labels):
  data, lines = opened(labels=labels)
  found = data.load()['labels']
  assert found.dtype == np.int32 and found.tolist() == BOTH
  assert data.classes == ('0', '1', '2') and lines == []


@pytest.mark.parametrize('values, kept', [
  ([[1.5, -2]] * 6, np.float64), (np.full((6, 2), 1.5, np.float16), np.float16),
  (np.full((6, 2), 1.5, np.longdouble), np.float64),
  (np.full((6, 2), 1.5, '>f4'), np.float32), (np.full((6, 2), 1.5, '>f8'), np.float64),
  (jnp.full((6, 2), 1.5, jnp.bfloat16), np.float32),
  (jnp.full((6, 2), 1.5, jnp.float8_e4m3fn), np.float32),
  (np.full((6, 2), True), np.uint8), (np.full((6, 2), 65535, np.uint16), np.uint16),
  (np.full((6, 2), -(2**31), np.int64), np.int64),
  (np.full((6, 2), 2**32 - 1, np.uint64), np.uint64),
  (np.full((2, 6), 7, np.int32).T, np.int32), (Series([[1.5, 2]] * 6), np.float64),
  (read_only([[1.5, 2]] * 6), np.float64),
])
def test_inputs_keep_their_values(values, kept):
  found = opened(values)[0].load()['inputs']
  assert found.dtype == kept and found.dtype.isnative
  expected = np.asarray(getattr(values, 'values', values)).astype(np.float64)
  np.testing.assert_array_equal(found.astype(np.float64), expected)


def test_files_that_are_mapped_are_inputs(tmp_path):
  np.save(tmp_path / 'x.npy', np.full((6, 3), 2.5, np.float32))
  found = opened(np.load(tmp_path / 'x.npy', mmap_mode='r'))[0].load()['inputs']
  assert found.shape == (6, 3) and (found == 2.5).all()


@pytest.mark.parametrize('labels, classes, names, found, said', [
  ([False, True] * 3, None, ('False', 'True'), [0, 1] * 3, None),
  ([True, False] * 3, ('no', 'yes'), ('no', 'yes'), [1, 0] * 3, None),
  ([True] * 6, None, ('False', 'True'), [1] * 6,
   '1 class of 2 without an example: False; labels begin at 1'),
  ([0, 1, 5, 5, 1, 0], None, tuple('012345'), [0, 1, 5, 5, 1, 0],
   '3 classes of 6 without an example: 2, 3, 4$'),
  ([1, 2, 3, 3, 2, 1], None, tuple('0123'), [1, 2, 3, 3, 2, 1],
   'example: 0; labels begin at 1: labels - 1 counts them from 0'),
  ([5, 7, 5, 7, 5, 7], None, tuple('01234567'), [5, 7, 5, 7, 5, 7],
   '6 classes of 8 without an example: 0, 1, 2, 3, 4, 6$'),
  ([0] * 5 + [999], None, tuple(map(str, range(1000))), [0] * 5 + [999],
   '998 classes of 1,000 .*: 1, 2, 3, 4, 5, 6, 7, 8 and 990 more'),
  ([0, 1] * 3, ('cat', 'dog', 'newt'), ('cat', 'dog', 'newt'), [0, 1] * 3,
   '1 class of 3 without an example: newt'),
  ([0, 5000] * 3, tuple(map(str, range(5001))), tuple(map(str, range(5001))),
   [0, 5000] * 3, '4,999 classes of 5,001'),
  ([0] * 6, None, ('0',), [0] * 6, None),  # what builds a classifier refuses it
  ([[0, 9]] * 6, None, tuple('0123456789'), [[0, 9]] * 6, None),  # tokens
])
def test_which_classes_there_are_and_what_is_said(labels, classes, names, found, said):
  data, lines = opened(labels=labels, classes=classes)
  assert data.classes == names
  assert data.load()['labels'].tolist() == found
  assert len(lines) == (said is not None)
  assert said is None or re.search(said, lines[0]), lines


@pytest.mark.parametrize('labels, message', [
  ([2084071, 2085620] * 3, r'labels\[1\] is 2085620, which makes 2,085,621 classes of '
   r'2 different labels; .* np\.unique\(labels, return_inverse=True\)\[1\] counts'),
  ([0, 1, 2, 3, 4, 2**31 - 1], r'labels\[5\] is 2147483647, which makes 2,147,483,648'),
  (np.array([0, 1, 2, 3, 4, 2**64 - 1], np.uint64), r'labels\[5\] is 1844674407370955'),
  ([[0, 2**30]] * 6, r'labels\[0, 1\] is 1073741824'),
  ([0, 1, 0, 1000, 1, 0], r'labels\[3\] is 1000, which makes 1,001 classes of 3'),
  ([0, 1, -1, 0, 1, 1], r'labels\[2\] is -1; classes are counted from 0'),
  ([[0, 1], [0, -7]] * 3, r'labels\[1, 1\] is -7; classes are counted from 0'),
  (['a', 'b'] * 3, r"got <U1, such as 'a' at labels\[0\]: classes, labels = np.unique"),
  ([b'a', b'b'] * 3, r"got \|S1, such as b'a' at labels\[0\]"),
  (np.array([0, 1, None, 1, 0, 1], object), r'got object, such as None at labels\[2\]'),
  (np.array([0, 1, 'x', 1, 0, 1], object), r"got object, such as 'x' at labels\[2\]"),
  (np.array(BOTH, object), r'such as 0 at labels\[0\]: labels\.astype\(float\)'),
  (np.arange(6).astype('M8[D]'), r'got datetime64\[D\], such as 1970-01-01'),
  (np.arange(6).astype('m8[s]'), r'got timedelta64\[s\]'),
  (np.arange(6) * 1j, r'got complex128, such as 0j .* imaginary part would be lost'),
  (np.zeros(6, [('a', int), ('b', float)]), r'structured_to_unstructured'),
  (np.ma.array(BOTH, mask=[0, 0, 0, 1, 1, 0]), r'labels\[3\] is masked, one of 2;'),
  ([[0], [1, 2], [0], [1], [0], [1]], 'labels is not convertible to an array: set'),
  (np.zeros((6, 0), int), r'labels is empty, \(6, 0\)'),
  ([0, 1, 0, 1, 0, 1e39], r'labels\[5\] is 1e\+39, beyond float32.*scale labels'),
  (np.arange(6) * 1e300, r'labels\[1\] is 1e\+300, beyond float32'),
  (np.arange(6) * 1e-300, r'labels\[5\] is 5e-300, the largest: all are 0 in float32'),
])
def test_labels_that_are_refused(labels, message):
  with pytest.raises(UserError, match='Arrays: .*' + message):
    opened(labels=labels)


def test_labels_and_names_that_do_not_fit():
  with pytest.raises(UserError, match=r'labels\[1\] is 1; classes= has 1 names, for 0'):
    opened(classes=('cat',))
  with pytest.raises(UserError, match='classes= is given, but labels are float64'):
    opened(labels=[0.5] * 6, classes=('cat', 'dog'))
  for classes in ('ab', (), ('a', 'a'), (0, 1)):
    with pytest.raises(ValueError, match='classes: must be distinct names'):
      opened(classes=classes)


def hidden(value, at, dtype=float):
  """Zeros `[6, 2]` with a value somewhere."""
  array = np.zeros((6, 2), dtype)
  array[at] = value
  return array


@pytest.mark.parametrize('inputs, message', [
  (np.full((6, 1), 'a'), r"be real numbers; got <U1, such as 'a' at inputs\[0, 0\]"),
  (hidden(1j, (2, 1), complex), r'got complex128.* imaginary part would be lost'),
  (ROWS.astype(object), r'got object, such as 0\.0 at inputs\[0, 0\]: inputs\.astype'),
  (hidden(None, (3, 1), object), r'got object, such as None at inputs\[3, 1\]'),
  (hidden('x', (5, 0), object), r"got object, such as 'x' at inputs\[5, 0\]"),
  (np.zeros((6, 1), 'M8[ns]'), r'got datetime64\[ns\].*np\.timedelta64'),
  (np.zeros(6, [('a', float)]), r'structured_to_unstructured'),
  (hidden(1e39, (4, 1)), r'inputs\[4, 1\] is 1e\+39, beyond float32, whose largest'),
  (hidden(-1e300, (0, 1)), r'inputs\[0, 1\] is -1e\+300, beyond float32'),
  (hidden(2**31, (1, 0), np.int64), r'inputs\[1, 0\] is 2147483648, beyond int32'),
  (hidden(-(2**40), (5, 1), np.int64), r'inputs\[5, 1\] is -1099511627776, beyond'),
  (hidden(2**32, (2, 0), np.uint64), r'inputs\[2, 0\] is 4294967296, beyond uint32'),
  (np.ma.masked_equal(ROWS, 3), r'inputs\[3, 0\] is masked, one of 1;'),
  ([[1.0]] * 5 + [[1.0, 2.0]], 'inputs is not convertible to an array'),
  (np.zeros((6, 0)), r'inputs is empty, \(6, 0\)'),
  (dict.fromkeys(range(6)), r'got object, such as \{0: None'),
])
def test_inputs_that_are_refused(inputs, message):
  with pytest.raises(UserError, match='Arrays: .*' + message):
    opened(inputs)


@pytest.mark.parametrize('inputs, labels, message', [
  (np.zeros((3, 1)), [0, 1], 'differ in length: inputs 3, labels 2'),
  ([], [], 'inputs: must have at least one row, got 0'),
  (np.zeros((0, 4)), np.zeros(0), 'inputs: must have at least one row, got 0'),
  (np.float32(3), [0, 1], 'inputs: must be an array of rows, got float32'),
  (np.array(3.0), [0, 1], 'inputs: must be an array of rows, got ndarray'),
  ([[1.0]], 5, 'labels: must be an array of rows, got int'),
])
def test_arrays_that_have_no_rows_in_common(inputs, labels, message):
  with pytest.raises(ValueError, match=message):
    Arrays(inputs=inputs, labels=labels)


# A float32 near 2**30 is a multiple of 64, near 1e9 too: it is off by up to 32.
@pytest.mark.parametrize('inputs, said', [
  (ROWS.astype(np.float64), None),
  (hidden(1e30, (2, 0)), None),  # of a range as large
  (np.array([[1e9 + i, i] for i in range(6)]),
   r'inputs\[:, 0\] ranges from 1000000000\.0 to 1000000005\.0: float32 rounds it by '
   r'up to 5;'),
  (np.array([[1e9 + 64e3 * i, i] for i in range(6)]), None),
  (np.arange(6)[:, None] + 2**30,
   r'inputs\[5, 0\] is 1073741829: float32 cannot represent all integers beyond'),
  (np.arange(6)[:, None] + 2**24, r'is 16777221: float32 cannot represent all'),
  (np.arange(6)[:, None] + 2**24 - 5, None),
  (np.arange(6)[:, None] - 2**24, None),
  (np.arange(6, dtype=np.int32)[:, None] - 2**25, r'is -33554432: float32 cannot'),
  (np.full((6, 4, 4, 1), 65535, np.uint16), None),
  (np.full((6, 1), 1e9 + 1), None),  # never changes
  (hidden(NAN, (0, 0)), None),  # the split says that
])
def test_what_float32_rounds_is_printed(inputs, said):
  _, lines = opened(inputs)
  assert bool(lines) == (said is not None), lines
  assert said is None or re.search(said, lines[0]), lines


def test_targets_that_float32_rounds_are_printed_once_a_run():
  labels = 1.7e9 + np.arange(50)
  said = []
  for split in ('train', 'test'):
    _, lines = opened(np.zeros((50, 1)), labels)
    source = Arrays(inputs=np.zeros((50, 1)), labels=labels).split(split)
    source.open(DataContext(None, None, {}, said.append))
  assert said == lines and len(said) == 1
  assert re.search(r'labels ranges from 1700000000\.0 to .* rounds it by', said[0])


# --- what is not finite -----------------------------------------------------------


def holding(shape, *found):
  array = np.zeros(shape, np.float32)
  for place, value in found:
    array[place] = value
  return array


@pytest.mark.parametrize('values, rows, message', [
  (holding((3, 2)), [0, 1, 2], None),
  (holding((3, 2), ((1, 1), NAN)), [0, 1, 2], r'test: inputs\[1, 1\] is nan; fill'),
  (holding((3, 2), ((1, 1), INF)), [7, 9, 8], r'test: inputs\[9, 1\] is inf; fill'),
  (holding((3, 2), (0, NAN)), [4, 5, 6],
   r'inputs\[4, 0\] is nan; 2 values in 1 row are not finite: 4'),
  (holding((3, 2), ((0, 0), NAN), ((2, 1), -INF)), [4, 5, 6],
   r'inputs\[4, 0\] is nan; 2 values in 2 rows are not finite: 4, 6'),
  (holding((3, 2), (1, NAN)), [0, -1, 2], None),  # masked
  (holding((3, 2), ((1, 0), NAN), ((2, 1), -INF)), [0, -1, 2], r'\[2, 1\] is -inf;'),
  (holding((3,), (2, NAN)), [0, 1, 2], r'test: inputs\[2\] is nan;'),
  (holding((2, 4, 3, 2), ((1, 3, 0, 1), NAN)), [0, 1], r'inputs\[1, 3, 0, 1\] is nan'),
  (holding((20, 1), (slice(None), NAN)), list(range(20)),
   '20 values in 20 rows are not finite: 0, 1, 2, 3, 4, 5, 6, 7 and 12 more'),
  (np.full((9, 2), 3e38, np.float32), range(9), None),  # though the sum is not finite
  (np.full((9, 2), 6e4, np.float16), range(9), None),
  (holding((3, 2), ((1, 1), NAN)).astype(np.float16), [0, 1, 2], r'\[1, 1\] is nan'),
  (np.full((3, 2), 255, np.uint8), [0, 1, 2], None),
])
def test_what_is_not_finite_is_named_by_row(values, rows, message):
  rows = np.array(rows)
  if message is None:
    columns.check_finite('test', {'inputs': values}, rows, None)
    return
  with pytest.raises(UserError, match=message):
    columns.check_finite('test', {'inputs': values}, rows, None)


def test_what_is_not_finite_is_described():
  with pytest.raises(UserError, match=r'labels\[1\] is nan \(line 12 of x\.csv\)'):
    columns.check_finite('a', {'labels': holding((2,), (1, NAN))}, np.arange(2),
                         lambda row: f'line {row + 11} of x.csv')


def test_any_column_that_is_not_finite_is_named_by_row():
  found = {'user': np.arange(3), 'rating': holding((3,), (2, NAN))}
  with pytest.raises(UserError, match=r'^train: rating\[8\] is nan; fill'):
    columns.check_finite('train', found, np.array([4, 6, 8]), None)


def test_rows_of_a_split_are_described_by_those_of_the_arrays():
  labels = np.arange(10.0)
  test = Arrays(inputs=np.arange(10.0)[:, None], labels=labels).split('test').open(
    DataContext(None, None, {}))
  first = int(test.load()['labels'][0])
  assert test.describe(0) == f'row {first} of the arrays'
