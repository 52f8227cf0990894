"""Tests of training splits in a fold: of any source, and of a table."""

import dataclasses

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from bigmodels.core.errors import UserError
from bigmodels.data import Arrays, Digits, Table, cleaning, folds, origins
from bigmodels.data.in_fold import InFold, in_fold
from bigmodels.data.order import Buckets, Composition
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, in_memory
from tests.data.tables.rows import line_of, lines_of, printing, write_csv

FOLD = folds.Fold(1, 4, folds.shuffled)


@dataclasses.dataclass(frozen=True)
class Opened:
  """A source of what it holds."""

  dataset: object

  def open(self, context):
    context.keep('words', lambda: 'fitted')
    return self.dataset


def arrays(n=24, **fields):
  rows = np.arange(n)
  return in_memory({'inputs': rows[:, None] + 0.5, 'labels': rows % 3},
                   ('a', 'b', 'c'))._replace(**fields)


def opened(source, tmp_path, fold=FOLD):
  context = printing(tmp_path)
  mine = in_fold(source, fold)
  return [mine.split(name).open(context) for name in ('train', 'held_out')], context


def test_digits_are_cut_as_scikit_learn_cuts_them(tmp_path):
  whole = Digits().split('train')
  columns = whole.open(printing(tmp_path)).load()
  splitter = StratifiedKFold(4, shuffle=True, random_state=0)
  *_, (train, held) = [*splitter.split(columns['labels'], columns['labels'])][:2]
  found, context = opened(whole, tmp_path)
  for dataset, rows in zip(found, (train, held), strict=True):
    assert dataset.length == len(rows)
    for name, array in dataset.load().items():
      np.testing.assert_array_equal(array, columns[name][rows])
    index = np.array([5, 2])
    for name, array in dataset.read(index).items():
      np.testing.assert_array_equal(array, columns[name][rows[index]])
    np.testing.assert_array_equal(dataset.ids['row'].astype(int), rows)
  assert origins.shared(found[0].origin, found[1].origin)[1] == 0
  assert line_of(context, 'fold 1 of 4').endswith(', stratified by class')


def test_the_identity_names_the_rows(tmp_path):
  seeds = (folds.shuffled, lambda rows, count: folds.shuffled(rows, count, seed=1))
  found = {each.identity for by in seeds for each in opened(
    Arrays(inputs=np.arange(40.0)[:, None]).split('train'), tmp_path,
    folds.Fold(0, 4, by))[0]}
  assert len(found) == 4


