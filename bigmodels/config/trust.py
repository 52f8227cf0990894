"""Which names a stored config may have, and which code a stored run may execute.

People share workdirs as data, so what is read from one is checked before anything is
imported or called. A name must be one that `MODULES` allows. Text that a class would
turn into an import or a download is refused; see `TEXTS`. Code must belong to this
checkout, or have been run before by this user on this machine. `--trust` skips these
checks.
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

# Module -> functions and classes that a stored config may not name. The others
# write no file, read none but data, and import or execute no text.
MODULES: dict[str, tuple[str, ...]] = {
  'bigmodels.data': (),
  'bigmodels.data.boxes': (),
  'bigmodels.data.cleaning': (),
  'bigmodels.data.folds': (),
  'bigmodels.data.images': (),
  'bigmodels.data.recordings': (),
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
  'flax.linen': (  # settings of the process, and functions that make no model
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
# Names in the modules of these packages are allowed too, such as
# `bigmodels.layers.recurrent.Lstm`.
PACKAGES = ('bigmodels.data.transforms', 'bigmodels.layers', 'bigmodels.losses',
            'bigmodels.metrics', 'bigmodels.models', 'bigmodels.optim',
            'bigmodels.tasks')
# An object that a stored config names must be defined in one of these packages.
ROOTS = ('bigmodels', 'flax', 'jax', 'jaxlib', 'optax')
BUILTINS = ('abs', 'bool', 'complex', 'float', 'int', 'max', 'min', 'round', 'sum')

# Class -> field -> the pattern that its text must match in a stored config, unless the
# experiment itself has that text; and the reason.
_DATASET = r"'\w+(/[\w.-]+)?(:[\d.*]+)?'", 'a name with a colon may name code elsewhere'
_ADDRESSES = r'\{\}', 'these are downloaded and written to files'
TEXTS: dict[str, dict[str, tuple[str, str]]] = {
  'bigmodels.environments.Gymnasium': {
    'name': (r"'[\w./-]+'", 'the module before a colon is imported')},
  'bigmodels.data.EllipseMasks': {'name': _DATASET},
  'bigmodels.data.Tfds': {'name': _DATASET},
  'bigmodels.data.boxes.TfdsObjects': {'name': _DATASET},
  'bigmodels.data.texts.TfdsText': {'name': _DATASET},
  'bigmodels.data.texts.ParallelFiles': {'urls': _ADDRESSES},
  'bigmodels.data.texts.LabelledTexts': {'urls': _ADDRESSES},
}
_LEGAL = ('the names that a stored config may have, of bigmodels, optax, flax.linen, '
          'jax.nn, jax.numpy, jax.lax or the experiment itself')
HINT = 'add --trust to execute it, if you trust this run'


# --- names ----------------------------------------------------------------------


def offered(text: str, own: str | None = None) -> Any:
  """The object of a dotted name, EMPTY if a stored config may not have that name.

  Only modules of `MODULES` and `PACKAGES` are imported.

  Args:
    text: the name.
    own: module of the experiment; its functions and classes are allowed too.
  """
  *parents, last = text.split('.')
  if any(not part.isidentifier() or part.startswith('_') for part in (*parents, last)):
    return EMPTY
  if not parents or parents == ['builtins']:
    return literals.imported(last)[0] if last in BUILTINS else EMPTY
  if own and f'{text}.'.startswith(f'{own}.'):
    return _of_experiment(text, own)
  module = '.'.join(parents)
  found = _member(module, last)
  if found is EMPTY and len(parents) > 1:  # a member of an enum
    module, _, name = module.rpartition('.')
    kind = _member(module, name)
    if isinstance(kind, enum.EnumMeta):
      found = kind.__members__.get(last, EMPTY)
  return found


def _member(module: str, name: str) -> Any:
  if module not in MODULES and module.rpartition('.')[0] not in PACKAGES:
    return EMPTY
  try:
    imported = importlib.import_module(module)
  except ImportError:
    return EMPTY
  public = getattr(imported, '__all__', None)
  found = vars(imported).get(name, EMPTY)
  if name in MODULES.get(module, ()) or not callable(found) or (
    public is not None and module.startswith('bigmodels.') and name not in public):
    return EMPTY
  home = getattr(found, '__module__', None) or ''
  if module.startswith('bigmodels.') and not f'{home}.'.startswith(f'{module}.'):
    return EMPTY  # imported by that module
  return found if home.partition('.')[0] in ROOTS else EMPTY


def _of_experiment(text: str, own: str) -> Any:
  """A function or class defined by an experiment, or by a module beside it."""
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
  """Finds names in a stored config, for `literals.parse`.

  Args:
    own: module of the experiment.
    lines: path -> text, of the config.
    trust: what the user trusts.
    prefix: prefix of the paths in `lines`.
  """
  def find(text, path):
    found = offered(text, own)
    if found is not EMPTY:
      return found, ''
    if not all(map(str.isidentifier, text.split('.'))):
      return EMPTY, ''  # not a name
    if trust.holds(_line(prefix + path, lines)):
      return literals.imported(text)
    module, _, name = text.rpartition('.')
    close = nearest(name, _names(module, own)) if name else ''
    raise UserError(f'{path}: {text[:80]} is not one of {_LEGAL}'
                    f'{close if "mean" in close else ""}; {HINT}')
  return find


def _names(module: str, own: str) -> list[str]:
  if module not in MODULES:
    return []
  names = [n for n in vars(importlib.import_module(module)) if not n.startswith('_')]
  return [n for n in names if offered(f'{module}.{n}', own) is not EMPTY]


def check_texts(lines: Mapping[str, str], given: Mapping[str, str], typed: set[str],
                trust: 'Trust') -> None:
  """Refuses text that a class of this project would import or download.

  Args:
    lines: path -> text, of a stored config.
    given: the same for the experiment as `config()` returned it.
    typed: texts of the arguments of that call.
    trust: what the user trusts.

  Raises:
    UserError: naming the line.
  """
  for path, text in _odd_texts(lines):
    own = given.get(path) == text and not any(
      word in text for t in typed for word in re.findall(r'[^\'"]+', t) if t != word)
    if not own and not trust.holds(_line(path, lines)):
      _, reason = TEXTS[lines[path.rpartition('.')[0]]][path.rpartition('.')[2]]
      raise UserError(f'{path}: a stored config may not have {text[:80]} there: '
                      f'{reason}; {HINT}')


def _odd_texts(lines: Mapping[str, str]) -> Iterable[tuple[str, str]]:
  for path, text in lines.items():
    for field, (pattern, _) in TEXTS.get(text, {}).items():
      line = f'{path}.{field}'
      if line in lines and not re.fullmatch(pattern, lines[line]):
        yield line, lines[line]


# --- the user's trust -----------------------------------------------------------


class Trust(NamedTuple):
  """What may be executed besides the code of this checkout.

  Attributes:
    everything: whether --trust was given.
    known: digests of code and of config lines that were run before.
  """

  everything: bool = False
  known: frozenset[str] = frozenset()

  def holds(self, digest: str) -> bool:
    """Whether the code or config line with this digest may be executed."""
    return self.everything or digest in self.known


def of_user(everything: bool = False) -> Trust:
  """What the user of this process has run on this machine.

  A list that cannot be read, or that other users can write to, is treated as empty.

  Args:
    everything: whether --trust was given.
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
  """Adds digests to the user's list, if it is writable."""
  new = [d for d in dict.fromkeys(digests) if d not in of_user().known]
  path = _path()
  if not new or path is None:
    return
  with contextlib.suppress(OSError):
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(handle, 'ab') as file:
      # A newline first: a full disk may have truncated the line before.
      file.write(('\n' + '\n'.join(new) + '\n').encode())


