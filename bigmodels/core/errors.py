"""`UserError`, the error that a user can fix, and helpers for error messages."""

import contextlib
import difflib
import errno
import os
import pathlib
import re
import traceback
from collections.abc import Iterable, Iterator


class UserError(Exception):
  """An error that the user can fix: printed as a message, no traceback, exit code 2."""


# --- texts from data ------------------------------------------------------------

# Control characters except tab and newline; line separators; characters that change the
# direction of text; invisible marks; lone surrogates, which stand for bytes other than
# UTF-8.
_CONTROLS = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e'
                       '\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]')


def escape_controls(text: str) -> str:
  """Replaces control characters by escapes, so that a text cannot control a terminal.

  Newlines and tabs are kept. Escaping twice is the same as escaping once.
  """
  return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str, most: int | None = None) -> str:
  """Escapes control characters, newlines and tabs, for names that come from data.

  Args:
    text: may come from data.
    most: maximum number of characters; a longer text is cut and ends in '...'. None
      for no limit.
  """
  text = escape_controls(text if most is None else text[: most + 1])
  text = text.replace('\n', '\\n').replace('\t', '\\t')
  return text if most is None or len(text) <= most else f'{text[: most - 3]}...'


# --- other errors ---------------------------------------------------------------


def message_of(error: Exception) -> str:
  """The message of an error, with its type and line unless it is a `UserError`.

  Args:
    error: raised by code that a user may have written: a model, a transform, a config.
  """
  # JAX appends a line of hyphens and a note on its tracebacks, Flax an address.
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
def as_user_error(what: str) -> Iterator[None]:
  """Turns any error into a `UserError` `what: message`; a `UserError` is not changed.

  Raises:
    UserError: for whatever is raised inside.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    raise UserError(f'{what}: {message_of(error)}') from error


def of_callback(error: Exception) -> UserError | None:
  """The `UserError` that a host callback of a compiled program raised, or None.

  XLA does not pass on the exception, only the text of its traceback.

  Args:
    error: raised by the program.
  """
  found = re.search(r'[Cc]allback.*^(?:\w+\.)*UserError: (.*)', str(error),
                    re.DOTALL | re.MULTILINE)
  return UserError(found[1].strip()) if found else None


_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG,
                   errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EACCES,
                   errno.EPERM)


def of_machine(error: Exception, code: pathlib.Path) -> UserError | None:
  """The `UserError` for a problem with a file or the machine; None if with the code.

  Args:
    error: an unhandled error.
    code: the folder of the code. A missing file there, or in a library, is not the
      user's mistake.
  """
  if isinstance(error, MemoryError):
    return UserError(f'out of memory: {message_of(error)}')
  if isinstance(error, UnicodeEncodeError) and error.reason.startswith('surrogates'):
    return UserError(f'{error.object[:200]!r} is not UTF-8, which a name must be')
  if not isinstance(error, OSError) or error.strerror is None:
    return None
  if not isinstance(error.filename, str | bytes):
    return UserError(message_of(error)) if error.errno in _OF_THE_MACHINE else None
  name = os.fsdecode(error.filename)
  path = pathlib.PurePath(name)
  own = _OF_LIBRARIES & {*path.parts} or any(map(path.is_relative_to, (
    code, os.path.dirname(os.__file__))))
  if own and error.errno not in _OF_THE_MACHINE:
    return None
  return UserError(f'{name}: {error.strerror}')


def is_of_machine(error: Exception) -> bool:
  """Whether an error of reading data is due to this machine, not to the data."""
  return isinstance(error, ImportError | MemoryError) or bool(
    getattr(error, 'errno', None))


_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def why_unwritable(error: BaseException | None) -> str | None:
  """The system's message if a disk is full or read-only, here or in a cause; or None.

  Args:
    error: may come from a library, such as TensorStore, that reports system errors
      only as text.
  """
  while error is not None:
    for code in _CANNOT_WRITE:
      if getattr(error, 'errno', None) == code or os.strerror(code) in str(error):
        return os.strerror(code)
    error = error.__cause__ or error.__context__
  return None


# --- lists and suggestions ------------------------------------------------------


def listed(items: Iterable, most: int = 8) -> str:
  """'a, b, c and 2 more', with at most `most` items; 'nothing' if there are none."""
  items = list(items)
  more = f' and {len(items) - most:,} more' if len(items) > most else ''
  return ', '.join(map(str, items[:most])) + more if items else 'nothing'


def number(value: float) -> str:
  """A number for a message: 435, 0.25."""
  return f'{value:.10g}'


def nearest(name: str, choices: Iterable[str]) -> str:
  """'; did you mean X?' if a choice is close, or else '; choose from X, Y'.

  Args:
    name: what was given.
    choices: the legal names.
  """
  choices = [*choices]
  if not choices:
    return '; there are none'
  return did_you_mean(name, choices) or (
    f'; choose from {listed(sorted(map(one_line, choices)), 100)}')


def did_you_mean(name: str, choices: Iterable[str]) -> str:
  """'; did you mean X?' if a choice is close, or else ''. See `nearest`."""
  folded = {c.lower(): c for c in sorted(map(one_line, choices), reverse=True)}
  close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
  return f'; did you mean {folded[close[0]]!r}?' if close else ''
