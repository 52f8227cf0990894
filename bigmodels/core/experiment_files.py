"""The files in `experiments/` as text: what they say of themselves, without JAX.

The first line of the docstring of an experiment is its summary. A line `Needs: DATA;
TIME` in it says what it reads, and how long it takes on what.
"""

import ast
import pathlib
import re
from typing import NamedTuple

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# In an installation they are inside of the package, in a checkout beside it.
EXPERIMENTS = _PACKAGE / 'experiments'
if not EXPERIMENTS.is_dir():
  EXPERIMENTS = _PACKAGE.parent / 'experiments'


class Knob(NamedTuple):
  """An argument of the `config()` of an experiment, as text.

  Attributes:
    name: of the argument.
    type: its annotation, '' if there is none.
    default: its default, '' if there is none.
    help: what the `Args:` of `config()` say of it.
  """

  name: str
  type: str
  default: str
  help: str


class Described(NamedTuple):
  """What the file of an experiment says.

  Attributes:
    summary: the first line of its docstring.
    needs: data, and time on a device; '' if it does not say so.
    docstring: all of it.
    knobs: of its `config()`.
  """

  summary: str
  needs: str
  docstring: str
  knobs: tuple[Knob, ...]


def files() -> dict[str, pathlib.Path]:
  """Name -> path of each file in `experiments/`."""
  return {path.stem: path for path in sorted(EXPERIMENTS.glob('[!_]*.py'))}


def summaries() -> dict[str, str]:
  """Name -> first line of the docstring, for every file in `experiments/`."""
  return {name: describe(path).summary for name, path in files().items()}


def named(experiment: str) -> pathlib.Path:
  """The path of an experiment: of a name in `experiments/`, else the path given."""
  return files().get(experiment, pathlib.Path(experiment))


def describe(path: pathlib.Path) -> Described:
  """Reads an experiment; its code is not executed."""
  try:
    tree = ast.parse(path.read_bytes())
  except (OSError, SyntaxError, ValueError, RecursionError) as error:
    return Described(f'(cannot be read: {error})', '', '', ())
  text = ast.get_docstring(tree) or ''
  needs = re.search(r'^Needs: (.*(?:\n\S.*)*)', text, re.MULTILINE)
  config = next((node for node in reversed(tree.body)
                 if isinstance(node, ast.FunctionDef) and node.name == 'config'), None)
  return Described(
    text.partition('\n')[0], ' '.join(needs[1].split()).rstrip('.') if needs else '',
    text, () if config is None else _knobs(config))


def _knobs(config: ast.FunctionDef) -> tuple[Knob, ...]:
  texts, given = arguments_of(ast.get_docstring(config) or ''), config.args
  positional = [*given.posonlyargs, *given.args]
  defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
  return tuple(
    Knob(a.arg, ast.unparse(a.annotation) if a.annotation else '',
         ast.unparse(default) if default else '', texts.get(a.arg, ''))
    for a, default in zip([*positional, *given.kwonlyargs],
                          [*defaults, *given.kw_defaults], strict=True))


def fields() -> tuple[str, ...]:
  """The names of the fields of `Experiment`, from the text of its file."""
  tree = ast.parse((_PACKAGE / 'config' / 'experiment.py').read_bytes())
  record = next(node for node in tree.body
                if isinstance(node, ast.ClassDef) and node.name == 'Experiment')
  return tuple(node.target.id for node in record.body
               if isinstance(node, ast.AnnAssign))


def arguments_of(docstring: str) -> dict[str, str]:
  """Name -> text, for the `Args:` section of a docstring."""
  section = re.search(r'^Args:\n((?:  .*\n|\n)*)', f'{docstring}\n', re.MULTILINE)
  found = re.findall(r'^  (\w+): (.*(?:\n    .*)*)', section[1] if section else '',
                     re.MULTILINE)
  return {name: ' '.join(text.split()).removesuffix('.') for name, text in found}
