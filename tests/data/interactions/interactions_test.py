"""Tests of data.Interactions: splits, what is printed, and what is refused."""

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.interactions import catalog as catalogs
from tests.data.given import context
from tests.data.interactions.written import drawn, opened, write

UNSORTED = ('user,item,rating,time\n'
            'b,x,1,30\na,x,5,3\na,y,4,1\nb,y,2,10\na,z,3,2\nb,z,3,20\nc,x,2,1\n')
EACH = ('train', 'validation', 'test')


def pairs(path, split, **settings):
  columns, catalog = opened(path, split, **settings)
  return [(catalog.users[u], catalog.items[i]) for u, i in zip(
    columns['users'], columns['items'], strict=True)]


def test_the_last_by_time_is_the_test_whatever_the_order_of_the_file(tmp_path):
  path, said = write(tmp_path, UNSORTED), []
  assert pairs(path, 'train', time='time') == [('a', 'y'), ('b', 'y'), ('c', 'x')]
  assert pairs(path, 'validation', time='time') == [('a', 'z'), ('b', 'z')]
  assert pairs(path, 'test', time='time') == [('a', 'x'), ('b', 'x')]
  opened(path, time='time', said=said)
  assert any('1 users with fewer than 3 interactions are only trained on' in line
             for line in said)


def test_without_times_the_order_is_that_of_the_file(tmp_path):
  path, said = write(tmp_path, UNSORTED), []
  assert pairs(path, 'test') == [('a', 'z'), ('b', 'z')]
  opened(path, said=said)
  assert any('no time is set' in line for line in said)


def test_dates_are_times_and_equal_ones_are_told(tmp_path):
  path = write(tmp_path, 'user,item,when\na,x,2024-03-01\na,y,2024-01-01\n'
               'a,z,2024-03-01\n')
  said = []
  assert pairs(path, 'test', time='when') == [('a', 'z')]
  opened(path, time='when', said=said)
  assert any('1 users have equal times among their last' in line for line in said)


def test_names_are_text_and_sorted_as_numbers_if_all_are(tmp_path):
  path = write(tmp_path, 'user,item\n10,007\n9,7\n10,NA\n', 'a.csv')
  _, catalog = opened(path, splits={'train': 1.0})
  assert catalog.users == ('9', '10') and catalog.items == ('007', '7', 'NA')


def test_long_numbers_are_names_in_order(tmp_path):
  """Beyond 64 bits, and beyond what Python converts."""
  names = ['3', '0012', '12', str(2**64), str(2**64 + 1), '9' * 5000]
  path = write(tmp_path, 'user,item\n' + ''.join(f'{n},x\n' for n in names[::-1]))
  columns, catalog = opened(path, splits={'train': 1.0})
  assert catalog.users == tuple(names)
  assert columns['users'].tolist() == [0, 1, 2, 3, 4, 5]


def test_ties_are_of_what_is_left(tmp_path):
  """The repeat at time 2 is dropped, and with it the only tie."""
  path = write(tmp_path, 'user,item,t\na,w,1\na,x,2\na,y,2\na,x,3\n')
  said = []
  opened(path, time='t', said=said)
  assert any('1 of 4 interactions are repeated' in line for line in said)
  assert not any('equal times' in line for line in said)
  opened(path, time='t', said=said, duplicates='keep')
  assert any('1 users have equal times' in line for line in said)


def test_kept_repeats_across_splits_are_told(tmp_path):
  path, said = write(tmp_path, 'user,item\na,x\na,y\na,z\na,x\n'), []
  opened(path, 'test', said, duplicates='keep')
  assert any('test: 1 of 1 interactions are with an item that the user has in train'
             in line for line in said)


def test_seen_is_the_split_before(tmp_path):
  path = drawn(tmp_path)
  found = [set(opened(path, split, time='time')[0]['seen'].tolist()) for split in EACH]
  assert found == [{0}, {0}, {1}]


def test_a_header_of_names_and_another_file_to_test(tmp_path):
  train = write(tmp_path, '1\t5\t3\t10\n2\t5\t4\t11\n2\t6\t1\t9\n', 'u.base')
  test = write(tmp_path, '1\t6\t5\t12\n3\t7\t2\t13\n', 'u.test')
  settings = {'rating': 'rating', 'time': 'time', 'test': test, 'scale': (1, 5),
              'splits': {'train': 1.0}, 'delimiter': 'tab',
              'header': ('user', 'item', 'rating', 'time')}
  said = []
  columns, catalog = opened(train, 'test', said, **settings)
  assert catalog.users == ('1', '2', '3') and catalog.items == ('5', '6', '7')
  assert columns['users'].tolist() == [0, 2] and columns['items'].tolist() == [1, 2]
  # What has no rating in training is known by name only.
  users, items = catalog.trained
  assert users.tolist() == [True, True, False] == items.tolist()
  assert columns['labels'].tolist() == [5, 2]
  assert any('1 of 2 interactions are with users that train does' in s for s in said)
  assert len(opened(train, **settings)[0]['users']) == 3
  bad = write(tmp_path, '1\t5\t3\t10\n2\t5\tx\t11\n', 'bad.base')
  with pytest.raises(UserError, match=r"line 2, column 'rating'.*'x'"):
    opened(bad, **{**settings, 'test': None})


