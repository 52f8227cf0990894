"""Imports run one way. A room knows those below it, and nothing runs in a circle."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOUSE = ROOT / 'bigmodels'
# From the top to the ground. A room may import those below it.
FLOORS = (
  'modes', 'cli', 'training', 'logs', 'storage', 'config', 'learners', 'tasks',
  'models', 'data', 'environments', 'hardware', 'layers', 'losses', 'metrics', 'plots',
  'optim', 'distributed', 'parallel', 'core')
# Mathematics: these know only their own files, and `core`.
PURE = ('layers', 'losses', 'metrics', 'plots', 'optim', 'parallel', 'environments')
FAMILIES = {'models', 'tasks', 'learners'}
# What must hold for any experiment names no family.
SPINE = ('cli', 'training', 'logs', 'storage', 'hardware', 'distributed', 'parallel')
# The types of learners and tasks.
OF_SPINE = {'training': {'learners', 'tasks'}}
MACHINERY = {'modes', 'cli', 'training', 'storage', 'logs', 'hardware', 'distributed'}


def imported(text: str) -> set[str]:
  """Dotted names of bigmodels, experiments, tests and run that a file imports."""
  found = set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      found |= {a.name for a in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'imports are absolute'
      found |= {f'{node.module}.{a.name}' for a in node.names}
  ours = ('bigmodels', 'experiments', 'tests', 'run')
  return {name for name in found if name.partition('.')[0] in ours}


def rooms(names: set[str]) -> set[str]:
  return {name.split('.')[1] for name in names if name.startswith('bigmodels.')}


def _files() -> list[pathlib.Path]:
  return sorted(HOUSE.rglob('*.py'))


def _module(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def test_what_counts_as_an_import():
  names = imported(
    'import bigmodels.models.cnn as c\nfrom bigmodels import tasks, data\nimport os\n'
    'def f():\n  from bigmodels.data.tables.table import Table\nimport experiments.x')
  assert rooms(names) == {'models', 'tasks', 'data'}
  assert 'experiments.x' in names and 'os' not in names


def test_every_room_has_its_floor_and_nothing_lies_loose():
  folders = {p.name for p in HOUSE.iterdir() if p.is_dir()} - {'__pycache__'}
  assert folders == {*FLOORS}
  assert [p.name for p in HOUSE.glob('*.py')] == ['__init__.py']


@pytest.mark.parametrize('path', _files(), ids=_module)
def test_imports_run_downwards(path):
  names, module = imported(path.read_text()), _module(path)
  assert not {name.partition('.')[0] for name in names} - {'bigmodels'}
  if module == 'bigmodels':
    return
  room = module.split('.')[1]
  below = {room, *FLOORS[FLOORS.index(room) + 1 :]}
  if room in PURE:
    below = {room, 'core'}
  assert rooms(names) - below == set()
  if room in SPINE and '.self_check' not in module:
    assert rooms(names) & FAMILIES <= OF_SPINE.get(room, set())


def test_nothing_runs_in_a_circle():
  modules = {_module(path): path for path in _files()}

  def known(name):
    return name if name in modules else name.rpartition('.')[0]

  above = {}
  for module, path in modules.items():
    names = {known(name) for name in imported(path.read_text())} - {module}
    above[module] = {n for n in names if n in modules}
  done, way = set(), []

  def visit(module):
    assert module not in way, ' -> '.join([*way[way.index(module):], module])
    if module in done:
      return
    way.append(module)
    for name in sorted(above[module]):
      visit(name)
    done.add(way.pop())

  for module in modules:
    visit(module)


def test_no_test_module_is_imported_from():
  """It would skip, or fail to be collected, with the one that imports it."""
  for path in sorted((ROOT / 'tests').rglob('*.py')):
    tree = ast.walk(ast.parse(path.read_text()))
    modules = [node.module for node in tree if isinstance(node, ast.ImportFrom)]
    assert not [m for m in modules if m.endswith('_test')], path


def test_what_needs_a_reference_library_is_marked():
  """`-m reference` is how CI finds it: elsewhere it is skipped."""
  for path in sorted((ROOT / 'tests').rglob('*_test.py')):
    text = path.read_text()
    if re.search(r"importorskip\('torch'|tests\.models\.published import", text):
      assert 'mark.reference' in text, path


@pytest.mark.parametrize('path', sorted((ROOT / 'experiments').glob('*.py')),
                         ids=lambda p: p.stem)
def test_experiments_import_no_machinery(path):
  assert not rooms(imported(path.read_text())) & MACHINERY
