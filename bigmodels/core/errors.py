"""The one error a user can mend, and how it names the nearest legal choice."""

import contextlib
import difflib
import errno
import os
import pathlib
import re
import traceback
from collections.abc import Iterable, Iterator


class UserError(Exception):
  """Something the user can mend: shown as one message, no traceback, exit 2."""


# Controls but tab and newline; separators of lines; what turns the direction of text;
# marks that are not seen; halves of surrogate pairs, for bytes that are not UTF-8.
_CONTROLS = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e'
                       '\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]')


def shown(text: str) -> str:
  """A text for the console, which nothing in it controls.

  Args:
    text: may come from data. Newlines and tabs stay; what is shown may be shown again.
  """
  return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def in_a_line(text: str, most: int | None = None) -> str:
  """As `shown`, with newlines and tabs escaped too: for names that come from data.

  Args:
    text: may come from data.
    most: characters that are shown, the last three of a longer text '...'; None shows
      all.
  """
  text = shown(text if most is None else text[: most + 1])
  text = text.replace('\n', '\\n').replace('\t', '\\t')
  return text if most is None or len(text) <= most else f'{text[: most - 3]}...'


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


_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG,
                   errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EACCES,
                   errno.EPERM)


def of_machine(error: Exception, code: pathlib.Path) -> UserError | None:
  """The `UserError` of what is wrong with a file or the machine, not with the code.

  Args:
    error: that nothing has handled; None is returned if it may be one of the code.
    code: the folder of the code; if a file of it, or of a library, is missing, that is
      no mistake of the user.
  """
  if isinstance(error, MemoryError):
    return UserError(f'out of memory: {told(error)}')
  if isinstance(error, UnicodeEncodeError) and error.reason.startswith('surrogates'):
    return UserError(f'{error.object[:200]!r} is not UTF-8, which a name must be')
  if not isinstance(error, OSError) or error.strerror is None:
    return None
  if not isinstance(error.filename, str | bytes):
    return UserError(told(error)) if error.errno in _OF_THE_MACHINE else None
  name = os.fsdecode(error.filename)
  path = pathlib.PurePath(name)
  own = _OF_LIBRARIES & {*path.parts} or any(map(path.is_relative_to, (
    code, os.path.dirname(os.__file__))))
  if own and error.errno not in _OF_THE_MACHINE:
    return None
  return UserError(f'{name}: {error.strerror}')


def listed(items: Iterable, most: int = 8) -> str:
  """'a, b, c', cut short after `most`; 'nothing' for none."""
  items = list(items)
  more = f' and {len(items) - most:,} more' if len(items) > most else ''
  return ', '.join(map(str, items[:most])) + more if items else 'nothing'


def nearest(name: str, choices: Iterable[str]) -> str:
  """Returns '; did you mean X?' or the list of what there is.

  Args:
    name: what was asked for.
    choices: what would have been legal.
  """
  choices = sorted(map(in_a_line, choices))
  folded = {c.lower(): c for c in reversed(choices)}
  close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
  if close:
    return f'; did you mean {folded[close[0]]!r}?'
  return f'; there is {", ".join(choices)}' if choices else '; there is none'