def test_fractions_are_of_interactions_and_disjoint(tmp_path):
  path = drawn(tmp_path)
  splits = {'train': 0.8, 'validation': 0.1, 'test': 0.1}
  found = [pairs(path, split, splits=splits) for split in EACH]
  assert [len(x) for x in found] == [320, 40, 40]
  assert len({pair for x in found for pair in x}) == 400


def test_a_column_names_the_splits(tmp_path):
  path = write(tmp_path, 'user,item,set\na,x,train\na,y,val\nb,x,train\nb,y,test\n')
  assert pairs(path, 'validation', splits='set') == [('a', 'y')]
  assert pairs(path, 'test', splits='set') == [('b', 'y')]
  with pytest.raises(UserError, match="has the split 'extra'; must be one of train"):
    opened(write(tmp_path, 'user,item,set\na,x,train\na,y,extra\n', 'b.csv'),
           splits='set')


def test_repeats_keep_the_last_and_are_told(tmp_path):
  path = write(tmp_path, 'user,item,rating,time\na,x,1,1\na,y,4,2\na,x,5,3\nb,y,2,1\n')
  said, settings = [], {'rating': 'rating', 'time': 'time', 'splits': {'train': 1.0}}
  columns, _ = opened(path, said=said, **settings)
  assert columns['labels'].tolist() == [4, 5, 2]
  assert any('1 of 4 interactions are repeated later' in line for line in said)
  assert len(opened(path, duplicates='keep', **settings)[0]['labels']) == 4


def test_repeats_across_files_are_refused(tmp_path):
  train = write(tmp_path, 'user,item\na,x\na,y\nb,x\n', 'a.csv')
  test = write(tmp_path, 'user,item\na,x\nb,y\n', 'b.csv')
  settings = {'test': test, 'splits': {'train': 1.0}}
  with pytest.raises(UserError, match=r'1 interactions are in two splits, such as that '
                     r"of user 'a' with item 'x' in line 2 of a.csv and line 2 of b"):
    opened(train, **settings)
  assert len(opened(train, duplicates='last', **settings)[0]['users']) == 2


def test_low_ratings_are_no_interactions(tmp_path):
  path, said = drawn(tmp_path), []
  columns, _ = opened(path, said=said, rating='rating', min_rating=4,
                      splits={'train': 1.0})
  assert 'labels' not in columns
  kept = len(columns['users'])
  assert any(f'{400 - kept:,} of 400 interactions with a rating below 4' in line
             for line in said) and 0 < kept < 400
  # No rating is learned, so that all that are left may be equal.
  assert len(opened(path, rating='rating', min_rating=5,
                    splits={'train': 1.0})[0]['users'])


REFUSED = [
  ('user,item\n', {}, 'the file has a header and no rows'),
  ('', {}, 'the file is empty'),
  ('user,film\na,x\n', {}, "item: no column 'item'"),
  ('user,item\na,x\n', {'time': 'tme'}, "time: no column 'tme'"),
  ('user,item\na,x\n,y\n', {}, "line 3, column 'user': has no value"),
  ('user,item,r\na,x,good\n', {'rating': 'r'}, "line 2, column 'r'.*'good'"),
  *((f'user,item,r\na,x,3\na,y,{value}\n', {'rating': 'r'},
     "line 3, column 'r': has no finite float32 number; 1 rows")
    for value in ('', 'nan', 'inf', '1e300')),
  ('user,item,t\na,x,3\na,y,inf\n', {'time': 't'},
   "line 3, column 't': 'inf' is not a number, as '3' in line 2 is"),
  ('user,item,r\na,x,3\na,y,9\n', {'rating': 'r', 'scale': (1, 5)},
   "line 3, column 'r': the rating 9 is not on the scale 1 to 5; scale="),
  ('user,item,r\na,x,3\na,y,3\n', {'rating': 'r'}, 'every rating of the training'),
  ('user,item,t\na,x,2024-01-01\na,y,soon\n', {'time': 't'},
   "line 3, column 't': 'soon' is"),
  ('user,item\na,x\nb,y\n', {'splits': 'leave_last_out'}, 'no user has >= 3 inter'),
  ('user,item,r\na,x,3\n', {'rating': 'r', 'min_rating': 4},
   'min_rating: no r is >= 4'),
]


@pytest.mark.parametrize(('text', 'settings', 'message'), REFUSED,
                         ids=[f'{case[2][:24]} {i}' for i, case in enumerate(REFUSED)])
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path, text, settings,
                                                       message):
  path = write(tmp_path, text)
  with pytest.raises(UserError, match=message):
    opened(path, **{'splits': {'train': 1.0}, **settings})


