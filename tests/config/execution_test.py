"""Tests of the code of an experiment: what it imports from beside it, executed."""

import pathlib
import subprocess
import sys

import cloudpickle
import pytest

from bigmodels.config import execution, resolving, source
from bigmodels.core.errors import UserError
from bigmodels.modes import train
from tests.config.forks import source_of, write_all

ROOT = pathlib.Path(__file__).resolve().parents[2]
END = '\ndef config(): pass\n'


def _value(found):
  return execution.execute(found).VALUE


BESIDE = {
  'from': ('from helper import X as VALUE', {'helper.py': 'X = 7'}),
  'import': ('import helper\nVALUE = helper.X', {'helper.py': 'X = 7'}),
  'as': ('import helper as h, math\nVALUE = h.X', {'helper.py': 'X = 7'}),
  'star': ('from helper import *', {'helper.py': 'VALUE = 7\n_hidden = 1'}),
  'all': ('from helper import *\nVALUE = f()', {
    'helper.py': '__all__ = ["f"]\ndef f(): return 7'}),
  'relative': ('from .helper import X as VALUE', {'helper.py': 'X = 7'}),
  'relative module': ('from . import helper\nVALUE = helper.X', {'helper.py': 'X = 7'}),
  'a chain': ('from one import VALUE', {'one.py': 'from two import VALUE',
                                        'two.py': 'VALUE = 7'}),
  'a circle': ('from one import VALUE', {
    'one.py': 'import two\nVALUE = 7\nassert two.later() == 7',
    'two.py': 'import one\ndef later(): return one.VALUE'}),
  'a package': ('from parts import VALUE', {
    'parts/__init__.py': 'from parts.inner import X as VALUE',
    'parts/inner.py': 'X = 7'}),
  'relative in a package': ('from parts import VALUE', {
    'parts/__init__.py': 'from .inner import X as VALUE',
    'parts/inner.py': 'from . import other\nfrom ..helper import X as Y\nX = other.Z',
    'parts/other.py': 'Z = 7', 'helper.py': 'X = 0'}),
  'a part': ('from parts.inner import X as VALUE', {
    'parts/__init__.py': '', 'parts/inner.py': 'X = 7'}),
  'a dotted part': ('import parts.inner\nVALUE = parts.inner.X', {
    'parts/__init__.py': '', 'parts/inner.py': 'X = 7'}),
  'a part as': ('import parts.inner as p\nVALUE = p.X', {
    'parts/__init__.py': '', 'parts/inner.py': 'X = 7'}),
  'a part by name': ('from parts import inner\nVALUE = inner.X', {
    'parts/__init__.py': '', 'parts/inner.py': 'X = 7'}),
  'no __init__': ('from parts.inner import X as VALUE', {'parts/inner.py': 'X = 7'}),
  'in a function': ('def f():\n  import helper\n  return helper.X\nVALUE = f()',
                    {'helper.py': 'X = 7'}),
  'in a try': ('try:\n  from helper import X as VALUE\nexcept ImportError: VALUE = 0',
               {'helper.py': 'X = 7'}),
  'in a class': ('class A:\n  from helper import X\nVALUE = A.X', {
    'helper.py': 'X = 7'}),
  'another encoding': ('from helper import X\nVALUE = len(X)', {
    'helper.py': '# coding: utf-8\nX = "äöüßéèç"'}),
}


@pytest.mark.parametrize('kind', BESIDE)
def test_what_lies_beside_an_experiment_is_imported(kind, tmp_path):
  text, files = BESIDE[kind]
  found = source_of(tmp_path / 'a b.c é', {'mine.py': text + END, **files})
  assert set(found.files) == {'mine.py', *files} and not found.notes
  assert _value(found) == 7
  # From a copy of the folder it is the same, and finds nothing elsewhere.
  copy = write_all(tmp_path / 'copy', {n: d.decode() for n, d in found.files.items()})
  for name in found.files:
    (found.folder / name).unlink()
  again = source.read(found.name, found.path, copy)
  assert _value(again) == 7 and again.digest == found.digest
  assert execution.execute(again).__file__ == str(found.path)


