"""The one error a user can mend, and how it names the nearest legal choice."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """Something the user can mend: shown as one message, no traceback, exit 2."""


def nearest(name: str, choices: Iterable[str]) -> str:
  """Returns '; did you mean X?' or the list of what there is.

  Args:
    name: what was asked for.
    choices: what would have been legal.
  """
  choices = sorted(choices)
  folded = {c.lower(): c for c in reversed(choices)}
  close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
  if close:
    return f'; did you mean {folded[close[0]]!r}?'
  return f'; there is {", ".join(choices)}' if choices else '; there is none'
