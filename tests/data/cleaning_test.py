import json
from functools import partial

import numpy as np
import pytest

from bigmodels.config import tree
from bigmodels.data import cleaning


def texts(*values):
  return np.array(values, object)


def fitted(entry, train, frame):
  """What a step makes of a frame, by parameters that went through JSON."""
  step = entry()
  parameters = json.loads(json.dumps(step.fit(train), allow_nan=False))
  after = step.apply(parameters, frame)
  return after, step.describe(parameters, frame, after)


def test_drop_duplicates_keeps_the_first_of_each_in_order():
  frame = {'a': np.array([2.0, 1.0, 2.0, np.nan, np.nan, 2.0]),
           'b': texts('x', 'x', 'x', '', '', 'y')}
  after, description = fitted(cleaning.drop_duplicates, frame, frame)
  np.testing.assert_array_equal(after['a'], [2, 1, np.nan, 2])
  assert after['b'].tolist() == ['x', 'x', '', 'y']
  assert description == '2 of 6 rows dropped, equal to an earlier one'
  assert cleaning.drop_duplicates().drops_rows


def test_drop_incomplete_drops_rows_with_any_missing_value():
  frame = {'a': np.array([1.0, np.nan, 3.0]), 'b': texts('x', 'y', '')}
  after, description = fitted(cleaning.drop_incomplete, frame, frame)
  assert after['a'].tolist() == [1.0] and after['b'].tolist() == ['x']
  assert description == '2 of 3 rows dropped, with a missing value'


def test_drop_constant_looks_at_the_training_rows_only():
  train = {'same': np.array([3.0, np.nan, 3.0]), 'none': np.full(3, np.nan),
           'word': texts('a', 'a', 'a'), 'sometimes': texts('a', '', 'a'),
           'varied': np.array([1.0, 2.0, 1.0])}
  rows = {name: column[:1] for name, column in train.items()}
  rows['same'] = np.array([7.0])
  after, description = fitted(cleaning.drop_constant, train, rows)
  assert list(after) == ['sometimes', 'varied']
  assert description == 'same, none, word dropped'


@pytest.fixture
def numbers():
  """Training and other rows of a random table with holes."""
  generator = np.random.default_rng(0)
  table = generator.lognormal(1.0, 0.7, (300, 4))
  table[generator.random(table.shape) < 0.1] = np.nan
  return table[:200], table[200:]


def columns(table):
  return {f'c{i}': column for i, column in enumerate(np.asarray(table).T)}


def matrix(frame):
  return np.stack(list(frame.values()), 1)


def test_fill_missing_numbers_as_scikit_learn(numbers):
  impute = pytest.importorskip('sklearn.impute')
  train, other = numbers
  after, _ = fitted(cleaning.fill_missing, columns(train), columns(other))
  expected = impute.SimpleImputer(strategy='median').fit(train).transform(other)
  assert np.isnan(other).any()
  np.testing.assert_array_equal(matrix(after), expected)


def test_fill_missing_texts_as_scikit_learn():
  impute = pytest.importorskip('sklearn.impute')
  column = texts('a', '', 'bb', 'a', '')
  after, description = fitted(cleaning.fill_missing, {'t': column}, {'t': column})
  expected = impute.SimpleImputer(
    missing_values='', strategy='constant', fill_value='missing').fit_transform(
      column[:, None])
  assert after['t'].tolist() == expected[:, 0].tolist()
  assert description == "2 values of t by the category 'missing'"


def test_fill_missing_tells_number_and_column():
  frame = {'bedrooms': np.array([400.0, np.nan, 470.0, np.nan])}
  _, description = fitted(cleaning.fill_missing, frame, frame)
  assert description == '2 values of bedrooms by the training median 435'


def test_one_hot_as_scikit_learn():
  preprocessing = pytest.importorskip('sklearn.preprocessing')
  generator = np.random.default_rng(1)
  table = generator.choice(['red', 'green', 'NEAR BAY', 'ä'], (80, 2)).astype(object)
  other = table[60:].copy()
  other[3, 0] = 'unseen'
  after, _ = fitted(cleaning.one_hot, columns(table[:60]), columns(other))
  encoder = preprocessing.OneHotEncoder(handle_unknown='ignore', sparse_output=False)
  expected = encoder.fit(table[:60]).transform(other)
  np.testing.assert_array_equal(matrix(after), expected)
  assert not matrix(after)[3, :4].any()
  assert list(after)[:2] == ['c0=NEAR BAY', 'c0=green']


