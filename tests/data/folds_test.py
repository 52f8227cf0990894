"""Tests of bigmodels.data.folds against scikit-learn, and of its invariants."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from bigmodels.core.errors import UserError
from bigmodels.data.folds import check_fold, fold_of


@pytest.mark.parametrize('counts', [(50, 50), (164, 139), (93, 3679), (10, 11, 300)])
@pytest.mark.parametrize('folds', [2, 5, 10])
def test_folds_are_as_even_as_those_of_scikit_learn(counts, folds):
  rng = np.random.default_rng(0)
  classes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
  ours = fold_of(len(classes), folds, classes=classes)
  np.testing.assert_array_equal(np.unique(ours), np.arange(folds))
  theirs = np.empty(len(classes), int)
  for index, (_, rows) in enumerate(StratifiedKFold(folds).split(classes, classes)):
    theirs[rows] = index
  for found in (ours, theirs):
    table = np.array([np.bincount(classes[found == f], minlength=len(counts))
                      for f in range(folds)])
    assert np.ptp(table, axis=0).max() <= 1
    assert np.ptp(table.sum(1)) <= 1


def test_folds_are_a_function_of_the_seed():
  classes = np.arange(300) % 3
  first = fold_of(300, 5, seed=3, classes=classes)
  np.testing.assert_array_equal(first, fold_of(300, 5, seed=3, classes=classes))
  other = fold_of(300, 5, seed=4, classes=classes)
  assert 0.1 < np.mean(first == other) < 0.3  # by chance a fifth


def test_the_folds_of_a_seed_are_always_the_same():
  """Written down: a run that is resumed in another release must find them again."""
  np.testing.assert_array_equal(
    fold_of(12, 3, seed=1), [0, 2, 0, 0, 1, 1, 1, 2, 0, 2, 2, 1])


def test_groups_stay_together_and_spread_over_the_folds():
  rng = np.random.default_rng(0)
  groups = rng.integers(0, 60, 400)
  classes = (groups % 5 == 0).astype(int)
  found = fold_of(400, 4, groups=groups, classes=classes)
  assert all(len(set(found[groups == g])) == 1 for g in set(groups))
  fold_of_group = {g: found[groups == g][0] for g in set(groups)}
  of_class = [[f for g, f in fold_of_group.items() if (g % 5 == 0) == c]
              for c in (False, True)]
  for each in of_class:
    assert np.ptp(np.bincount(each, minlength=4)) <= 1


def test_the_class_of_a_group_is_its_rarest():
  groups = np.repeat(np.arange(40), 5)
  classes = np.zeros(200, int)
  classes[groups < 8] = [0, 0, 0, 0, 1] * 8
  found = fold_of(200, 4, groups=groups, classes=classes)
  np.testing.assert_array_equal(np.bincount(found[classes == 1]), [2] * 4)


@pytest.mark.parametrize('arguments, problem', [
  ({'length': 3, 'folds': 5}, 'folds: must be <= 3, the number of rows, got 5'),
  ({'length': 20, 'folds': 5, 'classes': np.arange(20) // 17},
   'folds: must be <= 3, the number of rows of the rarest class, got 5; strat'),
  ({'length': 20, 'folds': 5, 'groups': np.arange(20) // 5},
   'folds: must be <= 4, the number of groups of rows that stay together, got 5'),
  ({'length': 20, 'folds': 5, 'seed': -1}, 'fold_seed: must be an integer >= 0'),
])
def test_folds_that_cannot_be_made(arguments, problem):
  with pytest.raises(UserError) as error:
    fold_of(**arguments)
  assert problem in str(error.value)


@pytest.mark.parametrize('fold, folds, problem', [
  (10, 10, 'fold: must be 0 to 9 of 10 folds, got 10'),
  (-1, 5, 'fold: must be 0 to 4 of 5 folds, got -1'),
  (0, 1, 'folds: must be >= 2, got 1'), (1.5, 5, 'fold: must be an integer, got 1.5'),
])
def test_a_fold_that_does_not_exist(fold, folds, problem):
  with pytest.raises(UserError) as error:
    check_fold(fold, folds)
  assert problem in str(error.value)
