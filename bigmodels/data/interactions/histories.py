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

  Opened, with `L = length`, all int32 `[n, L]`: `inputs`, items; `labels`, the item
  after each of them; `users`, whose they are; and `segments`, 1, 2, ... for the users
  who share a row, 0 for padding. A user's last L + 1 items are used. In training,
  several users share a row, as most have few items.

  Another split has a row for each user, whose last label is the item to predict; and
  `seen` int32 `[n]`, as in `Interactions`.

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
      columns = before(catalog, log.user[mine], PARTS.index(self.selected), self.length)
      labels = np.roll(columns['inputs'], -1, 1)
      last = np.maximum((columns['segments'] > 0).sum(1) - 1, 0)
      labels[np.arange(len(mine)), last] = log.item[mine]
      columns['labels'] = np.where(columns['segments'] > 0, labels, 0)
      columns['seen'] = np.full(len(mine), seen_before(self.selected), np.int32)
    return dataset(source, log, mine, columns, catalog)

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of the users to recommend to; see `readers`."""
    from bigmodels.data.readers.users import UserReader

    known = catalogs.of_kept(context.kept[KEPT])
    return UserReader(
      known, self.interactions.user, None,
      Reading(missing=(), encoding=self.interactions.encoding), lambda users: before(
        known, users, len(PARTS), self.length), context.say)

  def recorded(self, kept: Mapping[str, Any]) -> Mapping[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    return self.interactions.recorded(kept)


def before(catalog: Catalog, users: np.ndarray, part: int, length: int) -> Columns:
  """Returns the last items of users in the splits before one.

  Args:
    catalog: the users and items.
    users: int `[n]`; a negative one has no items.
    part: index of that split.
    length: maximum number of items.

  Returns:
    `inputs`, `segments` and `users`, int32 `[n, length]`; see `Histories`.
  """
  starts = np.searchsorted(catalog.user, np.arange(len(catalog.users) + 1))
  inputs = np.zeros((len(users), length), np.int32)
  segments = np.zeros_like(inputs)
  for row, user in enumerate(users.tolist()):
    if user >= 0:
      span = slice(starts[user], starts[user + 1])
      items = catalog.item[span][catalog.part[span] < part][-length:]
      inputs[row, : len(items)], segments[row, : len(items)] = items, 1
  return {'inputs': inputs, 'segments': segments,
          'users': np.repeat(users.astype(np.int32)[:, None], length, 1)}


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