def test_one_hot_drops_texts_with_too_many_values_and_says_so():
  frame = {'name': texts(*'abcdef'), 'kind': texts(*'xyxyxy'), 'n': np.arange(6.0)}
  after, description = fitted(partial(cleaning.one_hot, max_categories=5), frame, frame)
  assert list(after) == ['kind=x', 'kind=y', 'n']
  assert 'name DROPPED, since it has 6 values, more than 5' in description
  assert 'kind as 2 columns' in description


def test_standardize_as_scikit_learn(numbers):
  preprocessing = pytest.importorskip('sklearn.preprocessing')
  train, other = numbers
  after, _ = fitted(cleaning.standardize, columns(train), columns(other))
  expected = preprocessing.StandardScaler().fit(train).transform(other)
  np.testing.assert_allclose(matrix(after), expected, rtol=1e-12, atol=1e-12)


def test_robust_standardize_is_the_same_for_normal_numbers_and_resists_outliers():
  normal = {'a': np.random.default_rng(0).normal(5, 3, 200_000)}
  robust = partial(cleaning.standardize, robust=True)
  after, _ = fitted(robust, normal, normal)
  plain, _ = fitted(cleaning.standardize, normal, normal)
  np.testing.assert_allclose(after['a'], plain['a'], atol=0.03)
  train = {'a': np.array([0.0, 1.0, 2.0, 3.0, 1000.0])}
  after, description = fitted(robust, train, train)
  distance = (2 + 1 + 0 + 1 + 998) / 5 * np.sqrt(np.pi / 2)
  np.testing.assert_allclose(after['a'], (train['a'] - 2) / distance)
  assert 'a to median 0, mean distance 0.798 from it' in description


def test_standardize_leaves_flags_and_survives_constants():
  train = {'flag': np.array([0.0, 1.0, 0.0]), 'same': np.full(3, 0.1)}
  after, _ = fitted(cleaning.standardize, train, train)
  assert after['flag'].tolist() == [0, 1, 0]
  np.testing.assert_allclose(after['same'], 0, atol=1e-12)


def test_clip_outliers_limits_are_deviations_of_a_normal_distribution():
  train = {'a': np.random.default_rng(2).normal(10, 2, 200_000)}
  rows = {'a': np.array([-1e9, 10.0, 1e9, np.nan])}
  entry = partial(cleaning.clip_outliers, deviations=3)
  after, description = fitted(entry, train, rows)
  np.testing.assert_allclose(after['a'], [4, 10, 16, np.nan], atol=0.1)
  assert description.startswith('2 values of a to ')


def test_clip_outliers_leaves_a_column_whose_quartiles_are_equal():
  frame = {'mostly zero': np.array([0.0] * 9 + [50.0])}
  after, description = fitted(cleaning.clip_outliers, frame, frame)
  assert after['mostly zero'].max() == 50
  assert description == 'nothing'


def test_log_skewed_takes_only_long_tails():
  generator = np.random.default_rng(3)
  train = {'tail': generator.lognormal(3, 1, 500), 'normal': generator.normal(size=500),
           'signed': generator.lognormal(0, 1, 500) - 1,
           'flag': (generator.random(500) < 0.05).astype(float)}
  after, description = fitted(cleaning.log_skewed, train, train)
  assert description == 'tail'
  median = np.median(train['tail'])
  np.testing.assert_allclose(after['tail'], np.log(1 + train['tail'] / median))
  for name in ('normal', 'signed', 'flag'):
    np.testing.assert_array_equal(after[name], train[name])
  beyond, _ = fitted(cleaning.log_skewed, train,
                     {n: np.array([-5 * median]) for n in train})
  np.testing.assert_allclose(beyond['tail'], -np.log(6))


@pytest.mark.parametrize('entry', [
  cleaning.drop_constant, cleaning.fill_missing, cleaning.log_skewed,
  cleaning.clip_outliers, cleaning.one_hot, cleaning.standardize])
def test_steps_do_not_write_to_their_input(entry):
  frame = {'a': np.array([1.0, 2.0, np.nan, 90.0, 3.0]),
           'b': texts('x', '', 'y', 'x', '')}
  for column in frame.values():
    column.flags.writeable = False
  fitted(entry, frame, frame)  # NumPy would raise


def test_steps_print_by_name_in_a_resolved_experiment():
  entries = (cleaning.drop_duplicates, partial(cleaning.clip_outliers, deviations=3.0))
  assert dict(tree.describe(entries, 'clean')) == {
    'clean.0': 'bigmodels.data.cleaning.drop_duplicates',
    'clean.1': 'bigmodels.data.cleaning.clip_outliers',
    'clean.1.deviations': '3.0'}
