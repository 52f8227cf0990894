"""The one error a user can mend, and how it names the nearest legal choice."""

import contextlib
import difflib
import pathlib
import re
import traceback
from collections.abc import Iterable, Iterator


class UserError(Exception):
  """Something the user can mend: shown as one message, no traceback, exit 2."""


def told(error: Exception) -> str:
  """What an error says; of one that was not meant to be read, its kind and place too.

  Args:
    error: of code that a user may have written: a model, a transform, a recipe.
  """
  # JAX adds a line of hyphens and a note on its tracebacks, Flax an address.
  text = re.sub(r' \(https://flax\S*\)$', '', str(error).partition('\n---')[0].strip())
  if isinstance(error, ValueError | NotImplementedError) or (
    type(error).__module__ == 'flax.errors'):
    return text
  frames = traceback.extract_tb(error.__traceback__)
  ours = [f for f in frames if not _OF_LIBRARIES & {*pathlib.Path(f.filename).parts}]
  last = (ours or frames)[-1]
  return (f'{type(error).__name__}: {text} ({pathlib.Path(last.filename).name}, line '
          f'{last.lineno}; --verbosity=1 shows the traceback)')


_OF_LIBRARIES = {'site-packages', 'dist-packages', '<frozen importlib._bootstrap>'}


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
  """Turns whatever the code of a user raises into a `UserError` that begins so."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    raise UserError(f'{what}: {told(error)}') from error


def of_callback(error: Exception) -> UserError | None:
  """The `UserError` of a function that a compiled program called on the host.

  XLA hands on no exception, only the text of its traceback.

  Args:
    error: of the program; None is returned if it is of anything else.
  """
  found = re.search(r'[Cc]allback.*^(?:\w+\.)*UserError: (.*)', str(error),
                    re.DOTALL | re.MULTILINE)
  return UserError(found[1].strip()) if found else None


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