def _path() -> pathlib.Path | None:
  """Path of the list; None for a user without a home folder."""
  state = os.environ.get('XDG_STATE_HOME', '')
  try:
    folder = pathlib.Path(state) if os.path.isabs(state) else (
      pathlib.Path.home() / '.local' / 'state')
  except RuntimeError:
    return None
  return folder / 'bigmodels' / 'trusted' if folder.is_absolute() else None


def digests(source: Source, lines: Mapping[str, str]) -> list[str]:
  """Digests of the code of a run, and of the names in its config that need trust.

  Args:
    source: its code.
    lines: path -> text, of its config.
  """
  foreign = [path for path, text in lines.items() if path != 'experiment'
             and re.fullmatch(r'[^\W\d]\w*(\.[^\W\d]\w*)*', text)
             and text not in ('True', 'False', 'None')
             and offered(text, source.module) is EMPTY]
  foreign += [path for path, _ in _odd_texts(lines)]
  return [source.digest, *(_line(path, lines) for path in foreign)]


def _line(path: str, lines: Mapping[str, str]) -> str:
  """Digest of a config line and of its arguments, the lines below it."""
  below = {k: v for k, v in lines.items() if f'{k}.'.startswith(f'{path}.')}
  return hashlib.sha256(json.dumps(['line', path, below]).encode()).hexdigest()
