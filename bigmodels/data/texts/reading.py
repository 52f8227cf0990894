"""Functions that sources of text share: JSON, checks of splits, and notes."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from bigmodels.core import files
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


def json_of(path: pathlib.Path) -> tuple[Any, bytes]:
  """Returns the value in a JSON file, and the bytes of the file.

  Raises:
    UserError: for a file that cannot be read, or is not JSON.
  """
  data = files.read(path)
  try:
    return json.loads(files.text_of(data, f'{path}: cannot be read: ')), data
  except json.JSONDecodeError as error:
    raise UserError(f'{path}, line {error.lineno}: is not JSON: {error.msg}') from None
  except (ValueError, RecursionError) as error:  # too long a number, too deep a list
    raise UserError(f'{path}: is JSON that cannot be read: {error}') from None


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
