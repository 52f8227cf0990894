"""What a stored config may name, and what code a stored run may execute.

People hand workdirs on as data. So what is read from one is checked before anything is
imported or called. A name must be one of those that make recipes, in `ROOMS`; text that
a class would turn into an import or an address must not, see `TEXTS`; and code must be
that of this checkout, or have been run by this user on this machine. The rest is
executed where the user says --trust.
"""

import contextlib
import enum
import hashlib
import importlib
import json
import os
import pathlib
import re
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from bigmodels.config import literals
from bigmodels.config.literals import EMPTY
from bigmodels.config.source import Source
from bigmodels.core.errors import UserError, nearest

# Module -> what it has that a stored config may not name. None of the others reads or
# writes a file when it is called, but for data; none imports, or executes text.
ROOMS: dict[str, tuple[str, ...]] = {
  'bigmodels.data': (),
  'bigmodels.data.cleaning': (),
  'bigmodels.data.images': (),
  'bigmodels.data.texts': (),
  'bigmodels.data.tokenizers': (),
  'bigmodels.data.transforms': (),
  'bigmodels.data.test_time': (),
  'bigmodels.tasks.decoding': (),
  'bigmodels.environments': (),
  'bigmodels.config': (),
  'bigmodels.learners': (),
  'bigmodels.learners.gradient': (),
  'bigmodels.losses': (),
  'bigmodels.metrics': (),
  'bigmodels.models': (),
  'bigmodels.optim': (),
  'bigmodels.optim.schedules': (),
  'bigmodels.parallel.sharding': (),
  'bigmodels.tasks': (),
  'flax.linen': (  # settings of the process, and what is not part of a model
    'apply', 'disable_named_call', 'enable_named_call', 'init', 'init_with_output',
    'intercept_methods', 'logical_axis_rules', 'override_named_call',
    'set_logical_axis_rules', 'tabulate'),
  'flax.linen.activation': (),
  'flax.linen.initializers': (),
  'jax.lax': (),
  'jax.nn': (),
  'jax.nn.initializers': (),
  'jax.numpy': (  # files (`load` unpickles), and settings of the process
    'fromfile', 'load', 'printoptions', 'save', 'savez', 'set_printoptions'),
  'jax.numpy.fft': (),
  'jax.numpy.linalg': (),
  'optax': (),
  'optax.contrib': (),
  'optax.losses': (),
  'optax.projections': (),
  'optax.schedules': (),
  'optax.transforms': (),
  'optax.tree_utils': (),
}
# These offer what their own modules define, too: `bigmodels.layers.recurrent.Lstm`.
PACKAGES = ('bigmodels.data.transforms', 'bigmodels.layers', 'bigmodels.losses',
            'bigmodels.metrics', 'bigmodels.models', 'bigmodels.optim',
            'bigmodels.tasks')
# What is found there must be defined in one of these.
ROOTS = ('bigmodels', 'flax', 'jax', 'jaxlib', 'optax')
BUILTINS = ('abs', 'bool', 'complex', 'float', 'int', 'max', 'min', 'round', 'sum')

# Class -> field -> what its text may be, in a stored config, where the experiment does
# not say it itself; why.
_DATASET = r"'\w+(/[\w.-]+)?(:[\d.*]+)?'", 'a name with a colon can mean code elsewhere'
_ADDRESSES = r'\{\}', 'these are fetched, and written to files'
TEXTS: dict[str, dict[str, tuple[str, str]]] = {
  'bigmodels.environments.Gymnasium': {
    'name': (r"'[\w./-]+'", 'what stands before a colon is imported')},
  'bigmodels.data.Tfds': {'name': _DATASET},
  'bigmodels.data.texts.TfdsText': {'name': _DATASET},
  'bigmodels.data.texts.ParallelFiles': {'urls': _ADDRESSES},
  'bigmodels.data.texts.LabelledCsv': {'urls': _ADDRESSES},
}
_LEGAL = ('the names that bigmodels, optax, flax.linen, jax.nn, jax.numpy, jax.lax or '
          'the experiment itself offer a stored config')
_HINT = 'if you trust this run, say --trust'


# --- names ----------------------------------------------------------------------


def offered(text: str, own: str | None = None) -> Any:
  """What a dotted name stands for if a stored config may say it, EMPTY if not.

  Nothing is imported but modules of `ROOMS` and `PACKAGES`.

  Args:
    text: the name.
    own: module of the experiment, whose functions and classes are offered.
  """
  *rooms, last = text.split('.')
  if any(not part.isidentifier() or part.startswith('_') for part in (*rooms, last)):
    return EMPTY
  if not rooms or rooms == ['builtins']:
    return literals.imported(last)[0] if last in BUILTINS else EMPTY
  if own and f'{text}.'.startswith(f'{own}.'):
    return _of_experiment(text, own)
  room = '.'.join(rooms)
  found = _in_room(room, last)
  if found is EMPTY and len(rooms) > 1:  # a member of an enum
    room, _, name = room.rpartition('.')
    kind = _in_room(room, name)
    if isinstance(kind, enum.EnumMeta):
      found = kind.__members__.get(last, EMPTY)
  return found


def _in_room(room: str, name: str) -> Any:
  if room not in ROOMS and room.rpartition('.')[0] not in PACKAGES:
    return EMPTY
  try:
    module = importlib.import_module(room)
  except ImportError:
    return EMPTY
  public = getattr(module, '__all__', None)
  found = vars(module).get(name, EMPTY)
  if name in ROOMS.get(room, ()) or not callable(found) or (
    public is not None and room.startswith('bigmodels.') and name not in public):
    return EMPTY
  home = getattr(found, '__module__', None) or ''
  if room.startswith('bigmodels.') and not f'{home}.'.startswith(f'{room}.'):
    return EMPTY  # what a module has imported for itself
  return found if home.partition('.')[0] in ROOTS else EMPTY