def test_modules_beside_two_experiments_do_not_mix(tmp_path):
  lazy = 'import helper\ndef f():\n  from late import Y\n  return helper.X + Y'
  first, second = (execution.execute(source_of(tmp_path / name, {
    'mine.py': lazy + END, 'helper.py': f'X = {x}', 'late.py': f'Y = {x}'}))
    for name, x in (('a', 10), ('b', 20)))
  assert (first.f(), second.f(), first.f()) == (20, 40, 20)
  assert first.helper.__name__ == second.helper.__name__ == 'experiments.mine.helper'
  assert 'helper' not in sys.modules


def test_a_link_means_the_folder_it_leads_to(tmp_path):
  write_all(tmp_path / 'real', {'mine.py': 'from helper import X as VALUE' + END,
                              'helper.py': 'X = 7'})
  (tmp_path / 'link.py').symlink_to(tmp_path / 'real' / 'mine.py')
  assert _value(resolving.source_of(str(tmp_path / 'link.py'))) == 7


SHADOWS = [  # main, its import, files; what VALUE is, what is said
  ('numpy.py', 'import numpy\nVALUE = numpy.float32(7)', {}, ''),
  ('mine.py', 'import optax\nVALUE = optax.X', {'optax.py': 'X = 7'},
   'mine.py, line 1: `import optax` is {}/optax.py, not the installed library'),
  ('mine.py', 'from optax import X as VALUE', {'optax/__init__.py': 'X = 7'},
   'optax/__init__.py, not the installed library'),
  ('mine.py', 'import math\nVALUE = 7 * math.floor(1.5)', {'math.py': 'floor = None'},
   'line 1: `import math` is of the standard library, not {}/math.py'),
  ('mine.py', 'import json\nVALUE = json.loads("7")', {'json.py': '1 / 0'},
   'of the standard library'),
  ('optax.py', 'from helper import VALUE', {
    'helper.py': 'import optax\nVALUE = 7 if optax.adam else 0'},
   'helper.py, line 1: `import optax` is the installed library, not {}/optax.py'),
  ('mine.py', 'from bigmodels import data\nVALUE = 7 if data.Table else 0',
   {'bigmodels/__init__.py': '1 / 0'}, ''),
  ('mine.py', 'import optax\nVALUE = 7 if optax.adam else 0', {'optax/notes.txt': ''},
   ''),
  ('mine.py', 'import flax.linen\nVALUE = 7', {'flax/other.py': ''}, ''),
  ('mine.py', 'from helper import VALUE', {
    'helper.py': 'import optax\nVALUE = optax.X', 'optax.py': 'import optax.losses\n'
    'X = 7 if optax.losses else 0'}, 'not the installed library'),
]


@pytest.mark.parametrize(('main', 'text', 'files', 'said'), SHADOWS)
def test_a_name_that_is_a_librarys_too(main, text, files, said, tmp_path):
  before = dict(sys.modules)
  found = source_of(tmp_path, {main: text + END, **files}, main)
  assert _value(found) == 7
  notes = '\n'.join(found.notes)
  assert said.format(tmp_path) in notes and bool(said) == bool(notes)
  for name in ('optax', 'json', 'math', 'numpy', 'bigmodels'):
    assert sys.modules[name] is before[name]


