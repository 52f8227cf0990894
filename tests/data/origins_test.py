"""Which rows splits share, counted by hand."""

import numpy as np
import pytest

from bigmodels.data import origins
from bigmodels.data.origins import Origin

BASE = np.arange(40.0).reshape(20, 2)


@pytest.mark.parametrize('ours, theirs, count', [
  (range(0, 90), range(80, 100), 10),
  (range(80, 100), range(0, 90), 10),
  (range(0, 80), range(80, 100), 0),
  (range(0, 100), range(3, 4), 1),
  (range(0, 0), range(0, 100), 0),
  (np.array([5, 1, 9]), range(1, 6), 2),
  (range(1, 6), np.array([5, 1, 9]), 2),
  (np.array([0, 2, 4]), np.array([1, 3, 5]), 0),
  (range(0, 10, 2), range(0, 10, 3), 2),  # 0 and 6
  (range(0, 10, 2), range(1, 10, 2), 0),
  (np.array([], int), np.array([1]), 0),
  (np.array([7]), np.array([7]), 1)])
def test_common_rows(ours, theirs, count):
  found = origins.shared(Origin({'a': ours}), Origin({'a': theirs}))
  assert found == (('a', count) if count else ('', 0))
  assert origins.shared(Origin({'a': ours}), Origin({'b': theirs})) == ('', 0)


def test_the_source_that_most_is_shared_of_is_named():
  ours = Origin({'a': range(5), 'b': range(9), 'c': range(3)})
  theirs = Origin({'c': range(3), 'a': range(4, 9), 'b': range(2, 20)})
  assert origins.shared(ours, theirs) == ('b', 7)


@pytest.mark.parametrize('one, other, count', [
  (BASE, BASE, 20),
  (BASE[:15], BASE[10:], 5),
  (BASE[:10], BASE[10:], 0),
  (BASE[::2], BASE[1::2], 0),
  (BASE[::2], BASE[:5], 3),  # 0, 2, 4
  (BASE[:10], BASE[5:, :1], 5),
  (BASE[:10], BASE[5:].copy(), 0),  # that cannot be seen
  (BASE, BASE.copy(), 20),
  (BASE, BASE + 1, 0),
  (BASE, BASE.astype(np.float32), 0),
  (BASE[:10], BASE[:10].copy(), 10)])
def test_rows_of_arrays(one, other, count):
  found = origins.shared(*(Origin(origins.of_arrays(x)) for x in (one, other)))
  assert found[1] == count


@pytest.mark.parametrize('one, other, count', [
  ((0, 1), (0, 1), 20), ((0, 1), (1, 0), 0), ((0,), (0, 1), 0)])
def test_rows_of_several_arrays(one, other, count):
  found = origins.shared(*(Origin(origins.of_arrays(*(BASE[:, i] for i in columns)))
                           for columns in (one, other)))
  assert found[1] == count


def test_some_examples_of_a_split():
  whole = Origin({'rows': range(10, 14), 'taken': np.array([3, 9, 4, 1]),
                  'characters': range(1000)})
  part = whole.take(np.array([0, 2]), 4).rows
  assert [*part['rows']] == [10, 12] and [*part['taken']] == [3, 4]
  assert part['characters'] == range(1000)


def test_copies_and_links_of_a_text_are_the_same_source(tmp_path):
  (tmp_path / 'a.txt').write_text('abc')
  (tmp_path / 'link').symlink_to('a.txt')
  first = Origin(origins.of_text(tmp_path / 'a.txt', 'abc', 3))
  for path, text, count in (('link', 'abd', 3), ('a.txt', 'abd', 3),
                            ('b.txt', 'abc', 3), ('b/a.txt', 'abc', 3),
                            ('b.txt', 'xyz', 0)):
    other = Origin(origins.of_text(tmp_path / path, text, 3))
    assert origins.shared(first, other)[1] == count, path
