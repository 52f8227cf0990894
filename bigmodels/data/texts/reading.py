"""Functions that sources of text share: checks of splits, and notes."""

from collections.abc import Iterable, Mapping

from bigmodels.core.errors import UserError, nearest

NOT_UTF8 = 'not UTF-8, so read with replacements'


def check_split(name: str, split: str, splits: Iterable[str]) -> None:
  """Refuses a split that a source does not have.

  Args:
    name: name of the source.
    split: the split to read.
    splits: the splits that it has.

  Raises:
    UserError: naming the nearest one.
  """
  if split not in splits:
    raise UserError(f'{name} has no split {split!r}{nearest(split, splits)}')


def note(counts: Mapping[str, int], what: str, first: str = '') -> str:
  """Returns a note such as '2 files not UTF-8, so read with replacements (a.txt)'.

  Args:
    counts: what was found -> count.
    what: the counted noun, in the singular.
    first: name of the first file that is not UTF-8.
  """
  parts = []
  for found, count in counts.items():
    named = f' ({first})' if first and found == NOT_UTF8 else ''
    parts += [f'{count:,} {what}{"s" * (count != 1)} {found}{named}'] * bool(count)
  return '; '.join(parts)
