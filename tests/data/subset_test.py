"""Tests of bigmodels.data.subset."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.arrays import Arrays
from bigmodels.data.sources import DataContext
from bigmodels.data.subset import Subset

OPENING = DataContext(None, None, {})


def arrays(n=20, dtype=np.int64):
  rows = np.arange(n)
  return Arrays(inputs=rows[:, None] + 0.5, labels=(rows % 3).astype(dtype))


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


def test_examples_of_a_subset_are_described_by_the_whole():
  class Described:
    def open(self, context):
      return arrays(6).open(context)._replace(describe=lambda row: f'number {row}')

  opened = Subset(Described(), classes=('1',)).open(OPENING)
  assert [opened.describe(row) for row in range(2)] == ['number 1', 'number 4']


def test_subsets_that_cannot_be():
  with pytest.raises(ValueError, match='each: must be an integer >= 1, got 0'):
    Subset(arrays(), each=0)
  for classes in (('1', '1'), (), '10', (1, 2)):
    with pytest.raises(ValueError, match='classes: must be distinct names'):
      Subset(arrays(), classes=classes)
  with pytest.raises(UserError, match="there is no class '3'"):
    Subset(arrays(), classes=('1', '3')).open(OPENING)
  with pytest.raises(UserError, match='needs data with classes'):
    Subset(arrays(dtype=np.float32)).open(OPENING)
  lacking = Arrays(np.ones((3, 1)), np.array([0, 2, 2]))
  with pytest.raises(UserError, match="the class '1' has no example"):
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
  assert lines == ['Subset: 1 of 6 examples are corrupt and skipped: rows 3']


def test_labels_that_are_no_class():
  class Wrong:
    def open(self, context):
      return arrays(6).open(context)._replace(classes=('0', '1'))

  with pytest.raises(UserError, match='the label of row 2 is 2, must be 0 to 1'):
    Subset(Wrong()).open(OPENING)
