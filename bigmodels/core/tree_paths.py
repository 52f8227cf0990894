"""What parameters and statistics are called, and patterns of such names."""

import difflib
import re
from collections.abc import Iterable

import jax


def name_of(path) -> str:
  """`head/Dense_0/kernel`, from the path of a leaf."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def check_patterns(patterns: tuple[str, ...]) -> None:
  """Refuses what is no regular expression of whole names.

  Raises:
    ValueError: telling which, and why.
  """
  if isinstance(patterns, str) or not patterns:
    raise ValueError(f'patterns: wants at least one, such as (stem/.*,), got '
                     f'{patterns!r}')
  for pattern in patterns:
    if not isinstance(pattern, str):
      raise ValueError(f'patterns: wants texts, each by itself, got {pattern!r}')
    try:
      re.compile(pattern)
    except re.error as error:
      raise ValueError(f'patterns: wants regular expressions, got {pattern!r}: {error}'
                       ) from None


def matching(pattern: str, names: Iterable[str], what: str) -> list[str]:
  """The names that a pattern matches as a whole.

  Args:
    pattern: a regular expression.
    names: of all there are.
    what: they name, such as 'parameter'.

  Raises:
    ValueError: if there is none, telling one that is close.
  """
  names = list(names)
  found = [name for name in names if re.fullmatch(pattern, name)]
  if not found:
    close = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    such = f', such as {close[0]}' if close else ': there is none'
    raise ValueError(f'patterns: {pattern!r} matches the whole name of no {what}{such}')
  return found
