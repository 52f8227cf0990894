"""Tests of bigmodels.data.sources."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import (
  DataContext,
  Dataset,
  canonical,
  check_fractions,
  held_out,
  in_memory,
  intact,
  renamed_splits,
  zeros,
)


@pytest.mark.parametrize('splits', [
  {'train': 0.8, 'test': 0.2},
  {'train': 0.7, 'validation': 0.1, 'test': 0.2},
  {name: 1 / 7 for name in 'abcdefg'},
])
@pytest.mark.parametrize('length', [10, 97, 1000])
def test_held_out_splits_are_disjoint_and_cover_all(length, splits):
  parts = {name: held_out(length, name, splits) for name in splits}
  np.testing.assert_array_equal(
    np.sort(np.concatenate(list(parts.values()))), np.arange(length))
  for name, fraction in splits.items():
    assert len(parts[name]) == pytest.approx(fraction * length, abs=1)


def test_held_out_rows_are_random_but_fixed():
  splits = {'train': 0.5, 'test': 0.5}
  rows = held_out(1000, 'test', splits)
  np.random.seed(1)
  np.testing.assert_array_equal(rows, held_out(1000, 'test', splits))
  assert 200 < np.sum(rows < 500) < 300  # 3 deviations of 250
  assert 200 < np.sum(rows % 2) < 300


def test_held_out_rows_are_known():
  """They must be the same on every machine and for every release."""
  order = np.argsort(np.random.Philox(key=20).random_raw(20))
  np.testing.assert_array_equal(
    held_out(20, 'test', {'train': 0.8, 'test': 0.2}), np.sort(order[16:]))


def test_held_out_refuses():
  with pytest.raises(UserError, match="no split 'tset'; did you mean 'test'"):
    held_out(10, 'tset', {'train': 0.8, 'test': 0.2})
  with pytest.raises(UserError, match="'test' of 2 rows is empty"):
    held_out(2, 'test', {'train': 0.9, 'test': 0.1})


@pytest.mark.parametrize(('splits', 'said'), [
  ({'train': 0.8, 'test': 0.1}, 'the fractions must add up to 1, got 0.9'),
  ({'train': 1.2, 'test': -0.2}, "the fraction of 'train' must be > 0 and <= 1, got 1"),
  ({'train': 1.0, 'test': 0}, "the fraction of 'test' must be > 0 and <= 1, got 0"),
  ({'train': 'a'}, "the fraction of 'train' must be > 0 and <= 1, got 'a'"),
  ({}, 'the fractions must add up to 1, got 0')])
def test_fractions_that_are_refused(splits, said):
  with pytest.raises(UserError, match=f'splits: {said}'):
    check_fractions(splits)
  if splits:
    with pytest.raises(UserError, match=f'splits: {said}'):
      held_out(10, 'train', splits)


def test_other_names_of_splits():
  names = ['val', 'Valid', 'dev', 'train', ' Testing', 'fold 2 ']
  assert [*map(canonical, names)] == [
    'validation', 'validation', 'validation', 'train', 'test', 'fold 2']
  assert renamed_splits(['train', 'val', 'val'], 'the folder') == [
    'the folder val is the split validation']


def test_the_numbers_of_groups_are_only_names():
  """Hashes of text differ from process to process; the splits must not."""
  rng = np.random.default_rng(0)
  groups, names = rng.integers(0, 300, 1000), rng.permutation(300)
  splits = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
  for name in splits:
    rows = held_out(1000, name, splits, groups)
    np.testing.assert_array_equal(rows, held_out(1000, name, splits, names[groups]))


def test_identity_changes_with_values_rows_and_names():
  base = {'inputs': np.arange(6.0).reshape(3, 2), 'labels': np.arange(3)}
  changed = base['inputs'].copy()
  changed[2, 1] = np.nextafter(5.0, 6.0)
  others = [base, base | {'inputs': changed}, base | {'labels': np.array([0, 2, 1])},
            {k: v[:2] for k, v in base.items()},
            {'inputs': base['inputs'], 'targets': base['labels']}]
  assert len({in_memory(columns, None).identity for columns in others}) == len(others)
  same = {k: np.asfortranarray(base[k].copy()) for k in ('labels', 'inputs')}
  assert in_memory(same, None).identity == in_memory(base, None).identity


@pytest.mark.parametrize(('columns', 'problem'), [
  ({'inputs': np.zeros((0, 3))}, r'inputs: must be numbers, in at least one row, got '
   r'float64 \(0, 3\)'),
  ({'inputs': np.array(['a', 'b'])}, r'inputs: must be numbers, .*, got <U1 \(2,\)'),
  ({'inputs': np.array([None, 1])}, r'inputs: must be numbers, .*, got object \(2,\)'),
  ({'inputs': np.ones(2), 'mask': np.ones(2)}, "columns: 'mask' is reserved, as are "),
  ({'rows': np.ones(2)}, "columns: 'rows' is reserved"),
  ({}, 'a dataset needs at least one column'),
  ({'a': np.ones(2), 'b': np.ones(3)}, 'columns differ in length: a 2, b 3')])
def test_columns_that_cannot_be_batched(columns, problem):
  with pytest.raises(ValueError, match=problem):
    in_memory(columns, None)


def test_what_is_kept_is_fitted_once():
  context = DataContext(None, None, {'old': 1})
  assert context.keep('old', lambda: 2) == 1
  assert [context.keep('new', lambda v=v: v) for v in (3, 4)] == [3, 3]
  assert context.kept == {'old': 1, 'new': 3}


@pytest.mark.parametrize('columns, message', [
  ({}, 'a dataset needs at least one column'),
  ({'user': np.arange(3), 'item': np.arange(2)}, 'in length: user 3, item 2'),
])
def test_columns_that_are_no_dataset(columns, message):
  with pytest.raises(ValueError, match=message):
    in_memory(columns, None)


def test_any_columns_are_a_dataset():
  columns = {'user': np.arange(5), 'corrupt': np.arange(5) % 3 == 1}
  data = in_memory(columns, None)
  assert data.length == 5 and data.identity.startswith('5 rows, crc32 ')
  np.testing.assert_array_equal(data.read(np.array([4, 0]))['user'], [4, 0])
  np.testing.assert_array_equal(intact(columns), [0, 2, 3])
  np.testing.assert_array_equal(intact({'user': np.arange(5)}), range(5))


def test_zeros_have_any_columns():
  data = zeros({'user': ('int32', ()), 'seen': ('uint8', (4,))}, 7, None, 'nothing')
  columns = data.load()
  assert {name: (x.dtype, x.shape) for name, x in columns.items()} == {
    'user': (np.int32, (7,)), 'seen': (np.uint8, (7, 4))}
  assert data.read(np.arange(2))['seen'].shape == (2, 4) and data.shapes_only


def test_a_dataset_has_the_tokenizer_that_it_provides():
  data = in_memory({'inputs': np.arange(3)}, None)
  assert data.provides == {} and data.tokenizer is None
  data = data._replace(provides={'tokenizer': lambda: 'a tokenizer'})
  assert isinstance(data, Dataset) and data.tokenizer == 'a tokenizer'