def _of_experiment(text: str, own: str) -> Any:
  """A function or class that an experiment, or a module beside it, defines."""
  parts = text.split('.')
  for cut in range(len(parts) - 1, 1, -1):
    found: Any = sys.modules.get('.'.join(parts[:cut]))
    if found is None:
      continue
    for name in parts[cut:]:
      found = getattr(found, name, EMPTY)
    home = getattr(found, '__module__', None) or ''
    if callable(found) and f'{home}.'.startswith(f'{own}.') and (
      getattr(found, '__qualname__', None) == '.'.join(parts[cut:])):
      return found
  return EMPTY


def finder(own: str, lines: Mapping[str, str], trust: 'Trust', prefix: str = ''
           ) -> Callable[[str, str], tuple[Any, str]]:
  """What finds the names in a stored config; see `literals.imported`.

  Args:
    own: module of the experiment.
    lines: path -> text, of the config.
    trust: of the user.
    prefix: of the paths that are asked for.
  """
  def find(text, path):
    found = offered(text, own)
    if found is not EMPTY:
      return found, ''
    if not all(map(str.isidentifier, text.split('.'))):
      return EMPTY, ''  # not a name
    if trust.holds(_line(prefix + path, lines)):
      return literals.imported(text)
    room, _, name = text.rpartition('.')
    close = nearest(name, _names(room, own)) if name else ''
    raise UserError(f'{path}: {text[:80]} is not one of {_LEGAL}'
                    f'{close if "mean" in close else ""}; {_HINT}')
  return find


def _names(room: str, own: str) -> list[str]:
  if room not in ROOMS:
    return []
  names = [n for n in vars(importlib.import_module(room)) if not n.startswith('_')]
  return [n for n in names if offered(f'{room}.{n}', own) is not EMPTY]


def check_texts(lines: Mapping[str, str], given: Mapping[str, str], typed: set[str],
                trust: 'Trust') -> None:
  """Refuses text that a class of this project would import, or fetch.

  Args:
    lines: path -> text, of a stored config.
    given: the same, as the experiment gives it.
    typed: texts of the arguments that it was given.
    trust: of the user.

  Raises:
    UserError: naming the line.
  """
  for path, text in _odd_texts(lines):
    own = given.get(path) == text and not any(
      word in text for t in typed for word in re.findall(r'[^\'"]+', t) if t != word)
    if not own and not trust.holds(_line(path, lines)):
      _, reason = TEXTS[lines[path.rpartition('.')[0]]][path.rpartition('.')[2]]
      raise UserError(f'{path}: {text[:80]} is not what a stored config may say there: '
                      f'{reason}; {_HINT}')


def _odd_texts(lines: Mapping[str, str]) -> Iterable[tuple[str, str]]:
  for path, text in lines.items():
    for field, (pattern, _) in TEXTS.get(text, {}).items():
      line = f'{path}.{field}'
      if line in lines and not re.fullmatch(pattern, lines[line]):
        yield line, lines[line]


# --- what the user trusts -------------------------------------------------------


class Trust(NamedTuple):
  """What may be executed beyond what this checkout has.

  Attributes:
    everything: whether the user says --trust.
    known: digests of what was run before.
  """

  everything: bool = False
  known: frozenset[str] = frozenset()

  def holds(self, digest: str) -> bool:
    return self.everything or digest in self.known


def of_user(everything: bool = False) -> Trust:
  """What the user of this process has run before, on this machine.

  A list that cannot be read, or that others may write to, counts as empty.
  """
  path = _path()
  if path is None:
    return Trust(everything)
  try:
    with open(path, 'rb') as file:
      for found in (os.fstat(file.fileno()), path.parent.stat()):
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
          return Trust(everything)
      if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return Trust(everything)
      data = file.read()
  except OSError:
    return Trust(everything)
  found = re.findall(rb'^[0-9a-f]{64}$', data, re.MULTILINE)
  return Trust(everything, frozenset(digest.decode() for digest in found))


def remember(digests: Iterable[str]) -> None:
  """Adds to what the user has run; nothing fails where that cannot be written."""
  new = [d for d in dict.fromkeys(digests) if d not in of_user().known]
  path = _path()
  if not new or path is None:
    return
  with contextlib.suppress(OSError):
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(handle, 'ab') as file:
      # A line of its own, after one that a full disk has torn too.
      file.write(('\n' + '\n'.join(new) + '\n').encode())


def _path() -> pathlib.Path | None:
  """Of the list; None for a user without a home."""
  state = os.environ.get('XDG_STATE_HOME', '')
  try:
    folder = pathlib.Path(state) if os.path.isabs(state) else (
      pathlib.Path.home() / '.local' / 'state')
  except RuntimeError:
    return None
  return folder / 'bigmodels' / 'trusted' if folder.is_absolute() else None


def digests(source: Source, lines: Mapping[str, str]) -> list[str]:
  """Of what a run executes that this project does not offer: its code, other names."""
  foreign = [path for path, text in lines.items() if path != 'experiment'
             and re.fullmatch(r'[^\W\d]\w*(\.[^\W\d]\w*)*', text)
             and text not in ('True', 'False', 'None')
             and offered(text, source.module) is EMPTY]
  foreign += [path for path, _ in _odd_texts(lines)]
  return [source.digest, *(_line(path, lines) for path in foreign)]


def _line(path: str, lines: Mapping[str, str]) -> str:
  """Digest of a line of a config, what is called, and of those below it, with what."""
  below = {k: v for k, v in lines.items() if f'{k}.'.startswith(f'{path}.')}
  return hashlib.sha256(json.dumps(['line', path, below]).encode()).hexdigest()
