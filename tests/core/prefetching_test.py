import threading

import pytest

from bigmodels.core.prefetching import prefetch


def test_items_keep_their_order():
  for count in (1, 3, 50):
    assert [*prefetch(iter(range(20)), count)] == [*range(20)]
  assert [*prefetch(iter([None, None]), 2)] == [None, None]


def test_a_thread_is_at_most_so_many_items_ahead():
  made, third = [], threading.Event()

  def items():
    for i in range(9):
      made.append(i)
      if i == 2:
        third.set()
      yield i

  found = prefetch(items(), 2)
  assert next(found) == 0
  assert third.wait(10)  # made while 0 is used
  found.close()
  assert made == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it():
  def items():
    yield 1
    raise ValueError('second')

  found = prefetch(items(), 4)
  assert next(found) == 1
  with pytest.raises(ValueError, match='second'):
    next(found)
