"""Imports go downwards through the packages of bigmodels, without cycles."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'bigmodels'
# From top to bottom: a package may import those below it.
ORDER = (
  'modes', 'cli', 'export', 'training', 'logs', 'storage', 'config', 'techniques',
  'learners', 'tasks', 'models', 'data', 'environments', 'hardware', 'layers', 'losses',
  'metrics', 'plots', 'optim', 'distributed', 'parallel', 'core')
# Pure functions: these import only their own files, and `core`.
PURE = ('layers', 'losses', 'metrics', 'plots', 'optim', 'parallel', 'environments')
FAMILIES = {'models', 'tasks', 'learners'}
# What serves every experiment imports no family.
SPINE = ('cli', 'export', 'training', 'logs', 'storage', 'hardware', 'distributed',
         'parallel')
# The types of learners and tasks.
OF_SPINE = {'training': {'learners', 'tasks'}}
# What few runs need, such as several processes: imported in the functions that do.
RARE = ('distributed.connected', 'distributed.connection', 'distributed.coordinator',
        'distributed.secret', 'hardware.costs', 'hardware.topologies',
        'storage.published', 'storage.published_arrays',
        'storage.published_metadata', 'storage.weight_files')
MACHINERY = {'modes', 'cli', 'export', 'training', 'storage', 'logs', 'hardware',
             'distributed'}


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


def packages(names: set[str]) -> set[str]:
  return {name.split('.')[1] for name in names if name.startswith('bigmodels.')}


def _files() -> list[pathlib.Path]:
  return sorted(PACKAGE.rglob('*.py'))


def _module(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def test_what_counts_as_an_import():
  names = imported(
    'import bigmodels.models.cnn as c\nfrom bigmodels import tasks, data\nimport os\n'
    'def f():\n  from bigmodels.data.tables.table import Table\nimport experiments.x')
  assert packages(names) == {'models', 'tasks', 'data'}
  assert 'experiments.x' in names and 'os' not in names


def test_every_folder_is_in_the_list_and_no_file_is_beside_them():
  folders = {p.name for p in PACKAGE.iterdir() if p.is_dir()} - {'__pycache__'}
  assert folders == {*ORDER}
  assert [p.name for p in PACKAGE.glob('*.py')] == ['__init__.py']


@pytest.mark.parametrize('path', _files(), ids=_module)
def test_imports_go_downwards(path):
  names, module = imported(path.read_text()), _module(path)
  assert not {name.partition('.')[0] for name in names} - {'bigmodels'}
  if module == 'bigmodels':
    return
  package = module.split('.')[1]
  below = {package, *ORDER[ORDER.index(package) + 1 :]}
  if package in PURE:
    below = {package, 'core'}
  assert packages(names) - below == set()
  if package in SPINE and '.self_check' not in module:
    assert packages(names) & FAMILIES <= OF_SPINE.get(package, set())


@pytest.mark.parametrize('path', _files(), ids=_module)
def test_a_file_has_at_most_400_lines(path):
  assert len(path.read_text().splitlines()) <= 400


def test_training_imports_nothing_that_few_runs_need():
  modules = {_module(path): path for path in _files()}
  found, new = set(), {'bigmodels.cli.command', 'bigmodels.modes.train'}
  while new:
    found |= new
    bodies = [ast.parse(modules[name].read_text()).body for name in new]
    names = imported('\n'.join(
      ast.unparse(node) for body in bodies for node in body
      if isinstance(node, ast.Import | ast.ImportFrom)))
    new = {n for name in names for n in (name, name.rpartition('.')[0])
           if n in modules} - found
  assert {f'bigmodels.{name}' for name in RARE} < {*modules}
  assert found & {f'bigmodels.{name}' for name in RARE} == set()


def test_there_are_no_cycles():
  modules = {_module(path): path for path in _files()}

  def known(name):
    return name if name in modules else name.rpartition('.')[0]

  above = {}
  for module, path in modules.items():
    names = {known(name) for name in imported(path.read_text())} - {module}
    above[module] = {n for n in names if n in modules}
  done, trail = set(), []

  def visit(module):
    assert module not in trail, ' -> '.join([*trail[trail.index(module):], module])
    if module in done:
      return
    trail.append(module)
    for name in sorted(above[module]):
      visit(name)
    done.add(trail.pop())

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
  assert not packages(imported(path.read_text())) & MACHINERY
