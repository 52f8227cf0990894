"""The text of `config.txt` as data: nothing in it is imported or executed."""

import re
from collections.abc import Mapping

from bigmodels.core.errors import UserError

_SHOWN = 8  # paths that differ


def read(text: str) -> dict[str, str]:
  """Parses lines `path = value` into path -> text.

  Raises:
    UserError: with the number of a line that is not `path = value`.
  """
  values: dict[str, str] = {}
  for number, line in enumerate(text.splitlines(), 1):
    if not line.strip() or line.lstrip().startswith('#'):
      continue
    path, equals, value = (part.strip() for part in line.partition('='))
    if not (path and equals and value):
      raise UserError(
        f'line {number} is not `path = value`: {line.strip()[:80]!r}')
    if path in values:
      raise UserError(f'line {number}: {path} is there twice')
    values[path] = value
  return values


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
  """The paths whose texts differ, in order."""
  return [path for path in dict.fromkeys([*before, *after])
          if before.get(path) != after.get(path)]


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> str:
  """The first paths whose texts differ: `path: before -> after; ...`."""
  paths = differing(before, after)
  more = f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else ''
  return '; '.join(
    f'{path}: {before.get(path, "(absent)")} -> {after.get(path, "(absent)")}'
    for path in paths[:_SHOWN]) + more


def plain(text: str) -> int | float | bool | str:
  """The number or bool that a value is, else the text, without quotes if it has any."""
  if text in ('True', 'False'):
    return text == 'True'
  if re.fullmatch(r'-?\d{1,18}', text):
    return int(text)
  if re.fullmatch(r'-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?', text):
    return float(text)
  quoted = re.fullmatch(r"'([^'\\]*)'", text)
  return quoted[1] if quoted else text
