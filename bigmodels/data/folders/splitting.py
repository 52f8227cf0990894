"""Divides files into splits by a fixed rule, and finds files that are equal.

The rule does not depend on a seed, a machine, or the names of files: in each class,
files are sorted by the SHA-256 of their content, and cut at the fractions of the
splits. Files that are equal are thus in the same split.
"""

import collections
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.folders.listing import counted
from bigmodels.data.sources import FRACTIONS, check_fractions

KEYS = 'files of equal content'  # the source that `origins` compares
# Of two equal files, the one in the later split stays.
_RANK = {'train': 0, 'validation': 1, 'test': 3}  # others 2


def assign(digests: np.ndarray, groups: np.ndarray | None, given: Sequence[str] | None,
           fractions: Mapping[str, float] | None, source: str, what: str = 'files',
           by: str = 'their SHA-256') -> tuple[np.ndarray, list[str]]:
  """Returns the split of each file, and lines about how files were divided.

  Without given splits, all files are divided. Otherwise `train` is divided if there are
  fractions, into itself and those splits that are not given.

  Args:
    digests: SHA-256 of each file, uint8 `[n, 32]`.
    groups: class of each file, int `[n]`, in which the fractions hold; None for none.
    given: the given split of each file, or None.
    fractions: split -> fraction; None for `sources.FRACTIONS`, and for none if splits
      are given.
    source: where splits are given.
    what, by: what is divided, and by what, for the lines.

  Returns:
    Names, object `[n]`; and the lines.

  Raises:
    UserError: if the fractions are not positive, or do not add up to 1.
  """
  if fractions is not None:
    check_fractions(fractions)
  if given is None:
    fractions = fractions or FRACTIONS
    rows, lines = np.arange(len(digests)), []
    found = np.empty(len(digests), object)
  else:
    found = np.array(given, object)
    lines = [f'splits are given by {source}']
    missing = [name for name in fractions or () if name not in {*given}]
    if not missing or 'train' not in fractions or 'train' not in {*given}:
      return found, lines
    rows = np.flatnonzero(found == 'train')
    rest = {name: fractions[name] for name in ('train', *missing)}
    fractions = {name: each / sum(rest.values()) for name, each in rest.items()}
  found[rows] = _cut(digests[rows], None if groups is None else groups[rows], fractions)
  parts = ', '.join(f'{each:.3g} {name}' for name, each in fractions.items())
  how = f'the {what} of train are divided, as {source} give no ' + ', '.join(
    name for name in fractions if name != 'train') if given is not None else (
      f'the {what} are divided')
  return found, [*lines, f'splits: {how}: {"in each class, " * (groups is not None)}'
                 f'by {by}, {parts} (splits= sets the fractions)']


def assign_classes(labels: np.ndarray, classes: Sequence[str],
                   given: Sequence[str] | None, fractions: Mapping[str, float] | None,
                   source: str) -> tuple[np.ndarray, list[str]]:
  """Returns the split of each file, all files of a class in the same; and lines.

  Args:
    labels: the class of each file, int `[n]`.
    classes: names of the classes.
    given, fractions, source: see `assign`.

  Returns:
    Names, object `[n]`; and the lines.

  Raises:
    UserError: if a class is given in two splits, or as `assign`.
  """
  of_class = None
  if given is not None:
    names, codes = np.unique(np.array(given, object).astype(str), return_inverse=True)
    pairs = np.unique(np.stack([labels, codes]), axis=1)
    twice = np.flatnonzero(np.diff(pairs[0]) == 0)
    if len(twice):
      number, first = pairs[:, twice[0]]
      raise UserError(
        f'the class {classes[number]!r} has files in {names[first]} and in '
        f'{names[pairs[1, twice[0] + 1]]}, as have {len(twice) - 1:,} others; with '
        "divide='classes' a class is in one split")
    of_class = [str(names[code]) for code in pairs[1]]
  digests = np.array([[*hashlib.sha256(name.encode()).digest()] for name in classes],
                     np.uint8)
  split, lines = assign(digests, None, of_class, fractions, source, 'classes',
                        'the SHA-256 of their names')
  return split[labels], lines


def _cut(digests: np.ndarray, groups: np.ndarray | None,
         fractions: Mapping[str, float]) -> np.ndarray:
  """The split of each file, object `[n]`."""
  names, edges = list(fractions), np.cumsum([*fractions.values()])
  codes = content_codes(digests)
  groups = np.zeros(len(digests), int) if groups is None else groups
  split = np.empty(len(digests), int)
  for group in np.unique(groups):
    rows = np.flatnonzero(groups == group)
    rows = rows[np.argsort(codes[rows], kind='stable')]
    cuts = np.round(edges[:-1] * len(rows)).astype(int)
    split[rows] = np.searchsorted(cuts, np.arange(len(rows)), side='right')
  # Equal files, perhaps of two classes, follow the first of them.
  _, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
  return np.array(names, object)[split[firsts][inverse]]


def content_codes(digests: np.ndarray) -> np.ndarray:
  """Numbers that are equal for equal files, int64 `[n]`: 63 bits of the SHA-256."""
  first = np.ascontiguousarray(digests[:, :8]).view('>u8')[:, 0]
  return (first >> np.uint64(1)).astype(np.int64)


