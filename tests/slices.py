"""A share of the tests, for `--slice=K/N`: all shares together are all of them."""

import re

import pytest


def group_of(item: pytest.Item) -> str:
  """What stays in one share: a file, but of the slow tests one that does not say so.

  `slow(kind, together=True)` marks slow tests of a file that share what takes long.
  """
  slow = item.get_closest_marker('slow')
  together = slow is None or slow.kwargs.get('together', False)
  return str(item.path) if together else item.nodeid


def share(items: list[pytest.Item], chosen: str) -> tuple[list, list]:
  """The tests of a share, and the others, both in their order.

  Args:
    items: all tests that were selected.
    chosen: 'K/N': of their groups every N-th, from the K-th.

  Raises:
    UsageError: if it is not that.
  """
  match = re.fullmatch(r'(\d+)/(\d+)', chosen)
  first, number = map(int, match.groups()) if match else (0, 0)
  if not 1 <= first <= number:
    raise pytest.UsageError(f'--slice={chosen}: must be K/N, K from 1 to N')
  groups = dict.fromkeys(map(group_of, items))
  kept = {group for place, group in enumerate(groups) if place % number == first - 1}
  return ([item for item in items if group_of(item) in kept],
          [item for item in items if group_of(item) not in kept])
