"""Tests of bigmodels.data.tables.table_fit: labels, and warnings of what is lost."""

import dataclasses
import json

import numpy as np
import pytest

from bigmodels.data import cleaning
from bigmodels.data.sources import DataContext, held_out
from bigmodels.data.tables.table import Table
from tests.data.tables.rows import (
  line_of,
  lines_of,
  numbers,
  refusal,
)

SPLITS = ('train', 'validation', 'test')
PLAIN = (cleaning.fill_missing, cleaning.one_hot)
WHOLE = {'train': 1.0}


# --- labels ---------------------------------------------------------------------


def labelled(labels):
  return [('a', 'y'), *((i / 7, label) for i, label in enumerate(labels))]


@pytest.mark.parametrize('labels, settings, classes', [
  (numbers(range(200), 4000), {'types': 'y:text'}, 200),
  (numbers([1.0, 2.0]), {}, 2), (numbers([-1, 1]), {}, 2),
  (numbers(['true', 'false']), {}, 2), (numbers([0, 1, '']), {}, 2),
  (numbers([f'w{i}' for i in range(120)], 480), {}, 120),
  (numbers([f'w{i}' for i in range(50)]), {'types': 'y:text'}, 50),
  (numbers(range(100), 400), {}, 100),
  (numbers([f'2024-01-{d:02}' for d in range(1, 11)]), {}, 10),
  (numbers([0.5, 1.5, 2.5]), {'types': {'y': 'text'}}, 3),
  (range(60), {'types': 'y:text'}, 60),
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
  (numbers(range(200), 4000), {}, 'or types=y:text if they are classes'),
  (numbers(range(101), 4000), {}, "task='regression', or types=y:text if they are"),
  (numbers([i / 7 for i in range(150)], 4000), {}, 'types=y:text if they are classes'),
  ([f'id{i}' for i in range(60)], {}, 'which are not classes; set types=y:text'),
  (numbers([3]), {'types': 'y:text'}, "all 60 labels are '3'; two classes"),
  (range(60), {'threshold': 59}, "all 60 labels are 'low (up to 59)'")])
def test_labels_that_are_not(write, context, labels, settings, problem):
  table = Table(write(labelled(labels)), 'y', task='classification', **settings)
  assert problem in refusal(table, context)


def test_few_values_in_a_regression_are_printed(write, context):
  table = Table(write(labelled(numbers([0, 1]))), 'y', task='regression')
  table.open(context)
  assert line_of(context, 'label:') == (
    'label: y, 0 to 1; task=classification turns its few values into classes')


def test_classes_that_a_split_lacks_are_printed(write, context):
  members = {name: held_out(60, name, {'train': 0.8, 'validation': 0.1, 'test': 0.1})
             for name in SPLITS}
  labels = np.array(numbers(['a', 'b']), object)
  labels[members['test'][:3]] = 'rare'
  labels[members['validation']] = 'a'
  table = Table(write(labelled(labels)), 'y', task='classification', stratified=False)
  table.open(context)
  assert line_of(context, 'warning: data.csv: split train:') == (
    'warning: data.csv: split train: no row of 1 of 3 classes: rare')
  assert line_of(context, 'split validation:') == (
    'split validation: no row of 2 of 3 classes: b, rare')


# --- what is lost ---------------------------------------------------------------


def warnings(context):
  return [x for x in lines_of(context) if x.startswith('warning: ')]


def filled(fraction, value):
  """200 rows, a fraction of which have the value in column a."""
  return [('a', 'w', 'y'), *(
    (value if i < 200 * fraction else f'{i % 17}.5', 'uvw'[i % 3], i % 2)
    for i in range(200))]


