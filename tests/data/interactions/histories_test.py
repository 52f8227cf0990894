"""Tests of data.Histories: what is predicted from what."""

import pathlib

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.sources import Dataset
from tests.data.given import context
from tests.data.interactions.written import drawn, write

EACH = ('train', 'validation', 'test')


def read(path, length, split='train', **settings) -> Dataset:
  source = data.Histories(data.Interactions(path, **settings), length)
  return source.split(split).open(context())


def sequences(path):
  """The items of each user by time, by a plain loop over the lines."""
  found = {}
  for line in pathlib.Path(path).read_text().splitlines()[1:]:
    user, item, _, time = line.split(',')
    found.setdefault(user, []).append((int(time), item))
  return {user: [item for _, item in sorted(events)] for user, events in found.items()}


@pytest.mark.parametrize('length', [3, 8, 50])
def test_each_item_of_training_is_predicted_once_from_those_before_it(tmp_path, length):
  path = drawn(tmp_path)
  dataset = read(path, length, time='time')
  columns, catalog = dataset.load(), dataset.provides['catalog']()
  found = {}
  for row in range(dataset.length):
    segments = columns['segments'][row]
    for number in range(1, segments.max() + 1):
      at = segments == number
      user, = {*columns['users'][row][at].tolist()}
      items = [*columns['inputs'][row][at].tolist(), columns['labels'][row][at][-1]]
      # A label is the next input.
      assert columns['labels'][row][at][:-1].tolist() == items[1:-1]
      assert catalog.users[user] not in found
      found[catalog.users[user]] = [catalog.items[item] for item in items]
    assert (np.diff(np.flatnonzero(segments)) == 1).all()
  expected = {user: items[:-2][-length - 1 :]
              for user, items in sequences(path).items()}
  assert found == {user: items for user, items in expected.items() if len(items) > 1}


def test_rows_have_little_padding(tmp_path):
  columns = read(drawn(tmp_path, users=200, count=2000), 20, time='time').load()
  assert (columns['segments'] > 0).mean() > 0.95


@pytest.mark.parametrize(('split', 'after'), [('validation', -2), ('test', -1)])
def test_an_evaluation_knows_all_that_came_before(tmp_path, split, after):
  path = drawn(tmp_path)
  dataset = read(path, 6, split, time='time')
  columns, catalog = dataset.load(), dataset.provides['catalog']()
  known = sequences(path)
  assert dataset.length == sum(len(items) > 2 for items in known.values())
  for row in range(dataset.length):
    user, = {*columns['users'][row].tolist()}
    items = known[catalog.users[user]]
    there = columns['segments'][row] > 0
    assert [catalog.items[i] for i in columns['inputs'][row][there]] == (
      items[:after][-6:])
    assert [catalog.items[i] for i in columns['labels'][row][there]] == (
      items[: len(items) + after + 1][-there.sum():])
    assert columns['seen'][row] == (split == 'test')


def test_repeats_are_kept_if_set(tmp_path):
  path = write(tmp_path, 'user,item\na,x\na,y\na,x\na,x\n')
  found = read(path, 5, 'test', duplicates='keep').load()
  assert found['labels'].tolist() == [[1, 0, 0, 0, 0]]
  assert found['inputs'].tolist() == [[0, 1, 0, 0, 0]]
  found = read(path, 5, duplicates='keep').load()
  assert found['inputs'][0].tolist() == [0, 0, 0, 0, 0]
  assert found['labels'][0].tolist() == [1, 0, 0, 0, 0]


def test_splits_without_time_are_refused():
  with pytest.raises(UserError, match='needs splits that follow in time'):
    data.Histories(data.Interactions('a.csv', splits={'train': 1.0}), 5)
  with pytest.raises(ValueError, match='length: must be >= 1, got 0'):
    data.Histories(data.Interactions('a.csv'), 0)


def test_users_with_one_item_to_train_on_are_no_rows(tmp_path):
  path = write(tmp_path, 'user,item\n' + ''.join(
    f'{user},{item}\n' for user in 'ab' for item in 'xyz'))
  with pytest.raises(UserError, match='no user has two items to train on'):
    read(path, 5)
