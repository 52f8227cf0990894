"""What a table leaves open: equal rows, codes, classes, names; and what is lost."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.sources import DataContext, held_out
from bigmodels.data.table import Table

SPLITS = ('train', 'validation', 'test')
PLAIN = (cleaning.fill_missing, cleaning.one_hot)
WHOLE = {'train': 1.0}


@pytest.fixture
def context(tmp_path):
  lines = []
  return DataContext(None, tmp_path, {}, lines.append)


@pytest.fixture
def write(tmp_path):
  """Writes a CSV file of rows, the header first, and gives its path."""
  def write(rows, name='data.csv'):
    text = '\n'.join(','.join(str(v) for v in row) for row in rows) + '\n'
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)

  return write


def lines_of(context):
  return context.say.__self__


def line_of(context, start):
  """The one line that begins so."""
  line, = [x for x in lines_of(context) if x.strip().startswith(start)]
  return line.strip()


def fitted(context):
  found, = [v for k, v in context.kept.items() if k.startswith('table ')]
  return found


def refusal(table, context):
  with pytest.raises(UserError) as error:
    table.open(context)
  text, = str(error.value).splitlines()
  return text


# --- equal rows -----------------------------------------------------------------


def coded(count=600):
  """Rows of codes, of which there are few, with labels that they do not settle."""
  chance = np.random.default_rng(0)
  return [('a', 'b', 'c', 'y'), *(
    (chance.integers(3), 'xyz'[chance.integers(3)], chance.integers(4),
     chance.integers(2)) for _ in range(count))]


def copied(count=100, copies=3):
  chance = np.random.default_rng(0)
  rows = [(f'{chance.normal():.5f}', chance.integers(3), chance.integers(2))
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
    'equal rows: 200 of 300 rows equal an earlier one in all columns but y; they stay '
    'together in one split, since a has another value in most rows, so that these are '
    'copies (duplicates=keep or drop changes that)')
  another = dataclasses.replace(context, kept={})
  Table(write(coded()), 'y', task='classification').open(another)
  told, = [x for x in lines_of(context) if x.startswith('  equal rows: 564 of')]
  assert 'they fall to the splits as all rows do, since no column has' in told


def test_a_table_of_codes_can_be_learned_as_it_is(write, context):
  """The share of the most common label of each kind of row, over all test rows.

  With equal rows dropped, and with them in one split, nothing can be known of the
  test rows that has been seen.
  """
  chance = np.random.default_rng(0)
  kinds = chance.integers(0, 8, 4000)
  labels = (chance.random(4000) < np.array([.9, .1, .8, .2, .95, .05, .7, .3])[kinds])
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


def test_groups_are_those_of_equal_rows():
  chance = np.random.default_rng(0)
  frame = {'a': chance.integers(0, 3, 500) / 3, 'b': np.array(
    list('xyz'), object)[chance.integers(0, 3, 500)],
    'c': chance.integers(0, 3, 500) / 3}
  frame['c'][:50] = np.nan
  frame['a'][:25] = -0.0
  rows = [tuple('nan' if v != v else v for v in row) for row in zip(
    *(c.tolist() for c in frame.values()), strict=True)]
  groups = cleaning.groups_of(frame)
  numbers = {}
  for row, group in zip(rows, groups, strict=True):
    assert numbers.setdefault(row, group) == group
  assert len({*numbers.values()}) == len(numbers) == groups.max() + 1
  swapped = {'c': frame['a'], 'b': frame['b'], 'a': frame['c']}
  assert len(np.unique(cleaning.groups_of(swapped))) == len(numbers)


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


def numbers(values, count=60):
  return [values[i % len(values)] for i in range(count)]


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
  told = [x for x in lines_of(context) if 'may be codes' in x]
  assert bool(told) == bool(found)
  if found:
    assert told == [f'  numbers that may be codes: k ({found}); categories=A,B makes '
                    'categories of columns A and B']
    fits = dataclasses.replace(context, kept={})
    dataclasses.replace(table, categories='k').open(fits)
    assert sum(n.startswith('k=') for n in fitted(fits)['features']) in (
      int(found.split()[0]), int(found.split()[0]) + ('' in column))


@pytest.mark.parametrize('text, names', [
  ('k', ('k',)), ('k,m', ('k', 'm')), (' k , m ', ('k', 'm')), ('', ()), (',', ()),
  (('k', 'm'), ('k', 'm')), ((), ())])
def test_categories_are_named_by_text_or_tuple(write, context, text, names):
  rows = [('k', 'm', 'x', 'y'), *((i % 3, i % 4 / 2, i, 'ab'[i % 2])
                                  for i in range(80))]
  table = Table(write(rows), 'y', task='classification', categories=text, clean=PLAIN)
  assert table.categories == names
  opened = table.open(context)
  categories = {'k': ('k=0', 'k=1', 'k=2'), 'm': ('m=0', 'm=0.5', 'm=1', 'm=1.5')}
  wanted = [n for c in ('k', 'm') for n in (categories[c] if c in names else (c,))]
  assert list(opened.features) == [*wanted, 'x']
  inputs = opened.load()['inputs']
  x = inputs[:, -1].astype(int)
  if 'k' in names:
    np.testing.assert_array_equal(inputs[:, :3], np.eye(3)[x % 3])


@pytest.mark.parametrize('settings, problem', [
  ({'categories': 'colour'}, "categories: no column 'colour'; did you mean 'color'?"),
  ({'categories': 'x'}, "categories: column 'x' is lost in one_hot(most=5): of none of "
   'the categories of training, and so 0 in all; a text of more than 5 values has '
   'none: partial(cleaning.one_hot, most=N) in clean allows N'),
  ({'categories': 'y', 'task': 'regression'}, "categories: has the label 'y', whose "
   "values are not classes with task='regression'"),
  ({'categories': 'y', 'threshold': 3}, 'not classes with a threshold'),
  ({'duplicates': 'dropp'}, "duplicates: must be one of keep, together, drop or None, "
   "got 'dropp'; did you mean 'drop'?")])
def test_settings_that_are_refused(write, context, settings, problem):
  rows = [('color', 'x', 'y'), *(('rgb'[i % 3], i, i % 2) for i in range(60))]
  with pytest.raises(UserError) as error:
    Table(write(rows), 'y', **{'task': 'classification', 'clean': (
      partial(cleaning.one_hot, most=5),)} | settings).open(context)
  assert problem in str(error.value) and '\n' not in str(error.value)


# --- labels ---------------------------------------------------------------------


def labelled(labels):
  return [('a', 'y'), *((i / 7, label) for i, label in enumerate(labels))]


@pytest.mark.parametrize('labels, settings, classes', [
  (numbers(range(200), 4000), {'categories': 'y'}, 200),
  (numbers([1.0, 2.0]), {}, 2), (numbers([-1, 1]), {}, 2),
  (numbers(['true', 'false']), {}, 2), (numbers([0, 1, '']), {}, 2),
  (numbers([f'w{i}' for i in range(120)], 480), {}, 120),
  (numbers([f'w{i}' for i in range(50)]), {'categories': 'y'}, 50),
  (numbers(range(100), 400), {}, 100),
  (numbers([f'2024-01-{d:02}' for d in range(1, 11)]), {}, 10),
  (numbers([0.5, 1.5, 2.5]), {'categories': ('y',)}, 3),
  (range(60), {'categories': 'y'}, 60),
  (range(60), {'threshold': 30}, 2), (range(60), {'threshold': 58}, 2)])
def test_labels_that_are_classes(write, context, labels, settings, classes):
  table = Table(write(labelled(labels)), 'y', task='classification', **settings)
  dataset = table.open(context)
  assert len(dataset.classes) == classes
  found = dataset.load()['labels']
  assert found.min() >= 0 and found.max() < classes
  if classes == 200:
    assert dataset.classes == tuple(map(str, range(200)))


@pytest.mark.parametrize('labels, settings, problem', [
  (numbers(range(200), 4000), {}, 'or categories=y if they are classes'),
  (numbers(range(101), 4000), {}, "task='regression', or categories=y if they are"),
  (numbers([i / 7 for i in range(150)], 4000), {}, 'categories=y if they are classes'),
  ([f'id{i}' for i in range(60)], {}, 'which are not classes; set categories=y'),
  (numbers([3]), {'categories': 'y'}, "all 60 labels are '3'; two classes"),
  (range(60), {'threshold': 59}, "all 60 labels are 'low (up to 59)'")])
def test_labels_that_are_not(write, context, labels, settings, problem):
  table = Table(write(labelled(labels)), 'y', task='classification', **settings)
  assert problem in refusal(table, context)


def test_few_values_in_a_regression_are_said(write, context):
  table = Table(write(labelled(numbers([0, 1]))), 'y', task='regression')
  table.open(context)
  assert line_of(context, 'label:') == (
    'label: y, 0 to 1; of its few values task=classification makes classes')


def test_classes_that_a_split_lacks_are_said(write, context):
  members = {name: held_out(60, name, {'train': 0.8, 'validation': 0.1, 'test': 0.1})
             for name in SPLITS}
  labels = np.array(numbers(['a', 'b']), object)
  labels[members['test'][:3]] = 'rare'
  labels[members['validation']] = 'a'
  Table(write(labelled(labels)), 'y', task='classification').open(context)
  assert line_of(context, 'warning: data.csv: split train:') == (
    'warning: data.csv: split train: no row of 1 of 3 classes: rare')
  assert line_of(context, 'split validation:') == (
    'split validation: no row of 2 of 3 classes: b, rare')


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
  told = line_of(context, 'one_hot:')
  assert ('the name of another column is taken' in told) == any('(' in n and n not in (
    header) for n in names)


# --- what is lost ---------------------------------------------------------------


def warnings(context):
  return [x for x in lines_of(context) if x.startswith('warning: ')]


def filled(share, value):
  """200 rows, of which a share has the value in column a."""
  return [('a', 'w', 'y'), *(
    (value if i < 200 * share else f'{i % 17}.5', 'uvw'[i % 3], i % 2)
    for i in range(200))]


@pytest.mark.parametrize('rows, settings, told', [
  (filled(0.05, ''), {}, None),
  (filled(0.06, ''), {}, 'fill_missing: a (12 of 200, 6%): missing and filled in; '
   'cleaning.drop_incomplete'),
  (filled(0.06, 9999), {}, 'clip_outliers: a (12 of 200, 6%): moved to the fences of '
   'the training rows; partial(cleaning.clip_outliers, deviations=10) in clean'),
  (filled(0.04, 9999), {}, None),
  (filled(0.06, 9999), {'clean': PLAIN}, None),
  (filled(0.06, ''), {'clean': (cleaning.drop_incomplete, cleaning.one_hot)},
   'drop_incomplete: rows (12 of 200, 6%): dropped; cleaning.fill_missing keeps them'),
  (filled(0.05, ''), {'clean': (cleaning.drop_incomplete, cleaning.one_hot)}, None),
  ([('a', 'y'), *((f'{i // 2}.5', i // 2 % 2) for i in range(200))],
   {'duplicates': 'drop'}, 'drop_duplicates: rows (100 of 200, 50%): dropped; '
   'duplicates=together keeps them'),
  ([('a', 'name', 'y'), *((i % 9, f'n{i}', i % 2) for i in range(200))], {},
   'one_hot: name (200 of 200, 100%): of none of the categories of training, and so 0 '
   'in all; a text of more than 50 values has none: partial(cleaning.one_hot, most=N)'),
  ([('a', 'y'), *((i, i % 2 if i % 10 else '') for i in range(200))], {},
   '20 of 200 rows (10%) have no value of y and are dropped'),
  ([('a', 'b', 'y'), *((i, 1 if i % 5 else '', i % 2) for i in range(200))], {},
   'drop_constant: b (40 of 200, 20%): other than the rest of a column that is'),
  ([('a', 'b', 'y'), *((i, '', i % 2) for i in range(200))], {}, None),
  ([('a', 'b', 'y'), *((i, 7, i % 2) for i in range(200))], {}, None)])
def test_more_than_a_twentieth_is_a_warning(write, context, rows, settings, told):
  Table(write(rows), 'y', task='classification', **settings).open(context)
  found = warnings(context)
  if told is None:
    assert not found
  else:
    line, = found
    assert line.startswith(f'warning: data.csv: {told}')
  assert context.kept['notes'] == lines_of(context)


def test_another_file_is_told_of_as_well(write, context):
  chance = np.random.default_rng(0)

  def rows(scale, words):
    return [('a', 'w', 'y'), *((f'{scale * chance.normal():.3f}', words[i % len(words)],
                                'no' if i % 2 else 'yes') for i in range(100))]

  table = Table(write(rows(1, 'uv')), 'y', task='classification')
  table.open(context)
  before = len(lines_of(context))
  path = write(rows(20, 'uvz'), 'new.csv')
  test = dataclasses.replace(table, path=path, splits={'test': 1.0}, selected='test')
  test.open(context)
  found = lines_of(context)[before:]
  assert found[:2] == [
    'new.csv: 100 rows, 1 columns of numbers, 2 of text',
    '  test: 100 rows, cleaned as those that the run was fitted to']
  clipped, unseen = found[2:]
  assert clipped.startswith('warning: new.csv: clip_outliers: a (')
  assert unseen.startswith('warning: new.csv: one_hot: w (33 of 100, 33%): of none of ')
  test.open(context)
  assert len(lines_of(context)) == before + 4  # once


def test_lines_are_kept_and_not_said_again_when_a_run_goes_on(write, context, tmp_path):
  path = write(filled(0.1, ''))
  table = Table(path, 'y', task='classification')
  table.open(context)
  said = []
  resumed = DataContext(None, tmp_path, json.loads(json.dumps(context.kept)),
                        said.append)
  for name in SPLITS:
    table.split(name).open(resumed)
  assert said == [] and resumed.kept == context.kept
  assert any(x.startswith('warning: ') for x in resumed.kept['notes'])


@pytest.mark.parametrize('column, train, test', [
  ('', range(40), ['']), ('text', numbers(['u', 'v'], 40), ['']),
  ('unseen', numbers(['u', 'v'], 40), ['z']), ('far', range(40), [1e9])])
def test_columns_that_only_the_test_file_lacks(write, context, column, train, test):
  table = Table(write([('a', 'b', 'y'), *zip(train, range(40), numbers('kl', 40),
                                             strict=True)]), 'y', task='classification')
  table.open(context)
  path = write([('a', 'b', 'y'), *((test[0], i, 'kl'[i % 2]) for i in range(20))],
               'test.csv')
  other = dataclasses.replace(table, path=path, splits={'test': 1.0}, selected='test')
  assert np.isfinite(other.open(context).load()['inputs']).all()
  assert warnings(context)
  assert all('(20 of 20, 100%)' in line for line in warnings(context))


# --- what float32 rounds --------------------------------------------------------


@pytest.mark.parametrize(('start', 'step', 'said'), [
  (0, 1, None), (1_000_000, 1, None), (1_700_000_000, 1, '1700000000 and 1700000099'),
  (1_700_000_000, 10_000_000, None), (-1_700_000_000, 1, '-1700000000 and -1699999901'),
  (1e15, 1e9, None), (1e15, 1e8, '1e+15 and 1.0000099e+15'),
  (16_777_216, 0.25, '16777216 and 16777240.75'),
  (100_000, 0.001, '100000 and 100000.099'), (0.5, 0.001, None), (1e-30, 1e-32, None)])
@pytest.mark.parametrize('label', [True, False])
def test_a_column_that_float32_rounds_much_is_a_warning(
  write, context, start, step, said, label):
  other = [i % 7 for i in range(100)]
  large = [repr(start + i * step) for i in range(100)]
  rows = zip(other, large, strict=True) if label else zip(large, other, strict=True)
  Table(write([('a', 'y'), *rows]), 'y', task='regression', clean=(), splits=WHOLE
        ).open(context)
  found = [line for line in lines_of(context) if 'float32 rounds' in line]
  assert len(found) == (said is not None)
  if said:
    name = 'y' if label else 'a'
    assert f'column {name!r} lies between {said}: float32 rounds it by' in found[0]


def test_standardized_columns_are_not_rounded_much(write, context):
  rows = [(1_700_000_000 + i, i % 7) for i in range(100)]
  opened = Table(write([('a', 'y'), *rows]), 'y', task='regression', splits=WHOLE
                 ).open(context)
  assert not [line for line in lines_of(context) if 'float32 rounds' in line]
  assert len(np.unique(opened.load()['inputs'])) == 100
