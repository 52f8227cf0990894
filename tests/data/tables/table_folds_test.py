"""Tests of the folds of a table."""

import dataclasses
import itertools

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import cleaning, origins
from bigmodels.data.tables.table import Table
from tests.data.tables.rows import line_of, printing, refusal

COUNT = 60
FOLDS = {'splits': {'train': 0.75, 'validation': 0.25}, 'id': 'n',
         'clean': (cleaning.fill_missing, cleaning.standardize)}


@pytest.fixture
def path(write):
  return write([('n', 'a', 'b', 'y'), *(
    (i, i * i % 61, '' if i == 3 else i / 8, i % 10 // 8) for i in range(COUNT))])


def table_of(path, **settings):
  return Table(path, 'y', task='classification', **{**FOLDS, **settings})


def ids_of(table, folder):
  return {name: [*map(int, table.split(name).open(printing(folder)).ids['n'])]
          for name in ('train', 'validation', 'test')}


def test_folds_cover_all_rows_once_as_test_rows(path, tmp_path):
  parts = [ids_of(table_of(path, fold=fold, folds=4), tmp_path) for fold in range(4)]
  tests = [part['test'] for part in parts]
  assert sorted(itertools.chain(*tests)) == [*range(COUNT)]
  for part in parts:
    assert sorted(itertools.chain(*part.values())) == [*range(COUNT)]
    assert [len(part[name]) for name in ('train', 'validation', 'test')] == [34, 11, 15]
    assert sum(i % 10 >= 8 for i in part['test']) == 3
  again = ids_of(table_of(path, fold=1, folds=4), tmp_path)
  assert again == parts[1]
  assert ids_of(table_of(path, fold=1, folds=4, fold_seed=1), tmp_path) != again


def test_a_fold_is_told_and_changes_the_identity(path, tmp_path):
  found = set()
  for fold in range(3):
    context = printing(tmp_path)
    found.add(table_of(path, fold=fold, folds=3).open(context).identity)
    assert line_of(context, 'split: ').endswith(
      f'fold {fold} of 3 is test, stratified by y')
  assert len(found) == 3


def test_folds_by_a_threshold_are_stratified_by_its_classes(path, tmp_path):
  table = Table(path, 'a', task='classification', threshold=30.5, fold=0, folds=3,
                **FOLDS)
  above = [i * i % 61 > 30.5 for i in range(COUNT)]
  found = ids_of(table, tmp_path)['test']
  assert len(found) == 20
  assert abs(3 * sum(above[i] for i in found) - sum(above)) < 3


def test_groups_stay_in_one_fold(path, tmp_path):
  tests = [ids_of(table_of(path, fold=fold, folds=5, group='a'), tmp_path)['test']
           for fold in range(5)]
  assert sorted(itertools.chain(*tests)) == [*range(COUNT)]
  groups = [{i * i % 61 for i in part} for part in tests]
  assert all(not one & other for one, other in itertools.combinations(groups, 2))


def test_splits_of_two_folds_are_not_of_one_run(path, tmp_path):
  table = table_of(path, fold=0, folds=4)
  one = table.open(printing(tmp_path)).origin
  other = dataclasses.replace(table, fold=1).split('test').open(
    printing(tmp_path)).origin
  assert origins.shared(one, other)[1] > 0
  differing, = [name for name, value in one.settings.items()
                if other.settings[name] != value]
  assert differing.startswith('fold of ')


@pytest.mark.parametrize('settings, problem', [
  ({'fold': 4, 'folds': 4}, 'fold: must be 0 to 3 of 4 folds, got 4'),
  ({'fold': 0, 'test': 'x.csv'}, 'fold and test: both say which rows'),
  ({'fold': 0, 'time': 'a'}, 'fold and time: both say which rows'),
  ({'fold': 0, 'splits': 'a'}, 'fold and splits=COLUMN: both say which rows'),
])
def test_settings_that_contradict_folds(settings, problem):
  with pytest.raises(UserError) as error:
    Table('x.csv', 'y', task='classification', **settings)
  assert problem in str(error.value)


def test_more_folds_than_rows_of_a_class(path, context):
  text = refusal(table_of(path, fold=0, folds=13), context)
  assert 'folds: must be <= 12, the number of rows of the rarest class, got 13' in text
  opened = table_of(path, fold=0, folds=13, stratified=False).open(context)
  assert opened.length == 41


def test_a_fold_needs_another_split(path, context):
  table = table_of(path, splits={'test': 1.0}, fold=0, selected='test')
  assert 'splits: has no split beside test, which is a fold' in refusal(table, context)
