"""Tests of data.Pairs: the pairs of a file, those that are drawn, what is refused."""

import collections

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.pairs import drawn
from tests.data.folders.written import context, write

PEOPLE = {'Ada': 4, 'Bo': 3, 'Cy': 1, 'Di': 2}


@pytest.fixture
def people(tmp_path):
  """Pictures of people, all of them for the test; name -> pixels."""
  return write(tmp_path / 'people', [
    f'{split}/{name}{"x" * (split == "train")}/{i}.png' for split in ('test', 'train')
    for name, count in PEOPLE.items() for i in range(count)])


def faces(tmp_path):
  return data.ImageFolder(str(tmp_path / 'people'), divide='classes', selected='test')


def listed(tmp_path, *lines, header='a,b,same'):
  path = tmp_path / 'pairs.csv'
  path.write_text('\n'.join([header, *lines]))
  return str(path)


def named(dataset):
  """The pairs, by the names of the files."""
  partners = dataset.load()['partners']
  names = [each['file'] for each in dataset.words(np.arange(dataset.length))]
  return {(names[row], names[other]) for row, each in enumerate(partners)
          for other in each[each >= 0]}


def test_pairs_are_those_of_the_file(tmp_path, people):
  pairs = [(f'test/{a}.png', f'test/{b}.png', same) for a, b, same in (
    ('Ada/0', 'Ada/3', 1), ('Di/1', 'Cy/0', 0), ('Ada/0', 'Bo/2', 0),
    ('Bo/0', 'Bo/1', 1))]
  asked = context(tmp_path)
  found = data.Pairs(faces(tmp_path), listed(
    tmp_path, *(f'{a},{b},{same}' for a, b, same in pairs))).open(asked)
  assert named(found) == {(a, b) for a, b, _ in pairs}
  assert found.classes is None and found.length == 10
  columns = found.load()
  assert (np.diff(columns['labels']) >= 0).all()  # sorted by person
  for row, each in enumerate(found.words(np.arange(10))):
    assert each['identity'] == each['file'].split('/')[1]
    assert [*PEOPLE][columns['labels'][row]] == each['identity']
    np.testing.assert_array_equal(columns['inputs'][row], people[each['file']])
  for name, array in found.read(np.array([7, 2])).items():
    np.testing.assert_array_equal(array, columns[name][[7, 2]])
  assert '4 pairs, 2 of them of one identity, of 10 examples of 4' in asked.said
  fewer = data.Pairs(faces(tmp_path), listed(tmp_path, 'test/Di/1.png,test/Cy/0.png,0'))
  assert fewer.open(context(tmp_path)).identity != found.identity


@pytest.mark.parametrize(('line', 'message'), [
  ('test/Ada/0.png,test/Ada/9.png,1', "1 names are of no file of this split, such as "
   r"'test/Ada/9.png' \(line 2\); did you mean 'test/Ada/"),
  ('test/Ada/0.png,train/Adax/0.png,0', 'of no file of this split, such as .train/'),
  ('test/Ada/0.png,test/Bo/0.png,1', 'line 2: .* are the same, but by their labels '
   'different: Ada and Bo'),
  ('test/Ada/0.png,test/Ada/1.png,0', 'are different, but by their labels the same: '
   'Ada'),
  ('test/Ada/0.png,test/Ada/0.png,1', 'line 2: test/Ada/0.png is paired with itself'),
  ('test/Ada/0.png,test/Ada/1.png,maybe', "line 2: same must be 1 or 0, got 'maybe'"),
  ('test/Ada/0.png,1', 'line 2 has 2 values, the header has 3')])
def test_rows_that_are_refused(tmp_path, people, line, message):
  source = data.Pairs(faces(tmp_path), listed(tmp_path, line))
  with pytest.raises(UserError, match=message):
    source.open(context(tmp_path))


def test_how_a_file_is_read_is_told(tmp_path, people):
  asked = context(tmp_path)
  data.Pairs(faces(tmp_path), listed(
    tmp_path, 'test/Ada/0.png;test/Ada/3.png;1', header='a;b;same')).open(asked)
  assert "pairs.csv: delimiter ';' (delimiter= sets it)" in asked.said
  (tmp_path / 'pairs.csv').write_text('')
  with pytest.raises(UserError, match=r'pairs\.csv: the file is empty'):
    data.Pairs(faces(tmp_path), str(tmp_path / 'pairs.csv')).open(asked)
  with pytest.raises(UserError, match=r'people: cannot be read: Is a directory'):
    data.Pairs(faces(tmp_path), str(tmp_path / 'people')).open(asked)


def test_files_and_settings_that_are_refused(tmp_path, people):
  with pytest.raises(UserError, match=r"no column is called 'a' \(columns= sets"):
    data.Pairs(faces(tmp_path), listed(tmp_path, header='x,b,same')).open(
      context(tmp_path))
  with pytest.raises(UserError, match='has no pair'):
    data.Pairs(faces(tmp_path), listed(tmp_path)).open(context(tmp_path))
  with pytest.raises(UserError, match='names files, but the data is not of files'):
    data.Pairs(data.Arrays(np.ones((4, 1)), np.arange(4) % 2), listed(
      tmp_path, 'a,b,1')).open(context(tmp_path))
  with pytest.raises(UserError, match='Pairs: needs data with classes'):
    data.Pairs(data.Arrays(np.ones((4, 1)))).open(context(tmp_path))
  for labels in ([0, 1, 2, 3], [0, 0, 0, 0]):
    with pytest.raises(UserError, match=(
        r'Pairs: 4 examples of (4 identities|1 identity); pairs')):
      data.Pairs(data.Arrays(np.ones((4, 1)), np.array(labels), classes=tuple(
        'abcd'))).open(context(tmp_path))
  with pytest.raises(ValueError, match='count: must be >= 2'):
    data.Pairs(faces(tmp_path), count=1)
  with pytest.raises(ValueError, match='columns: must be three names'):
    data.Pairs(faces(tmp_path), columns=('a', 'a', 'b'))


def test_pairs_are_drawn_of_people_and_then_of_their_pictures():
  sizes = [200, 2, 3, 1, 1, 2]
  labels = np.repeat(np.arange(6), sizes)
  found = drawn(labels, 60)
  assert len({*found}) == len(found) == 60 and all(a < b for a, b in found)
  kinds = [labels[a] == labels[b] for a, b in found]
  assert sum(kinds) == 30
  by_person = collections.Counter(labels[a] for a, b in found if labels[a] == labels[b])
  assert by_person[1] == by_person[5] == 1 and by_person[2] == 3  # all that they have
  assert by_person[0] == 25
  assert drawn(labels, 60) == found
  # A pair of two people has each of them as often as another.
  many = np.repeat(np.arange(4), [100, 20, 20, 20])
  of = np.bincount([labels for pair in drawn(many, 800) for labels in (
    many[list(pair)] if many[pair[0]] != many[pair[1]] else [])], minlength=4)
  assert of.min() > 0.8 * of.max()


def test_no_more_pairs_are_drawn_than_there_are():
  found = drawn(np.array([0, 0, 1, 2]), 100)
  assert found[0] == (0, 1) and len(found) == 2  # as many of two people as of one
  assert drawn(np.array([0, 1, 2]), 10) == [] and drawn(np.zeros(1, int), 10) == []
  assert all(-1 not in (a, b) for a, b in drawn(np.array([-1, -1, 0, 0, 1]), 4))
  assert drawn(np.array([-1, -1, 0, 0, 1]), 2)[0] == (2, 3)