@pytest.mark.parametrize(('settings', 'message'), [
  ({'item': 'user'}, "must be different columns, got 'user' twice"),
  ({'min_rating': 3}, 'min_rating: is for ratings'),
  ({'scale': (1, 5)}, 'scale: is for ratings'),
  ({'scale': (5, 1), 'rating': 'rating'}, 'scale: must be'),
  ({'splits': {'train': 0.5, 'tset': 0.5}}, "no split 'tset'"),
  ({'splits': {'train': 0.5}}, 'must add up to 1'),
  ({'test': 'b.csv'}, 'test: splits must be fractions'),
  ({'duplicates': 'first'}, 'duplicates: must be')])
def test_settings_that_contradict_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    data.Interactions('a.csv', **settings)


def test_a_split_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(UserError, match="no split 'validation'"):
    opened(drawn(tmp_path), 'validation', splits={'train': 0.5, 'test': 0.5})


def test_a_run_keeps_everything_that_recommending_needs(tmp_path):
  """As JSON; and a split provides it without the files."""
  import json

  found = context()
  source = data.Interactions(drawn(tmp_path), rating='rating', time='time')
  dataset = source.open(found)
  kept = json.loads(json.dumps(found.kept))
  (tmp_path / 'events.csv').unlink()
  one, other = dataset.provides['catalog'](), source.recorded(kept)['catalog']()
  for name, value in one._asdict().items():
    if isinstance(value, np.ndarray):
      np.testing.assert_array_equal(getattr(other, name), value)
    elif name not in ('biases', 'features'):
      assert getattr(other, name) == value
  np.testing.assert_array_equal(other.biases['users'], one.biases['users'])


def test_other_data_than_that_of_the_run_has_another_identity(tmp_path):
  source = data.Interactions(drawn(tmp_path), time='time')
  before = source.open(context()).identity
  drawn(tmp_path, seed=1)
  assert source.open(context()).identity != before


def test_features_are_standardized_or_categories(tmp_path):
  path = write(tmp_path, 'user,item\na,x\na,y\nb,x\nc,y\n')
  table = write(tmp_path, 'user,age,sex\nc,30,m\na,10,f\nz,20,m\n', 'users.csv')
  said = []
  _, catalog = opened(path, said=said, splits={'train': 1.0},
                      user_features=data.Features(table, 'user'))
  ages = catalog.features['user_numbers'][:, 0]
  np.testing.assert_allclose(ages, np.array([10 - 20, 0, 30 - 20]) / np.std(
    [30, 10, 20]), rtol=1e-6)  # b has no row
  assert catalog.features['user_categories'][:, 0].tolist() == [1, 0, 2]
  assert catalog.num_categories == 3
  assert any('1 of 3 have no row' in line for line in said)


def test_missing_and_infinite_features_are_counted(tmp_path):
  path, said = write(tmp_path, 'user,item\na,x\nb,x\nc,y\n'), []
  table = write(tmp_path, 'user,age,sex\na,30,m\nb,inf,\nc,10,f\n', 'users.csv')
  _, catalog = opened(path, said=said, splits={'train': 1.0},
                      user_features=data.Features(table, 'user'))
  assert catalog.features['user_numbers'][:, 0].tolist() == [1, 0, -1]
  assert catalog.features['user_categories'][:, 0].tolist() == [2, 0, 1]
  assert any('infinite or too large for float32: age (1)' in line for line in said)
  assert any('age (number, 1 missing), sex (2 categories, 1 missing)' in line
             for line in said)


@pytest.mark.parametrize(('text', 'columns', 'message'), [
  ('user,age\na,1\na,2\n', (), "line 3: user 'a' has two rows"),
  ('user,age\na,1\n,2\n', (), "line 3, column 'user': has no value"),
  ('user\na\n', (), "has no column beside 'user'"),
  ('user,age\na,1\n', 'age,user', "'user' is the id, which is no feature"),
  ('user,age\nA,1\n', (), "they have such as 'a', this 'A'")])
def test_tables_that_do_not_fit_are_refused(tmp_path, text, columns, message):
  path = write(tmp_path, 'user,item\na,x\nb,x\n')
  table = data.Features(write(tmp_path, text, 'users.csv'), 'user', columns)
  with pytest.raises(UserError, match=f'user_features: users.csv: .*{message}'):
    opened(path, splits={'train': 1.0}, user_features=table)


def test_biases_are_the_ridge_regression_on_indicators():
  """The closed form: least squares with a penalty of 5 for each bias."""
  rng = np.random.default_rng(0)
  user, item = rng.integers(0, 7, 200), rng.integers(0, 9, 200)
  rating = rng.integers(1, 6, 200).astype(np.float32)
  found = catalogs.fit_biases(user, item, rating, (7, 9))
  design = np.zeros((200, 16))
  design[np.arange(200), user] = design[np.arange(200), 7 + item] = 1
  exact = np.linalg.solve(design.T @ design + 5 * np.eye(16),
                          design.T @ (rating - rating.mean()))
  np.testing.assert_allclose(found['users'], exact[:7], atol=1e-4)
  np.testing.assert_allclose(found['items'], exact[7:], atol=1e-4)
