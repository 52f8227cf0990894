"""Tests of the reader of users to recommend to."""

import pathlib

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from tests.data.given import context
from tests.data.interactions.written import drawn, write


def reader_of(source):
  found = context()
  source.open(found)
  return source.reader(found)


def examples(reader, path, first=0):
  return [*reader.examples([pathlib.Path(path)], labels=False).chunks(first)]


@pytest.fixture
def path(tmp_path):
  return drawn(tmp_path)


def test_users_are_numbers_and_unknown_ones_are_told(tmp_path, path):
  source = data.Interactions(path, time='time')
  reader = reader_of(source)
  file = write(tmp_path, 'user,note\nu3,x\nnobody,y\nu10,z\n', 'who.csv')
  chunk, = examples(reader, file)
  names = reader.catalog.users
  assert [names[i] for i in chunk.columns['users'][[0, 2]]] == ['u3', 'u10']
  assert chunk.faults == {1: "the run does not know the user 'nobody'"}
  assert chunk.extra == {'user': ['u3', 'nobody', 'u10']}
  assert (chunk.columns['seen'] == 3).all() and (chunk.columns['items'] == -2).all()


def test_pairs_are_read_for_ratings(tmp_path, path):
  reader = reader_of(data.Interactions(path, rating='rating', time='time'))
  file = write(tmp_path, 'item,user\ni3,u1\ni99,u2\n', 'who.csv')
  chunk, = examples(reader, file)
  assert reader.catalog.items[chunk.columns['items'][0]] == 'i3'
  assert chunk.faults == {1: "the run does not know the item 'i99'"}
  columns = reader.columns({'user': ['u1'], 'item': ['i3']}, {})
  assert columns['items'].tolist() == chunk.columns['items'][:1].tolist()


def test_a_user_without_training_has_no_prediction(tmp_path):
  path = write(tmp_path, 'user,item,set\na,x,train\na,y,train\nb,x,test\n')
  reader = reader_of(data.Interactions(path, splits='set'))
  chunk, = examples(reader, write(tmp_path, 'user\na\nb\n', 'who.csv'))
  assert chunk.faults == {1: "the user 'b' has no interaction in training"}


def test_histories_have_all_that_a_user_got(tmp_path, path):
  reader = reader_of(data.Histories(data.Interactions(path, time='time'), 4))
  columns = reader.columns(['u5'], {})
  catalog = reader.catalog
  items = catalog.item[catalog.user == columns['users'][0, 0]]
  assert columns['inputs'][0].tolist() == items[-4:].tolist()
  assert columns['segments'][0].tolist() == [1] * 4


def test_a_user_without_an_interaction_has_no_history(tmp_path):
  path = write(tmp_path, 'user,item,r\n' + ''.join(
    f'a,{item},5\n' for item in 'wxyz') + 'b,w,1\n')
  reader = reader_of(data.Histories(
    data.Interactions(path, rating='r', min_rating=4), 4))
  with pytest.raises(UserError, match="row 1: the user 'b' has no interaction in"):
    reader.columns(['a', 'b'], {})


def test_words_for_missing_values_are_names(tmp_path):
  """As they are in training."""
  path = write(tmp_path, 'user,item\n' + ''.join(
    f'{user},{item}\n' for user in ('NA', 'null') for item in 'wxyz'))
  file = write(tmp_path, 'user\nnull\nNA\n', 'who.csv')
  for source in (data.Interactions(path), data.Histories(data.Interactions(path), 4)):
    chunk, = examples(reader_of(source), file)
    assert not chunk.faults and chunk.extra == {'user': ['null', 'NA']}


def test_files_are_all_of_pairs_or_all_of_users(tmp_path, path):
  reader = reader_of(data.Interactions(path, rating='rating', time='time'))
  pairs = pathlib.Path(write(tmp_path, 'user,item\nu1,i1\n', 'pairs.csv'))
  users = pathlib.Path(write(tmp_path, 'user\nu1\n', 'users.csv'))
  for files in ([pairs, users], [users, pairs]):
    with pytest.raises(UserError, match=r"users.csv: no column 'item', which .*pa"):
      reader.examples(files, labels=False)


@pytest.mark.parametrize(('text', 'message'), [
  ('usr\nu1\n', "no column 'user'"), ('', 'the file is empty'),
  ('user\n', 'a header and no rows')])
def test_files_without_users_are_refused(tmp_path, path, text, message):
  reader = reader_of(data.Interactions(path, time='time'))
  with pytest.raises(UserError, match=message):
    examples(reader, write(tmp_path, text, 'who.csv'))


def test_values_that_are_no_users_are_refused(path):
  reader = reader_of(data.Interactions(path, time='time'))
  assert reader.takes(['u1']) and not reader.takes(np.zeros(3))
  with pytest.raises(UserError, match="row 1: the run does not know the user 'x'"):
    reader.columns(['u1', 'x'], {})
  with pytest.raises(UserError, match="reads names of users, or a mapping with 'user'"):
    reader.columns({'usr': ['u1']}, {})
  pairs = reader_of(data.Interactions(path, rating='rating', time='time'))
  with pytest.raises(UserError, match="'user' and 'item': must have as many names, got "
                     '2 and 1'):
    pairs.columns({'user': ['u1', 'u2'], 'item': ['i1']}, {})
  with pytest.raises(UserError, match="a mapping with 'user' and 'item', got"):
    pairs.columns({'user': ['u1'], 'itm': ['i1']}, {})
  assert pairs.columns({'user': 'u1', 'item': 'i1'}, {})['items'].shape == (1,)
  with pytest.raises(UserError, match='evaluated on its own splits only'):
    reader.examples([pathlib.Path(path)], labels=True)
