"""Names of parameters and batch statistics, and patterns for these names."""

import difflib
import re
from collections.abc import Iterable

import jax


def name_of(path) -> str:
  """The name of a leaf, such as `head/Dense_0/kernel`, from its JAX key path."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def check_patterns(patterns: tuple[str, ...]) -> None:
  """Checks that patterns are regular expressions.

  Raises:
    ValueError: if one is not, or there is none.
  """
  if isinstance(patterns, str) or not patterns:
    raise ValueError(f"patterns: must be a tuple such as ('stem/.*',), got "
                     f'{patterns!r}')
  for pattern in patterns:
    if not isinstance(pattern, str):
      raise ValueError(f'patterns: must be strings, got {pattern!r}')
    try:
      re.compile(pattern)
    except re.error as error:
      raise ValueError(f'patterns: must be regular expressions, got {pattern!r}: '
                       f'{error}') from None


def matching(pattern: str, names: Iterable[str], what: str) -> list[str]:
  """The names that a pattern matches completely.

  Args:
    pattern: a regular expression.
    names: all names.
    what: what the names are of, such as 'parameter', for the error.

  Raises:
    ValueError: if there is none; the message suggests a name that is close.
  """
  names = list(names)
  found = [name for name in names if re.fullmatch(pattern, name)]
  if not found:
    close = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    such = f', such as {close[0]}' if close else ': there are none'
    raise ValueError(f'patterns: {pattern!r} matches the whole name of no {what}{such}')
  return found
