"""Tests of bigmodels.data.frames: equal rows, and values as text."""

import numpy as np

from bigmodels.data import frames


def test_groups_are_those_of_equal_rows():
  rng = np.random.default_rng(0)
  frame = {'a': rng.integers(0, 3, 500) / 3, 'b': np.array(
    list('xyz'), object)[rng.integers(0, 3, 500)],
    'c': rng.integers(0, 3, 500) / 3}
  frame['c'][:50] = np.nan
  frame['a'][:25] = -0.0
  rows = [tuple('nan' if v != v else v for v in row) for row in zip(
    *(c.tolist() for c in frame.values()), strict=True)]
  groups = frames.groups_of(frame)
  numbers = {}
  for row, group in zip(rows, groups, strict=True):
    assert numbers.setdefault(row, group) == group
  assert len({*numbers.values()}) == len(numbers) == groups.max() + 1
  swapped = {'c': frame['a'], 'b': frame['b'], 'a': frame['c']}
  assert len(np.unique(frames.groups_of(swapped))) == len(numbers)


def test_rows_as_words():
  frame = {'a': np.array([0.25, np.nan, 435.0]), 'b': np.array(['x', 'y', ''], object)}
  assert frames.words(frame, np.array([0, 2, 1])) == [
    {'a': '0.25', 'b': 'x'}, {'a': '435', 'b': ''}, {'a': '', 'b': 'y'}]
