"""Tests of bigmodels.data.folds against scikit-learn."""

import numpy as np
import pytest
from sklearn import model_selection

from bigmodels.core.errors import UserError
from bigmodels.data import folds

CLASSES = np.random.default_rng(0).integers(0, 3, 60)
GROUPS = np.arange(60) // 4


def rows_of(length=60, columns=None, **fields):
  columns = columns or {}

  def column(name):
    if name not in columns:
      raise folds.no_column(name, [*columns])
    return columns[name]

  return folds.Rows(length, column, **fields)


def assert_equal(found, expected):
  for (train, held), (theirs, other) in zip(found.parts, expected, strict=True):
    np.testing.assert_array_equal(train, theirs)
    np.testing.assert_array_equal(held, other)


@pytest.mark.parametrize('fields, theirs, how', [
  ({'classes': CLASSES}, model_selection.StratifiedKFold, 'stratified by class'),
  ({}, model_selection.KFold, 'at random'),
  ({'classes': CLASSES, 'groups': GROUPS}, model_selection.StratifiedGroupKFold,
   'stratified by class, in 15 groups that stay together'),
  ({'groups': GROUPS}, model_selection.GroupKFold,
   'at random, in 15 groups that stay together')])
def test_shuffled_folds_are_those_of_scikit_learn(fields, theirs, how):
  found = folds.shuffled(rows_of(**fields), 5, seed=3)
  expected = theirs(5, shuffle=True, random_state=3).split(
    np.zeros(60), fields.get('classes'), fields.get('groups'))
  assert_equal(found, expected)
  assert found.how == how
  np.testing.assert_array_equal(
    np.sort(np.concatenate([held for _, held in found.parts])), np.arange(60))


def test_a_column_keeps_examples_together_besides_the_groups_of_the_data():
  # Groups of the data are pairs; the column chains each pair to the next one.
  pairs, names = np.arange(12) // 2, np.array([*'abbccdeffgge'], object)
  found = folds.shuffled(rows_of(12, {'name': names}, groups=pairs), 2, group='name')
  parts = [{*held.tolist()} for _, held in found.parts]
  assert sorted(map(sorted, parts)) == [[*range(6)], [*range(6, 12)]]


def test_chronological_folds_are_those_of_scikit_learn():
  times = np.random.default_rng(1).permutation(50)
  order = np.argsort(times)
  found = folds.chronological(rows_of(50, {'when': times.astype(str).astype(object)}),
                              4, time='when')
  assert_equal(found, [
    (np.sort(order[train]), np.sort(order[held]))
    for train, held in model_selection.TimeSeriesSplit(4).split(order)])
  in_order = folds.chronological(rows_of(50), 4)
  assert_equal(in_order, model_selection.TimeSeriesSplit(4).split(np.zeros(50)))
  assert in_order.how == 'chronological, in the order of the examples'


def test_the_time_at_which_a_held_out_part_begins_is_not_trained_on():
  times = np.array([0, 1, 1, 1, 2, 3])
  found = folds.chronological(rows_of(6, times=times), 2)
  # The parts of TimeSeriesSplit are 0 1 | 2 3 and 0 1 2 3 | 4 5.
  assert [(train.tolist(), held.tolist()) for train, held in found.parts] == [
    ([0], [2, 3]), ([0, 1, 2, 3], [4, 5])]


def test_a_fold_is_one_of_them():
  fold = folds.Fold(1, 5, folds.shuffled)
  train, held, line = fold.cut(rows_of(classes=CLASSES))
  expected = folds.shuffled(rows_of(classes=CLASSES), 5).parts[1]
  np.testing.assert_array_equal(train, expected[0])
  np.testing.assert_array_equal(held, expected[1])
  assert line == ('fold 1 of 5 holds out 12 of 60 training examples, stratified by '
                  'class')


def test_a_class_that_is_not_known_may_be_rarer_than_the_folds():
  classes = np.r_[-1, np.arange(20) % 2]
  assert len(folds.shuffled(rows_of(21, classes=classes), 5).parts) == 5


@pytest.mark.parametrize('rows, count, settings, problem', [
  (rows_of(3), 5, {}, 'folds: must be <= 3, the number of training examples, got 5'),
  (rows_of(20, classes=np.arange(20) // 17), 5, {},
   'must be <= 3, the number of training examples of class 1, got 5; with --config.'),
  (rows_of(20, groups=np.arange(20) // 5), 5, {},
   'must be <= 4, the number of groups of examples that stay together, got 5'),
  (rows_of(), 5, {'seed': -1}, r'folding.seed: must be >= 0 and < 2\*\*32, got -1'),
  (rows_of(), 5, {'stratified': True}, 'folding.stratified: the data has no classes'),
  (rows_of(times=np.arange(60)), 5, {}, 'are by time, .*use bigmodels.data.folds.chro'),
  (rows_of(60, {'patient': GROUPS}), 5, {'group': 'patent'},
   "there is no column 'patent'.*did you mean 'patient'")])
def test_shuffled_folds_that_cannot_be_made(rows, count, settings, problem):
  with pytest.raises(UserError, match=problem):
    folds.shuffled(rows, count, **settings)


def test_a_class_may_be_absent_from_folds_that_are_not_stratified():
  rows = rows_of(20, classes=np.arange(20) // 17)
  assert_equal(folds.shuffled(rows, 5, stratified=False), model_selection.KFold(
    5, shuffle=True, random_state=0).split(np.zeros(20)))


@pytest.mark.parametrize('rows, settings, problem', [
  (rows_of(4), {}, 'folds: must be < 4, the number of training examples, got 4'),
  (rows_of(5, {'t': np.array(['1', '2', 'x', '4', '5'], object)}), {'time': 't'},
   "folding.time: the column 't' must be of numbers"),
  (rows_of(5, {'t': np.array([1, 2, np.nan, 4, 5])}), {'time': 't'},
   "the column 't' lacks a value in example 2"),
  (rows_of(10, times=np.zeros(10)), {}, 'no example is before those of fold 0 of 4')])
def test_chronological_folds_that_cannot_be_made(rows, settings, problem):
  with pytest.raises(UserError, match=problem):
    folds.chronological(rows, 4, **settings)