@pytest.mark.parametrize('rows, settings, warning', [
  (filled(0.05, ''), {}, None),
  (filled(0.06, ''), {}, 'fill_missing: a (12 of 200, 6%): missing and filled in; '
   'cleaning.drop_incomplete'),
  (filled(0.06, 9999), {}, 'clip_outliers: a (12 of 200, 6%): clipped to the limits '
   'of the training rows; partial(cleaning.clip_outliers, deviations=10) in clean'),
  (filled(0.04, 9999), {}, None),
  (filled(0.06, 9999), {'clean': PLAIN}, None),
  (filled(0.06, ''), {'clean': (cleaning.drop_incomplete, cleaning.one_hot)},
   'drop_incomplete: rows (12 of 200, 6%): dropped; cleaning.fill_missing keeps them'),
  (filled(0.05, ''), {'clean': (cleaning.drop_incomplete, cleaning.one_hot)}, None),
  ([('a', 'y'), *((f'{i // 2}.5', i // 2 % 2) for i in range(200))],
   {'duplicates': 'drop'}, 'drop_duplicates: rows (100 of 200, 50%): dropped; '
   'duplicates=together keeps them'),
  ([('a', 'name', 'y'), *((i % 9, f'n{i}', i % 2) for i in range(200))], {},
   'one_hot: name (200 of 200, 100%): not in a category of training, and so 0 '
   'in all; a column with more than 50 values has none: partial(cleaning.one_hot, '),
  ([('a', 'y'), *((i, i % 2 if i % 10 else '') for i in range(200))], {},
   '20 of 200 rows (10%) have no value of y and are dropped'),
  ([('a', 'b', 'y'), *((i, 1 if i % 5 else '', i % 2) for i in range(200))], {},
   'drop_constant: b (40 of 200, 20%): different from the rest of a dropped col'),
  ([('a', 'b', 'y'), *((i, '', i % 2) for i in range(200))], {}, None),
  ([('a', 'b', 'y'), *((i, 7, i % 2) for i in range(200))], {}, None)])
def test_more_than_a_twentieth_is_a_warning(write, context, rows, settings, warning):
  Table(write(rows), 'y', task='classification', **settings).open(context)
  found = warnings(context)
  if warning is None:
    assert not found
  else:
    line, = found
    assert line.startswith(f'warning: data.csv: {warning}')
  assert context.kept['notes'] == lines_of(context)


def test_losses_of_another_file_are_warnings_too(write, context):
  rng = np.random.default_rng(0)

  def rows(scale, words):
    return [('a', 'w', 'y'), *((f'{scale * rng.normal():.3f}', words[i % len(words)],
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
    '  test: 100 rows, cleaned like those the run was fitted to']
  clipped, unseen = found[2:]
  assert clipped.startswith('warning: new.csv: clip_outliers: a (')
  assert unseen.startswith('warning: new.csv: one_hot: w (33 of 100, 33%): not in a c')
  test.open(context)
  assert len(lines_of(context)) == before + 4  # once


def test_lines_are_not_printed_again_when_a_run_is_resumed(write, context, tmp_path):
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
  (0, 1, None), (1_000_000, 1, None), (1_700_000_000, 1, '1700000000 to 1700000099'),
  (1_700_000_000, 10_000_000, None), (-1_700_000_000, 1, '-1700000000 to -1699999901'),
  (1e15, 1e9, None), (1e15, 1e8, '1e+15 to 1.0000099e+15'),
  (16_777_216, 0.25, '16777216 to 16777240.75'),
  (100_000, 0.001, '100000 to 100000.099'), (0.5, 0.001, None), (1e-30, 1e-32, None)])
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
    assert f'column {name!r} ranges from {said}: float32 rounds it by' in found[0]


def test_standardized_columns_are_not_rounded_much(write, context):
  rows = [(1_700_000_000 + i, i % 7) for i in range(100)]
  opened = Table(write([('a', 'y'), *rows]), 'y', task='regression', splits=WHOLE
                 ).open(context)
  assert not [line for line in lines_of(context) if 'float32 rounds' in line]
  assert len(np.unique(opened.load()['inputs'])) == 100
