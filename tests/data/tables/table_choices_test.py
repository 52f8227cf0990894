"""What a table decides or is given: equal rows, codes, and names."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.sources import held_out
from bigmodels.data.tables.table import Table
from tests.data.tables.rows import (
  fitted,
  line_of,
  lines_of,
  numbers,
)

SPLITS = ('train', 'validation', 'test')
PLAIN = (cleaning.fill_missing, cleaning.one_hot)
WHOLE = {'train': 1.0}


# --- equal rows -----------------------------------------------------------------


def coded(count=600):
  """Rows of codes, of which there are few, with labels that they do not settle."""
  rng = np.random.default_rng(0)
  return [('a', 'b', 'c', 'y'), *(
    (rng.integers(3), 'xyz'[rng.integers(3)], rng.integers(4),
     rng.integers(2)) for _ in range(count))]


def copied(count=100, copies=3):
  rng = np.random.default_rng(0)
  rows = [(f'{rng.normal():.5f}', rng.integers(3), rng.integers(2))
          for _ in range(count)]
  return [('a', 'b', 'y'), *rows * copies]


def split_rows(table, context):
  """Every row of every split, as text."""
  found = {}
  for name in SPLITS:
    columns = table.split(name).open(context).load()
    found[name] = [row.tobytes() for row in columns['inputs']]
  return found


def together(rows):
  """How many rows of other splits equal one of the training split."""
  train = {*rows['train']}
  return sum(row in train for name in SPLITS[1:] for row in rows[name])


@pytest.mark.parametrize('rows, duplicates, kept, apart', [
  (coded(), None, 600, False), (coded(), 'keep', 600, False),
  (coded(), 'together', 600, True), (copied(), None, 300, True),
  (copied(), 'keep', 300, False), (copied(), 'together', 300, True),
  (copied(), 'drop', 100, True), (copied(copies=1), None, 100, True),
  # A few copies in a table of codes that are many.
  ([('a', 'b', 'y'), *((i // 30, i % 30, i % 2) for i in range(900)),
    *((i // 30, i % 30, i % 2) for i in range(40))], None, 940, True),
  ([('a', 'y'), *((i % 2, i % 3) for i in range(90))], None, 90, False)])
def test_equal_rows(write, context, rows, duplicates, kept, apart):
  table = Table(write(rows), 'y', task='classification', duplicates=duplicates,
                clean=PLAIN)
  found = split_rows(table, context)
  assert sum(map(len, found.values())) == kept
  assert (together(found) == 0) == apart
  for name, fraction in table.splits.items():
    assert len(found[name]) == pytest.approx(fraction * kept, abs=0.04 * kept)
  if len({*rows[1:]}) < len(rows) - 1 and duplicates != 'drop':
    assert ('stay together' in line_of(context, 'equal rows:')) == apart


def test_equal_rows_are_counted_and_the_other_choice_is_named(write, context):
  Table(write(copied()), 'y', task='classification').open(context)
  assert line_of(context, 'equal rows:') == (
    'equal rows: 200 of 300 rows equal an earlier one in all features; they stay '
    'together in one split, since a has a different value in most rows, so that these '
    'are copies (duplicates=keep or drop changes that)')
  another = dataclasses.replace(context, kept={})
  Table(write(coded()), 'y', task='classification').open(another)
  line, = [x for x in lines_of(context) if x.startswith('  equal rows: 564 of')]
  assert 'they are split like other rows, since no column has' in line


def test_a_table_of_codes_can_be_learned_as_it_is(write, context):
  """The fraction of the most common label of each kind of row, over all test rows.

  With equal rows dropped, and with them in one split, nothing can be known of the
  test rows that has been seen.
  """
  rng = np.random.default_rng(0)
  kinds = rng.integers(0, 8, 4000)
  labels = (rng.random(4000) < np.array([.9, .1, .8, .2, .95, .05, .7, .3])[kinds])
  path = write([('a', 'b', 'y'), *((f'k{k // 2}', k % 2, int(y))
                                   for k, y in zip(kinds, labels, strict=True))])
  table = Table(path, 'y', task='classification', clean=PLAIN)
  columns = {name: table.split(name).open(context).load() for name in SPLITS}

  def kind(name):
    return [row.tobytes() for row in columns[name]['inputs']]

  seen = {}
  for row, y in zip(kind('train'), columns['train']['labels'], strict=True):
    seen.setdefault(row, []).append(y)
  right = [round(np.mean(seen[row])) == y for row, y in zip(
    kind('test'), columns['test']['labels'], strict=True)]
  assert np.mean(right) == pytest.approx(0.8375, abs=0.04)  # the mean of the larger


def test_labels_do_not_part_equal_rows(write, context):
  rows = [('a', 'y'), *((f'{i // 2}.5', i % 2) for i in range(200))]
  table = Table(write(rows), 'y', task='classification', clean=())
  found = split_rows(table, context)
  assert together(found) == 0 and sum(map(len, found.values())) == 200


@pytest.mark.parametrize('sizes', [[1] * 100, [2] * 50, [5] * 20, [30] + [1] * 70,
                                   [1] * 99 + [2], [10, 20, 30, 40], [50, 50, 1]])
def test_groups_stay_together_and_splits_near_their_size(sizes):
  groups = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
  splits = {'train': 0.5, 'test': 0.5}
  parts = [held_out(len(groups), name, splits, groups) for name in splits]
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
  assert not {*groups[parts[0]]} & {*groups[parts[1]]}
  assert abs(len(parts[0]) - len(groups) / 2) <= max(sizes) / 2 + 1
  if max(sizes) == 1:
    np.testing.assert_array_equal(parts[0], held_out(len(groups), 'train', splits))


def test_one_group_leaves_a_split_empty():
  with pytest.raises(UserError, match=r"'test' of 10 rows is empty.*in 1 groups"):
    held_out(10, 'test', {'train': 0.8, 'test': 0.2}, np.zeros(10, int))


# --- codes ----------------------------------------------------------------------


@pytest.mark.parametrize('column, found', [
  (numbers([1, 2, 3]), '3 values'), (numbers([0, 5, 7, 9]), '4 values'),
  (numbers([1.0, 2.0, 3.0]), '3 values'), (numbers(range(9)), '9 values'),
  (numbers(['', 1, 2, 3]), '3 values'), (numbers([-1, 0, 1]), '3 values'),
  (numbers([0, 1]), None), (numbers([1.5, 2.5, 3.5]), None), (range(60), None),
  (numbers(range(13)), None),  # 5 rows of each are too few to tell
  (numbers(['a', 'b', 'c']), None), (numbers([1]), None), ([''] * 60, None)])
def test_columns_that_may_be_codes_are_named(write, context, column, found):
  path = write([('k', 'z', 'y'), *zip(column, range(60), numbers('ab'), strict=True)])
  table = Table(path, 'y', task='classification', clean=PLAIN)
  table.open(context)
  line = [x for x in lines_of(context) if 'may be codes' in x]
  assert bool(line) == bool(found)
  if found:
    assert line == [f'  numbers that may be codes: k ({found}); types=A:text,B:text '
                    'treats columns A and B as categories']
    fits = dataclasses.replace(context, kept={})
    dataclasses.replace(table, types='k:text').open(fits)
    assert sum(n.startswith('k=') for n in fitted(fits)['features']) in (
      int(found.split()[0]), int(found.split()[0]) + ('' in column))


@pytest.mark.parametrize('types, names', [
  ('k:text', ('k',)), ('k:text,m:text', ('k', 'm')), (' k : text , m:text', ('k', 'm')),
  ('', ()), (',', ()), ({'k': 'text', 'm': 'text'}, ('k', 'm')), ({}, ()),
  ('k:text,x:numbers', ('k',))])
def test_types_are_named_by_text_or_a_mapping(write, context, types, names):
  rows = [('k', 'm', 'x', 'y'), *((i % 3, i % 4 / 2, i, 'ab'[i % 2])
                                  for i in range(80))]
  table = Table(write(rows), 'y', task='classification', types=types, clean=PLAIN)
  assert tuple(n for n, k in table.types.items() if k == 'text') == names
  opened = table.open(context)
  categories = {'k': ('k=0', 'k=1', 'k=2'), 'm': ('m=0', 'm=0.5', 'm=1', 'm=1.5')}
  expected = [n for c in ('k', 'm') for n in (categories[c] if c in names else (c,))]
  assert list(opened.features) == [*expected, 'x']
  inputs = opened.load()['inputs']
  x = inputs[:, -1].astype(int)
  if 'k' in names:
    np.testing.assert_array_equal(inputs[:, :3], np.eye(3)[x % 3])


@pytest.mark.parametrize('settings, problem', [
  ({'types': 'colour:text'}, "types: no column 'colour'; did you mean 'color'?"),
  ({'types': 'x'}, "types: must be COLUMN:text or COLUMN:numbers, got 'x'"),
  ({'types': 'x:txt'}, "got 'x:txt'; did you mean 'text'?"),
  ({'types': 'color:numbers'}, "line 2, column 'color': 'r' is not a number, as types= "
   'or weight= needs; missing= sets'),
  ({'types': 'x:text'},
   "types: column 'x' is lost as text in one_hot(max_categories=5): not in "
   'a category of training, and so 0 in all; a column with more than 5 values has '
   'none: partial(cleaning.one_hot, max_categories=N) in clean allows N'),
  ({'types': 'y:text', 'task': 'regression'}, "types: the label 'y' is text, whose "
   "values are not classes with task='regression'"),
  ({'types': 'y:text', 'threshold': 3}, 'not classes with a threshold'),
  ({'duplicates': 'dropp'}, "duplicates: must be one of keep, together, drop or None, "
   "got 'dropp'; did you mean 'drop'?")])
def test_settings_that_are_refused(write, context, settings, problem):
  rows = [('color', 'x', 'y'), *(('rgb'[i % 3], i, i % 2) for i in range(60))]
  with pytest.raises(UserError) as error:
    Table(write(rows), 'y', **{'task': 'classification', 'clean': (
      partial(cleaning.one_hot, max_categories=5),)} | settings).open(context)
  assert problem in str(error.value) and '\n' not in str(error.value)


# --- names ----------------------------------------------------------------------


@pytest.mark.parametrize('header, rows, names', [
  (('color', 'color=red'), [('red', 5), ('blue', 6)],
   ['color=blue', 'color=red (2)', 'color=red']),
  (('color=red', 'color'), [(5, 'red'), (6, 'blue')],
   ['color=red', 'color=blue', 'color=red (2)']),
  (('a', 'a=b'), [('b=c', 'c'), ('x', 'z')], ['a=b=c', 'a=x', 'a=b=c (2)', 'a=b=z']),
  (('a', 'a=b', 'a=b=c'), [('b=c', 'c', 1), ('x', 'z', 2)],
   ['a=b=c (2)', 'a=x', 'a=b=c (3)', 'a=b=z', 'a=b=c']),
  (('c', 'c=r', 'c=r (2)'), [('r', 1, 3), ('s', 2, 4)],
   ['c=r (3)', 'c=s', 'c=r', 'c=r (2)']),
  (('a', 'A'), [('x', 'x'), ('z', 'z')], ['a=x', 'a=z', 'A=x', 'A=z']),
  (('a', 'b'), [('x', 'x'), ('z', 'z')], ['a=x', 'a=z', 'b=x', 'b=z']),
  (('a', 'a=missing'), [('', 1), ('z', 2)], ['a=missing (2)', 'a=z', 'a=missing']),
  (('a', 'y=no'), [('x', 1), ('z', 2)], ['a=x', 'a=z', 'y=no']),
  (('a b', 'a  b'), [('x', 'x'), ('z', 'z')],
   ['a b=x', 'a b=z', 'a  b=x', 'a  b=z'])])
def test_no_column_is_lost_to_another_of_its_name(write, context, header, rows, names):
  labels = ['no', 'yes']
  body = [(*row, labels[i]) for i, row in enumerate(rows)] * 10
  table = Table(write([(*header, 'y'), *body]), 'y', task='classification',
                clean=PLAIN, splits=WHOLE, duplicates='keep')
  opened = table.open(context)
  assert list(opened.features) == names
  inputs = opened.load()['inputs']
  assert inputs.shape == (20, len(names))
  for column, name in enumerate(header):  # each value where its column says
    for i, row in enumerate(rows):
      if isinstance(row[column], str):
        category = row[column] or 'missing'
        at = next(j for j, n in enumerate(names) if n.split(' (')[0] == (
          f'{name}={category}') and set(inputs[:, j]) <= {0, 1} and inputs[i, j])
        assert inputs[1 - i, at] == 0
      else:
        assert inputs[i, names.index(name)] == row[column]
  line = line_of(context, 'one_hot:')
  assert ('the name of another column is taken' in line) == any('(' in n and n not in (
    header) for n in names)
