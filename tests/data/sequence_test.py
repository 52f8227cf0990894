"""Tests of bigmodels.data.sequence."""

from functools import partial

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import origins
from bigmodels.data.sequence import Sequence
from bigmodels.data.sources import DataContext


class Squares:
  """Numbers with their squares; `change` says what is wrong with an example."""

  def __init__(self, length=50, change=None):
    self.length, self.change = length, change or (lambda row, x: x)

  def __len__(self):
    return self.length

  def __getitem__(self, row):
    return self.change(row, {'inputs': np.array([row, row**2], np.float64),
                             'labels': row % 3})


NAMES = ('a', 'b', 'c')


@pytest.fixture
def context(tmp_path):
  lines = []
  return DataContext(None, tmp_path, {}, lines.append)


def pairs(count):
  for row in range(count):
    yield np.array([row, row**2], np.float32), row % 3


@pytest.mark.parametrize('make', [
  Squares, partial(pairs, 50), lambda: [*pairs(50)],
  partial(Squares, change=lambda row, x: (x['inputs'], x['labels']))])
def test_examples_are_read_by_number(context, make):
  source = Sequence(make, NAMES)
  found = {name: source.split(name).open(context) for name in ('train', 'test')}
  assert [d.length for d in found.values()] == [40, 10]
  assert origins.shared(*(d.origin for d in found.values())) == ('', 0)
  seen = []
  for dataset in found.values():
    columns = dataset.load()
    assert columns['inputs'].dtype == np.float32 and columns['labels'].dtype == np.int32
    n = columns['inputs'][:, 0].astype(int)
    np.testing.assert_array_equal(columns['inputs'][:, 1], n**2)
    np.testing.assert_array_equal(columns['labels'], n % 3)
    some = dataset.read(np.array([4, 1]))
    np.testing.assert_array_equal(some['labels'], n[[4, 1]] % 3)
    seen += n.tolist()
  assert sorted(seen) == [*range(50)]
  assert source.open(context).length == 50 and source.open(context).classes == NAMES


def test_identities(context):
  first = Sequence(Squares, NAMES).open(context).identity
  assert Sequence(Squares, NAMES).open(context).identity == first
  changed = partial(Squares, change=lambda row, x: x | {'inputs': x['inputs'] + 1})
  assert Sequence(changed, NAMES).open(context).identity != first
  rng = np.random.default_rng(0)
  random = partial(Squares, change=lambda row, x: x | {'inputs': rng.normal(size=2)})
  same = [Sequence(random, NAMES).open(context).identity for _ in range(2)]
  assert same[0] == same[1]
  assert any('gives other values when it is read again' in x
             for x in context.kept['notes'])


def broken(row, x, at, **change):
  return x | change if row == at else x


@pytest.mark.parametrize('make, classes, problem', [
  (partial(Squares, 0), NAMES, 'Squares: has no examples'),
  (Squares, None, 'Squares: labels are int32: classes= must name'),
  (Squares, ('a', 'b'), 'Squares: example 2: the label 2 is none of 0 to 1'),
  (lambda: 5, NAMES, "'int' object is not iterable"),
  (lambda: ['text'] * 5, NAMES, 'example 0: must be a dictionary of arrays, or inputs'),
  (partial(Squares, change=partial(broken, at=3, inputs=np.zeros(3))), NAMES,
   r'example 3: inputs is float32 \(3,\), that of example 0 is float32 \(2,\)'),
  (partial(Squares, change=partial(broken, at=3, inputs='x')), NAMES,
   'example 3: inputs must be numbers, got <U1'),
  (partial(Squares, change=partial(broken, at=3, inputs=np.array([1, 1e300]))), NAMES,
   r'example 3: inputs has 1e\+300, beyond float32'),
  (partial(Squares, change=lambda row, x: [][row]), NAMES, 'example 0: IndexError'),
  (partial(Squares, change=lambda row, x: x | {'mask': 1}), NAMES,
   "'mask' is reserved")])
def test_what_is_refused(context, make, classes, problem):
  with pytest.raises(UserError, match=problem) as error:
    Sequence(make, classes).open(context).load()
  assert '\n' not in str(error.value)


def test_an_object_is_no_function():
  with pytest.raises(ValueError, match=r'make: must be a function .*, got list'):
    Sequence([1, 2])
