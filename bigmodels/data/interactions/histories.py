"""Interactions of users with items as a source: a sequence for each user."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions.catalog import PARTS, Catalog
from bigmodels.data.interactions.interactions import (
  KEPT,
  Interactions,
  dataset,
  say_unseen,
  seen_before,
)
from bigmodels.data.interactions.log import LAST
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.tables.csv_dialects import Reading


@dataclasses.dataclass(frozen=True)
class Histories:
  """The items of each user in the order of time, to predict the next one.

  Opened for training, with `L = length`: `inputs` int32 `[n, L]`, the items before each
  of `labels` `[n, L]`; `users` int32 `[n, L]`, whose they are; and `segments` int32
  `[n, L]`, 1, 2, ... for the users who share a row, 0 for padding. A user's last L + 1
  items are used. Rows have several users, as most have few items.

  Another split has a row for each user: `inputs` `[n, L]`, the last L items before the
  one to predict, which is `labels` `[n]`; `segments` `[n, L]`, 1 for an item; `users`
  `[n]`; and `seen` `[n]`, as in `Interactions`.

  Attributes:
    interactions: the interactions, with `splits='leave_last_out'`; with
      `duplicates='keep'`, an item can come again.
    length: maximum number of items that the next one is predicted from.
    selected: the split that `open` returns.
  """

  interactions: Interactions
  length: int
  selected: str = 'train'

  def __post_init__(self):
    if self.length < 1:
      raise ValueError(f'length: must be >= 1, got {self.length}')
    if not self.interactions.by_time:
      raise UserError('interactions: what comes next needs splits that follow in time: '
                      f'splits={LAST}')

  def split(self, name: str) -> 'Histories':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the files (once per process), and makes the rows of the split.

    Raises:
      UserError: see `Interactions.open`; or if no user has two items to train on.
    """
    source = self.interactions.split(self.selected)
    log, parts, catalog = source.opened(context)
    mine = np.flatnonzero(parts == PARTS.index(self.selected))
    if self.selected == 'train':
      columns, lost = _packed(catalog, self.length)
      if not len(columns['inputs']):
        raise UserError(f'{source.name}: no user has two items to train on')
      context.note(
        f'{source.name}: train: {int((columns["segments"] > 0).sum()):,} items to '
        f'predict, in {len(columns["inputs"]):,} rows of {self.length}' + (
          f'; {lost:,} items more than {self.length} before the last of a user are not '
          'used' if lost else ''))
    else:
      say_unseen(source, context, log, parts, mine)
      users = log.user[mine]
      columns = {
        **before(catalog, users, np.full(len(users), PARTS.index(self.selected)),
                 self.length),
        'labels': log.item[mine],
        'seen': np.full(len(users), seen_before(self.selected), np.int32)}
    return dataset(source, log, mine, columns, catalog)

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of the users to recommend to; see `readers`."""
    from bigmodels.data.readers.users import UserReader

    known = catalogs.of_kept(context.kept[KEPT])
    return UserReader(
      known, self.interactions.user, None,
      Reading(encoding=self.interactions.encoding), lambda users: before(
        known, users, np.full(len(users), len(PARTS)), self.length), context.say)

  def recorded(self, kept: Mapping[str, Any]) -> Mapping[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    return self.interactions.recorded(kept)


def before(catalog: Catalog, users: np.ndarray, parts: np.ndarray, length: int
           ) -> Columns:
  """Returns the last items of users in the splits before one.

  Args:
    catalog: the users and items.
    users: int `[n]`; a negative one has no items.
    parts: index of the split that they are before, int `[n]`.
    length: maximum number of items.

  Returns:
    `inputs` and `segments` int32 `[n, length]`, and `users` int32 `[n]`.
  """
  starts = np.searchsorted(catalog.user, np.arange(len(catalog.users) + 1))
  inputs = np.zeros((len(users), length), np.int32)
  segments = np.zeros_like(inputs)
  for row, (user, part) in enumerate(zip(users.tolist(), parts.tolist(), strict=True)):
    if user >= 0:
      span = slice(starts[user], starts[user + 1])
      items = catalog.item[span][catalog.part[span] < part][-length:]
      inputs[row, : len(items)], segments[row, : len(items)] = items, 1
  return {'inputs': inputs, 'segments': segments, 'users': users.astype(np.int32)}


def _packed(catalog: Catalog, length: int) -> tuple[Columns, int]:
  """The rows of training, and how many items are not used.

  The longest histories come first, and each goes to the first row with space for it.
  """
  train = catalog.part == 0
  user, item = catalog.user[train], catalog.item[train]
  starts = np.searchsorted(user, np.arange(len(catalog.users) + 1))
  sizes = np.minimum(np.diff(starts) - 1, length)  # items to predict
  lost = int(np.maximum(np.diff(starts) - 1 - length, 0).sum())
  order = np.argsort(-sizes, kind='stable')
  order = order[sizes[order] > 0]
  space: dict[int, list[int]] = {}  # left -> rows
  rows, place = 0, []
  for size in sizes[order].tolist():
    left = next((n for n in range(size, length + 1) if space.get(n)), None)
    if left is None:
      row, left = rows, length
      rows += 1
    else:
      row = space[left].pop()
    space.setdefault(left - size, []).append(row)
    place.append((row, length - left))
  columns = {name: np.zeros((rows, length), np.int32)
             for name in ('inputs', 'labels', 'users', 'segments')}
  number = np.zeros(rows, np.int32)
  for which, (row, first) in zip(order.tolist(), place, strict=True):
    size, end = sizes[which], starts[which + 1]
    span = slice(first, first + size)
    number[row] += 1
    columns['inputs'][row, span] = item[end - size - 1 : end - 1]
    columns['labels'][row, span] = item[end - size : end]
    columns['users'][row, span] = which
    columns['segments'][row, span] = number[row]
  return columns, lost