@pytest.mark.parametrize(('files', 'message'), [
  ({'mine.py': 'from helpr import X', 'helper.py': ''},
   "mine.py, line 1: ModuleNotFoundError: No module named 'helpr'; did you mean "
   "'helper'?"),
  ({'mine.py': 'import nothing_like_it', 'helper.py': ''}, "'nothing_like_it'"),
  ({'mine.py': 'from helper import Nte', 'helper.py': 'Net = 1'},
   "cannot import name 'Nte' from 'helper'"),
  ({'mine.py': 'from helper import Nte', 'helper.py': 'Net = 1'}, "mean 'Net'?"),
  ({'mine.py': 'import helper', 'helper.py': 'a = 1\nb = ('},
   'helper.py, line 2: SyntaxError'),
  ({'mine.py': 'import helper', 'helper.py': 'a = 1\n1 / 0'},
   'helper.py, line 2: ZeroDivisionError'),
  ({'mine.py': 'import helper', 'helper.py': 'def f():\n  import gone\nf()'},
   "helper.py, line 2: ModuleNotFoundError: No module named 'gone'"),
  ({'mine.py': 'import parts.inner', 'parts/__init__.py': ''}, 'parts.inner'),
  ({'mine.py': 'from parts import inner', 'parts/__init__.py': ''}, "'inner'"),
  ({'mine.py': 'from helper import f\ndef config():\n  f()',
    'helper.py': '\ndef f():\n  return {}["a"]'}, 'helper.py, line 3: KeyError'),
  ({'mine.py': 'import helper', 'helper.py': 'a = "\0"'}, 'null bytes'),
])
def test_what_cannot_be_imported_is_one_line(files, message, tmp_path):
  text = files['mine.py'] + ('' if 'config' in files['mine.py'] else END)
  write_all(tmp_path, files | {'mine.py': text})
  with pytest.raises(UserError) as caught:
    resolving.resolve(str(tmp_path / 'mine.py'), {})
  assert message in str(caught.value) and '\n' not in str(caught.value)


def test_functions_beside_an_experiment_go_to_other_processes(tmp_path):
  """Also where they import more only when they are called."""
  found = source_of(tmp_path, {
    'mine.py': 'import helper\nfrom helper import more\ndef f(x):\n'
               '  from late import Z\n  return helper.add(x) + more(x) + Z' + END,
    'helper.py': 'Y = 10\ndef add(x): return x + Y\ndef more(x):\n  import late\n'
                 '  return late.Z', 'late.py': 'Z = 100'})
  sent = cloudpickle.dumps(execution.execute(found).f)
  for name in found.files:
    (tmp_path / name).unlink()
  there = subprocess.run(
    [sys.executable, '-c', 'import pickle, sys; '
     'print(pickle.load(sys.stdin.buffer)(1))'],
    input=sent, capture_output=True, check=True, cwd=ROOT)
  assert there.stdout == b'211\n'


@pytest.mark.slow('train')
def test_workers_read_by_what_lies_beside(tmp_path, request_for, parsed_flags):
  fork = write_all(tmp_path, {
    'mine.py': '''
from functools import partial
import optax
from reading import Halves
from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def config(*, workers: int) -> Experiment:
  return Experiment(
    model=partial(models.Mlp, widths=(8,)), task=tasks.classification,
    optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(
      source=Halves(), batch_size=32, resident=False, workers=workers),
    evals={}, duration=Duration(steps=3), log_every=Duration(steps=1))
''',
    'reading.py': '''
import dataclasses, functools
from bigmodels import data

@dataclasses.dataclass(frozen=True)
class Halves:
  def open(self, context):
    found = data.Digits().split('train').open(context)
    return found._replace(read=functools.partial(read, found.load()))

def read(columns, rows, seeds=None):
  from parts.scale import scaled
  return {k: scaled(v[rows]) if k == 'inputs' else v[rows] for k, v in columns.items()}
''',
    'parts/scale.py': 'def scaled(x):\n  return x / 2\n'}) / 'mine.py'
  for workers in (2, 0):
    train.run(request_for(fork, tmp_path / f'run{workers}', workers=workers))
  by_workers, by_threads = ((tmp_path / run / 'metrics.jsonl').read_text()
                            for run in ('run2', 'run0'))
  assert by_workers == by_threads and 'train/loss' in by_threads
