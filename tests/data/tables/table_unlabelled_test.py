"""Tests of tables without a label."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.tables.table import Table
from tests.data.tables.rows import line_of, printing, refusal

CLEAN = (cleaning.drop_constant, cleaning.fill_missing, cleaning.one_hot,
         cleaning.standardize)


def rows(label):
  rng = np.random.default_rng(0)
  names = ['a', 'b', 'kind', *['y'] * label]
  return [names, *([f'{rng.normal():.4f}', '' if i == 3 else f'{i / 7:.3f}',
                    'uvw'[i % 3], *[i % 10 // 8] * label] for i in range(60))]


def test_without_a_label_all_columns_are_features(write, context):
  opened = Table(write(rows(False)), clean=CLEAN, splits={'train': 1.0}).open(context)
  assert opened.features == ('a', 'b', 'kind=u', 'kind=v', 'kind=w')
  assert [*opened.load()] == ['inputs'] and opened.length == 60
  assert (opened.classes, opened.target) == (None, None)
  assert line_of(context, 'label: none, all columns are features')
  assert opened.words(np.array([1]))[0].keys() == {'a', 'b', 'kind'}


def test_its_inputs_are_those_of_a_table_whose_label_is_apart(write, tmp_path):
  path = write(rows(True))
  labelled = Table(path, 'y', task='classification', clean=CLEAN, stratified=False)
  without = Table(path, drop='y', clean=CLEAN)
  for split in ('train', 'validation', 'test'):
    ours, theirs = (table.split(split).open(printing(tmp_path)).load()
                    for table in (without, labelled))
    np.testing.assert_array_equal(ours['inputs'], theirs['inputs'])


def test_new_rows_are_read_as_in_training(write, context):
  table = Table(write(rows(False)), clean=CLEAN, splits={'train': 1.0})
  opened = table.open(context)
  reader = table.reader(context)
  names, *body = rows(False)
  found = reader.columns(dict(zip(names, zip(*body, strict=True), strict=True)), {})
  np.testing.assert_allclose(found['inputs'], opened.load()['inputs'], rtol=1e-6)
  with pytest.raises(UserError, match='this run has no label that could be read'):
    reader.examples([], labels=True)


@pytest.mark.parametrize('settings, problem', [
  ({'task': 'classification'}, 'task: is for a label, which is not set'),
  ({'threshold': 'median'}, 'threshold: is for a label, which is not set'),
  ({'label': 'y'}, 'task: must be one of classification, regression, for the label'),
  ({'stratified': True}, 'stratified: needs classes in the file; not with task=None'),
])
def test_settings_of_a_label_need_one(settings, problem):
  with pytest.raises(UserError) as error:
    Table('x.csv', **settings)
  assert problem in str(error.value)


def test_constant_columns_are_dropped_and_one_must_be_left(write, context):
  path = write([('a', 'b'), *((1, 'x') for _ in range(20))])
  text = refusal(Table(path, clean=CLEAN, splits={'train': 1.0}, duplicates='keep'),
                 context)
  assert 'no feature columns are left' in text
