"""Items that a thread makes while earlier ones are used."""

import collections
import concurrent.futures
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar('Item')

_END = object()


def prefetch(items: Iterator[Item], count: int) -> Iterator[Item]:
  """Yields items in their order; a thread makes up to `count` of them ahead of time.

  Args:
    items: is used in the thread only. What it raises is raised here.
    count: number of items, >= 1.
  """
  thread = concurrent.futures.ThreadPoolExecutor(1)
  try:
    pending = collections.deque(
      thread.submit(next, items, _END) for _ in range(count))
    while (item := pending.popleft().result()) is not _END:
      pending.append(thread.submit(next, items, _END))
      yield item
  finally:
    thread.shutdown(cancel_futures=True)
