"""Imports run one way: what a room of the house may know of the others."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PURE = ('losses', 'metrics', 'schedules', 'figures', 'errors', 'layers', 'keys',
        'names', 'precision', 'decoding', 'seal')
# Room -> what it may import of bigmodels, beside itself.
ALLOWED = {
  **{room: set() for room in PURE},
  'values': {'errors'},
  'recipes': {'errors', 'values'},
  'models': {'layers'},
  'hardware': {'layers', 'errors'},
  'paths': {'errors'},
  'console': {'errors'},
  'data': {'errors', 'paths'},
  'environments': {'errors'},
  'optim': {'names'},
  'tasks': {'losses', 'metrics', 'figures', 'errors', 'decoding', 'names'},
  'sharding': {'errors', 'names'},
  'learners': {'tasks', 'environments', 'errors', 'keys'},
  'experiment': {'learners', 'data', 'paths', 'precision', 'sharding'},
  'source': {'errors'},
  'trust': {'errors', 'source', 'values'},
  'config': {'errors', 'experiment', 'paths', 'recipes', 'source', 'trust', 'values'},
}
MACHINERY = ('build', 'loop', 'modes', 'workdir', 'checkpoint', 'results', 'trained')
FORBIDDEN = {  # the rooms above: what they may not name
  'parallel': {'models', 'tasks', 'modes', 'loop'},
  'logs': {'models', 'tasks', 'learners', 'data', 'modes', 'loop'},
  **{room: {'models', 'experiments'} for room in MACHINERY},
}


def rooms_imported(text: str) -> set[str]:
  """Rooms of bigmodels, and `experiments`, that a file names in its imports."""
  found = set()
  for node in ast.walk(ast.parse(text)):
    names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
      assert node.level == 0, 'imports are absolute'
      names = [f'{node.module}.{a.name}' for a in node.names]
    parts = [name.split('.') for name in names]
    found |= {p[1] for p in parts if p[0] == 'bigmodels' and len(p) > 1}
    found |= {p[0] for p in parts if p[0] in ('experiments', 'tests', 'run')}
  return found


def _rooms():
  paths = sorted((ROOT / 'bigmodels').rglob('*.py'))
  return [(p.relative_to(ROOT / 'bigmodels').parts[0].removesuffix('.py'), p)
          for p in paths]


def test_what_counts_as_an_import():
  text = ('import bigmodels.models.cnn as c\nfrom bigmodels import tasks, loop\n'
          'def f():\n  from bigmodels.data.table import Table\nimport experiments.x')
  assert rooms_imported(text) == {'models', 'tasks', 'loop', 'data', 'experiments'}


@pytest.mark.parametrize('name', [*ALLOWED, *FORBIDDEN])
def test_rules_name_rooms(name):
  assert name in {room for room, _ in _rooms()}


@pytest.mark.parametrize(('room', 'path'), [
  pytest.param(room, path, id=str(path.relative_to(ROOT))) for room, path in _rooms()])
def test_imports_run_one_way(room, path):
  imported = rooms_imported(path.read_text()) - {room}
  assert not imported & {'experiments', 'tests', 'run'}
  assert not imported & FORBIDDEN.get(room, set())
  if room in ALLOWED:
    assert imported <= ALLOWED[room]


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
  assert not rooms_imported(path.read_text()) & {
    'modes', 'loop', 'build', 'checkpoint', 'workdir', 'config', 'parallel', 'results'}