def test_what_a_row_has_goes_with_it(tmp_path):
  rows = np.arange(24)
  whole = arrays(
    ids={'name': np.array([f'n{row}' for row in rows], object)},
    describe=lambda row: f'line {row}', words=lambda index: [{'w': r} for r in index],
    buckets=Buckets((5, 9), rows // 12), labels=lambda: rows % 3)
  (train, held), context = opened(Opened(whole), tmp_path)
  for dataset in (train, held):
    mine = dataset.ids['row'].astype(int)
    assert [*dataset.ids['name']] == [f'n{row}' for row in mine]
    assert dataset.describe(2) == f'line {mine[2]}'
    assert dataset.words(np.array([3, 0])) == [{'w': mine[3]}, {'w': mine[0]}]
    np.testing.assert_array_equal(dataset.buckets.of, mine // 12)
    np.testing.assert_array_equal(dataset.labels(), mine % 3)
  assert line_of(context, 'what is fitted when the data is opened').startswith(
    'what is fitted when the data is opened (words) is fitted to all training examples')


def test_examples_of_one_row_of_the_source_stay_together(tmp_path):
  of = np.arange(24) // 3  # three examples of each
  (train, held), context = opened(
    Opened(arrays(origin=Origin({'files': of}))), tmp_path)
  parts = [{*(each.ids['row'].astype(int) // 3).tolist()} for each in (train, held)]
  assert not parts[0] & parts[1]
  labels = np.arange(24) % 3
  held_rows = [*StratifiedGroupKFold(4, shuffle=True, random_state=0).split(
    labels, labels, of)][1][1]
  np.testing.assert_array_equal(held.ids['row'].astype(int), held_rows)
  assert 'in 8 groups that stay together' in line_of(context, 'fold 1 of 4')


def test_copies_in_the_other_part_are_told(tmp_path):
  keys = np.arange(24).astype(np.uint64)
  _, held, _ = FOLD.cut(folds.Rows(24, None, np.arange(24) % 3))
  train, *_ = FOLD.cut(folds.Rows(24, None, np.arange(24) % 3))
  keys[held[:2]] = keys[train[0]]
  _, context = opened(Opened(arrays(origin=Origin({}, keys=keys))), tmp_path)
  assert line_of(context, 'warning').startswith(
    'warning: 2 of 6 examples held out equal one that is trained on')


@pytest.mark.parametrize('labels', [
  np.arange(24.0), np.zeros((24, 2), np.int32)], ids=['regression', 'sequences'])
def test_labels_that_are_no_classes_do_not_stratify(labels, tmp_path):
  classes = None if labels.dtype == np.float64 else ('a', 'b')
  whole = in_memory({'inputs': np.arange(24.0), 'labels': labels}, classes)
  _, context = opened(Opened(whole), tmp_path)
  assert line_of(context, 'fold 1 of 4').endswith('examples, at random')


def test_shapes_alone_are_of_so_many_rows(tmp_path):
  context = DataContext(None, tmp_path, {}, shapes_only=True)
  whole = arrays()._replace(shapes_only=True)
  held = InFold(Opened(whole), FOLD, 'held_out').open(context)
  assert held.shapes_only and held.length == 6
  assert held.load()['inputs'].shape == (6, 1)


@pytest.mark.parametrize('fields, problem', [
  ({'provides': {'environment': lambda: 'walk'}}, 'an environment has no examples'),
  ({'composition': Composition(np.arange(24) % 3, 2)}, 'several examples of each clas'),
  ({'origin': Origin({'series': range(100)})}, 'as windows of a series or texts of')])
def test_examples_that_cannot_be_held_out(fields, problem, tmp_path):
  with pytest.raises(UserError, match=f'^folds: .*{problem}'):
    opened(Opened(arrays(**fields)), tmp_path)


# --- tables -----------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
  return write_csv(tmp_path, [('n', 'a', 'b', 'y'), *(
    (i, i * i % 61, '' if i == 3 else i / 8, i % 10 // 8) for i in range(60))])


def table_of(path, **settings):
  return Table(path, 'y', **{
    'task': 'classification', 'id': 'n', 'splits': {'train': 0.8, 'test': 0.2},
    'clean': (cleaning.fill_missing, cleaning.standardize), **settings})


def test_a_table_is_fitted_to_what_a_fold_trains_on(path, tmp_path):
  table = in_fold(table_of(path), FOLD)
  context = printing(tmp_path)
  parts = {name: table.split(name).open(context)
           for name in ('train', 'held_out', 'test')}
  inputs = parts['train'].load()['inputs']
  np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(inputs.std(0), 1, atol=1e-6)
  ids = {name: {*map(int, each.ids['n'])} for name, each in parts.items()}
  assert sum(map(len, ids.values())) == len(set.union(*ids.values())) == 60
  assert ids['test'] == {*map(int, table_of(path).split('test').open(
    printing(tmp_path)).ids['n'])}
  whole = table_of(path).split('train').open(printing(tmp_path))
  labels = whole.load()['labels']
  _, rows = [*StratifiedKFold(4, shuffle=True, random_state=0).split(
    labels, labels)][1]
  assert ids['held_out'] == {*map(int, whole.ids['n'][rows])}
  assert [*parts['held_out'].ids['row']] == [*parts['held_out'].ids['n']]
  assert 'fold 1 of 4 holds out 12 of 48 training examples, stratified by class' in (
    line_of(context, 'split: '))
  assert not any('is fitted to all' in line for line in lines_of(context))


def test_the_groups_of_a_table_stay_in_one_fold(path, tmp_path):
  held = [in_fold(table_of(path, group='a', splits={'train': 1.0}), folds.Fold(
    number, 4, folds.shuffled)).split('held_out').open(printing(tmp_path))
    for number in range(4)]
  groups = [{int(n) ** 2 % 61 for n in each.ids['n']} for each in held]
  assert sum(each.length for each in held) == 60
  assert len(set.union(*groups)) == sum(map(len, groups))


def test_a_table_that_is_split_by_time_has_chronological_folds(path, tmp_path):
  table = table_of(path, time='n')
  with pytest.raises(UserError, match=r'use bigmodels[.]data[.]folds[.]chronological'):
    in_fold(table, FOLD).open(printing(tmp_path))
  mine = in_fold(table, folds.Fold(1, 4, folds.chronological))
  train, held = (mine.split(name).open(printing(tmp_path)).ids['n'].astype(int)
                 for name in ('train', 'held_out'))
  assert train.tolist() == [*range(21)] and held.tolist() == [*range(21, 30)]


def test_a_column_of_a_table_groups_its_rows(path, tmp_path):
  by = folds.Fold(0, 4, lambda rows, count: folds.shuffled(rows, count, group='a'))
  table = in_fold(table_of(path, splits={'train': 1.0}), by)
  train, held = (table.split(name).open(printing(tmp_path)).ids['n']
                 for name in ('train', 'held_out'))
  assert not {int(n) ** 2 % 61 for n in train} & {int(n) ** 2 % 61 for n in held}
  wrong = folds.Fold(0, 4, lambda rows, count: folds.shuffled(rows, count, group='aa'))
  with pytest.raises(UserError, match=r"there is no column 'aa'.*did you mean 'a'"):
    in_fold(table_of(path), wrong).open(printing(tmp_path))
