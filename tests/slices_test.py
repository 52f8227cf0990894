"""Tests of --slice: shares are disjoint, whole, and keep together what they should."""

import pathlib
from types import SimpleNamespace

import pytest

from tests import slices


def _item(file, name, *marks):
  return SimpleNamespace(
    path=pathlib.Path(file), nodeid=f'{file}::{name}',
    get_closest_marker=lambda kind: next(
      (mark for mark in marks if mark.name == kind), None))


SLOW = pytest.mark.slow('kill runs').mark
TOGETHER = pytest.mark.slow('train', together=True).mark
ITEMS = [
  *(_item('a', f'quick {n}') for n in range(3)),
  *(_item('b', f'slow {n}', SLOW) for n in range(5)),
  *(_item('c', f'shared {n}', TOGETHER) for n in range(4)), _item('d', 'quick')]


@pytest.mark.parametrize('number', [1, 2, 3, 20])
def test_shares_are_disjoint_and_whole(number):
  shares = [slices.share(ITEMS, f'{k}/{number}') for k in range(1, number + 1)]
  assert sorted(i.nodeid for kept, _ in shares for i in kept) == sorted(
    i.nodeid for i in ITEMS)
  assert all(len(kept) + len(left) == len(ITEMS) for kept, left in shares)


def test_files_stay_together_and_slow_tests_do_not():
  kept, _ = slices.share(ITEMS, '1/2')
  # Groups: a, five of b, c, d.
  assert [item.nodeid for item in kept] == [
    'a::quick 0', 'a::quick 1', 'a::quick 2', 'b::slow 1', 'b::slow 3',
    *(f'c::shared {n}' for n in range(4))]


@pytest.mark.parametrize('chosen', ['0/3', '4/3', 'a/b', '3', '1/0', '', '1/3x'])
def test_what_is_no_slice(chosen):
  with pytest.raises(pytest.UsageError, match=r'must be K/N, K from 1 to N'):
    slices.share(ITEMS, chosen)