def equal_files(digests: np.ndarray, readable: np.ndarray) -> list[np.ndarray]:
  """Returns groups of files with equal content, each int `[k]` with k > 1.

  Args:
    digests: uint8 `[n, 32]`.
    readable: whether a file can be read, bool `[n]`; others, such as empty files, are
      not compared.
  """
  rows = np.flatnonzero(readable)
  codes = content_codes(digests[rows])
  order = np.argsort(codes, kind='stable')
  starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
  sizes = np.diff(starts, append=len(order))
  several = zip(starts[sizes > 1], sizes[sizes > 1], strict=True)
  return sorted((rows[order[start : start + size]] for start, size in several),
                key=lambda group: group[0])


def settle_equal(split: np.ndarray, digests: np.ndarray, readable: np.ndarray,
                 labels: np.ndarray | None, names: Sequence[str], *,
                 drop: bool) -> tuple[np.ndarray, list[str]]:
  """Refuses or removes files that are in two splits; returns lines about equal files.

  Args:
    split: name of the split of each file, object `[n]`.
    digests, readable: see `equal_files`.
    labels: `[n]`, or None.
    names: names of the files.
    drop: whether to remove a file from training if an equal one is in an evaluation.

  Returns:
    Whether each file is kept, bool `[n]`; and the lines.

  Raises:
    UserError: if equal files are in two splits, and `drop` is False.
  """
  kept, groups = np.ones(len(split), bool), equal_files(digests, readable)
  lines, across, mixed = [], collections.defaultdict(list), []
  for group in groups:
    ranks = [_RANK.get(name, 2) for name in split[group]]
    last = group[int(np.argmax(ranks))]
    for row in group:
      if split[row] != split[last]:
        across[split[row], split[last]].append((row, last))
        kept[row] = False
    if labels is not None and len({*labels[group].tolist()}) > 1:
      mixed.append(group)

  def pairs(found):
    return listed((f'{names[a]} = {names[b]}' for a, b in found), 3)

  for (ours, theirs), found in across.items():
    what = (f'{counted(len(found), "file")} of {ours} '
            f'{"is" if len(found) == 1 else "are"} equal to files of {theirs}')
    if not drop:
      raise UserError(
        f'{what}, which makes scores on {theirs} meaningless: {pairs(found)}; '
        f"duplicates='drop' leaves them out of {ours}")
    lines.append(f'dropped: {what}: {pairs(found)}')
  inside = [(row, group[0]) for group in groups for row in group[1:]
            if kept[row] and split[row] == split[group[0]] and kept[group[0]]]
  if inside:
    lines.append(f'copies: {counted(len(inside), "file")} of a split equal to another '
                 f'one in it: {pairs(inside)}')
  if mixed:
    lines.append(f'warning: {counted(len(mixed), "file")} with two labels: '
                 + pairs([(group[0], next(
                   row for row in group if labels[row] != labels[group[0]]))
                   for group in mixed]))
  return kept, lines


def select(split: np.ndarray, name: str | None, source: str,
           fractions: Mapping[str, float]) -> np.ndarray:
  """Returns the files of a split, int `[n]`; all for None.

  Args:
    split: name of the split of each file, object `[n]`; '' is in none.
    name: the split, or None.
    source: where splits are given, such as 'folders'; '' if they are not.
    fractions: split -> fraction, by which files were divided if splits are not given.

  Raises:
    UserError: if there is no such split.
  """
  if name is None:
    return np.arange(len(split))
  rows = np.flatnonzero(split == name)
  if len(rows):
    return rows
  if not source and name in fractions:
    raise UserError(f'the split {name!r} of {counted(len(split), "file")} is empty: '
                    f'{dict(fractions)} (splits= sets the fractions)')
  close = nearest(name, {*split, *(() if source else fractions)} - {''})
  hint = ("; splits= cuts others out of train, such as splits={'train': 0.9, "
          f'{name!r}: 0.1}}' if source and 'mean' not in close else '')
  raise UserError(f'no split {name!r}' + f' given by {source}' * bool(source) + close
                  + hint)


def counts(split: np.ndarray, labels: np.ndarray | None,
           classes: Sequence[str] | None, what: str, *, apart: bool = False
           ) -> list[str]:
  """Returns lines with the size of each split and class, and which are missing.

  Args:
    split: name of the split of each file, object `[n]`.
    labels: `[n]`, or None.
    classes: names of the classes, or None.
    what: what the files are, such as 'image'.
    apart: whether each split has its own classes.

  Raises:
    UserError: if a class is missing in `train`, and not in another split.
  """
  lines = []
  for name in sorted({*split}, key=lambda name: (_RANK.get(name, 2), name)):
    rows = split == name
    line = f'{name}: {counted(int(np.count_nonzero(rows)), what)}'
    if apart:
      line += f' of {counted(len(np.unique(labels[rows])), "class")}'
    elif classes is not None:
      found = np.bincount(labels[rows], minlength=len(classes))
      line += ': ' + listed((f'{each} {count:,}' for each, count in
                             zip(classes, found, strict=True)), 20)
      if missing := [classes[index] for index in np.flatnonzero(found == 0)]:
        if name == 'train':
          raise UserError(f'train has no {what} of {listed(missing)}, of which other '
                          'splits have some')
        line += f'; warning: none of {listed(missing)}'
    elif labels is not None and rows.any():
      line += f', labels from {labels[rows].min():g} to {labels[rows].max():g}'
    lines.append(line)
  return lines
