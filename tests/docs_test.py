"""Tests of README.md, CONTRIBUTING.md and docs/: what they say can be done, can."""

import ast
import contextlib
import importlib
import importlib.util
import io
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest

import bigmodels
from bigmodels.cli import options
from bigmodels.cli.request import Request
from bigmodels.hardware import devices
from bigmodels.modes import train
from tests import pages

ROOT, PAGES = pages.ROOT, pages.PAGES
EACH = pytest.mark.parametrize('page', PAGES, ids=lambda path: path.stem)


def test_what_counts_as_a_command():
  text = ('a\n\n    run x="b c"  # not this\n    one && two \\\n      three\n\n'
          '```python\nno\n```\n<!-- mark -->\n\n```shell\nfour\n```\n')
  assert pages.commands(text) == [['run', 'x=b c'], ['one'], ['two', 'three'], ['four']]
  assert [(block.kind, block.marker) for block in pages.blocks(text)] == [
    ('shell', ''), ('python', ''), ('shell', 'mark')]


# --- commands ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The working directory of a reader who has the files of the placeholders."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path))
  _table(tmp_path)
  (tmp_path / 'texts').mkdir()
  for i in range(20):
    (tmp_path / 'texts' / f'{i}.txt').write_text('the cat sat on the mat\n' * 200)
  return tmp_path


def _table(folder):
  rows = [f'{i},{"ab"[i % 2]},{i * i % 7}' for i in range(120)]
  (folder / 'table.csv').write_text('\n'.join(['x,y,kind', *rows]))
  return folder / 'table.csv'


@EACH
def test_commands_are_legal(page, folder):
  pages.write_files(page, folder)
  shell, found = pages.Shell(), pages.commands(page.read_text())
  for words in found:
    try:
      shell.check(words)
    except BaseException as error:
      raise AssertionError(f'{page.name}: {shlex.join(words)}: {error!r}') from error
  assert found


def test_a_wrong_command_is_found(folder):
  for line in ('python run.py --experiment=digit_cnn', 'python run.py --mode=pint',
               'python run.py --experiment=digits_cnn --topology=v5e:4x4',
               'python run.py --experiment=digits_cnn --config.model.width=3',
               'python run.py --workdir=runs/z', 'python run.py --mesh=dta:2',
               'python benchmarks/gone.py', 'pip install -r gone.txt', 'ls',
               'python -m pytest tests/gone_test.py', 'python run.py --workdir=OWN'):
    with pytest.raises(BaseException):  # noqa: B017
      pages.Shell().check(shlex.split(line))


# --- commands that are run ----------------------------------------------------------

# Experiment that needs only this repository -> knobs of a run of seconds.
SHORT = {
  'digits_cnn': {'epochs': '1'}, 'digits_dcgan': {'epochs': '2'},
  'tabular_mlp': {'epochs': '2'}, 'anomaly_table': {'epochs': '2'},
  'gpt_python': {'steps': '4', 'width': '32', 'depth': '1', 'path': 'texts',
                 'vocabulary': '300'},
  'cartpole_a2c': {'steps': '4'}, 'cartpole_dqn': {'steps': '4'},
  'mine.py': {'epochs': '1'}, 'mine/wave.py': {}, 'gpt3_175b': {}}
ELSEWHERE = 'DIR', 'SHARED', 'HOST:PORT'
NEEDS = {'--topology': 'libtpu', '--experiment=cartpole': 'gymnax'}


def _runnable(words: list[str]) -> bool:
  """Whether a command of run.py needs nothing but the repository, and little time."""
  text = ' '.join(words)
  name = re.search(r'--experiment=(\S+)', text)
  return ('run.py' in words[:3] and 'require_backend' not in text
          and '--mode=doctor' not in text  # tests/modes/doctor_test.py runs it
          and '--mode=plan' not in text  # tests/modes/plan_test.py does
          and '--track' not in text  # tests/logs/trackers_test.py does
          and not re.search(rf'=({"|".join(ELSEWHERE)})\b', text)
          and (name is None or '--mode=print' in text or name[1] in SHORT
               or name[1].endswith('config.txt'))
          and all(importlib.util.find_spec(package) for start, package in NEEDS.items()
                  if start in text))


def _shortened(words: list[str]) -> list[str]:
  given = pages.read_flags(words)
  known = {} if given.flags['mode'] != 'train' else SHORT.get(
    given.flags['experiment'], {})
  return [*(word for word in words if word.partition('=')[0].removeprefix('--config.')
            not in known), *(f'--config.{k}={v}' for k, v in known.items())]


def _pages_that_run():
  for page in PAGES:
    if sum(map(_runnable, pages.commands(page.read_text()))) > 1:
      yield pytest.param(page, id=page.stem, marks=pytest.mark.slow(
        'commands of the docs'))


@pytest.mark.parametrize('page', _pages_that_run())
def test_commands_run(page, folder, cache_dir):
  pages.write_files(page, folder)
  made = set()
  for words in pages.commands(page.read_text()):
    text = ' '.join(words)
    read = {*re.findall(r'(?:init_from|classifier|experiment)=(runs/\w+)', text)}
    written = {*re.findall(r'--workdir=(runs/\w+)', text)}
    if words[0] == 'cp':
      pages.Shell().check(words)
    if '--experiment=' not in text:
      read |= written
    if not _runnable(words) or read - made:
      continue
    start = words.index('run.py')
    env = dict(word.split('=', 1) for word in words if re.match('[A-Z_]+=', word))
    arguments = list(map(pages.filled, words[start + 1 :]))
    if '--help' not in arguments:
      arguments = _shortened(arguments)
    done = subprocess.run(
      [sys.executable, str(ROOT / 'run.py'), f'--cache_dir={cache_dir}', *arguments],
      capture_output=True, text=True, timeout=600, check=False,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'} | env)
    assert done.returncode == 0, f'{shlex.join(words)}: {done.stdout}{done.stderr}'
    made |= written


# --- code -----------------------------------------------------------------------


@EACH
def test_every_block_of_code_is_tested(page):
  for block in pages.blocks(page.read_text()):
    assert block.kind in ('shell', 'python', 'text'), block.kind
    if block.kind != 'python':
      continue
    if block.marker.startswith('part of '):
      assert block.text in (ROOT / block.marker.removeprefix('part of ')).read_text()
    else:
      assert block.marker == 'run' or block.marker.startswith('file: '), block.text


@pytest.fixture(scope='module')
def runs(cache_dir, tmp_path_factory):
  """A folder with the runs that the examples open, trained for a moment."""
  devices.configure_jax(cache_dir / 'xla')
  folder = tmp_path_factory.mktemp('library')
  text = folder / 'text.txt'
  text.write_text('def main(): the cat sat on the mat and the dog sat\n' * 40)
  fork = ROOT / 'tests' / 'forks' / 'text.py'
  for name, experiment, overrides in (
    ('a', 'digits_cnn', {'epochs': '1', 'model.widths': '(4,)', 'model.pool': '(2,)'}),
    ('python', str(fork), {'path': str(text)}),
    ('table', 'tabular_mlp', {'path': str(_table(folder)), 'label': 'kind',
                              'epochs': '1'})):
    with contextlib.redirect_stdout(io.StringIO()):
      train.run(Request(
        experiment=experiment, overrides=overrides, workdir=f'{folder}/runs/{name}',
        data_dir=None, cache_dir=cache_dir, require_backend=None))
  return folder


@pytest.mark.parametrize('page', [
  page for page in PAGES if '<!-- run -->' in page.read_text()],
  ids=lambda path: path.stem)
def test_examples_run(page, runs, monkeypatch):
  monkeypatch.chdir(runs)
  monkeypatch.setenv('HOME', str(runs))
  found: dict = {}
  for block in pages.blocks(page.read_text()):
    if block.marker == 'run':
      exec(compile(block.text, page.name, 'exec'), found)
  if page.stem == 'library':
    np.testing.assert_allclose(
      jax.nn.softmax(found['logits']), found['found']['probabilities'], rtol=1e-3,
      atol=1e-6)
    result = json.loads(pathlib.Path('runs/a/result.json').read_text())
    assert found['accuracy'] == result['metrics']['test/accuracy']


def test_the_example_of_a_fork_trains(folder, cache_dir):
  """Its metric is that of its predictions, and its mode prints its parameters."""
  page = ROOT / 'CONTRIBUTING.md'
  files = pages.write_files(page, folder)
  first, second = (words[2:] for words in pages.commands(page.read_text())
                   if 'mine/' in ' '.join(words))
  out = pages.start([*first, f'--cache_dir={cache_dir}'])
  assert 'test/rms' in out
  result = json.loads((folder / 'runs/wave/result.json').read_text())
  run = bigmodels.load('runs/wave', cache_dir=cache_dir, say=lambda line: None)
  points = run.experiment.evals['test'].source.open(None).load()
  errors = run.predict(points['inputs'])['predictions'][:, 0] - points['labels']
  assert result['metrics']['test/rms'] == pytest.approx(np.sqrt(np.mean(errors**2)),
                                                        rel=1e-5)
  # The median of Laplace noise around the wave is the wave.
  wave = np.sin(points['inputs'][:, 0])
  assert np.abs(errors + points['labels'] - wave).mean() < 0.1
  assert '<h3>Errors' in (folder / 'runs/wave/report.html').read_text() or (
    'Errors' in (folder / 'runs/wave/report.html').read_text())
  kernel = run.params['Dense_0']['kernel']
  out = pages.start([*second, f'--cache_dir={cache_dir}'])
  assert f'Dense_0/kernel  {np.linalg.norm(kernel):.2f}\n' in out
  assert all(len(text.split('\n')) <= 40 for text in files.values())


# --- text -----------------------------------------------------------------------

PACKAGES = {name: f'bigmodels.{name}' for name in (
  'data', 'environments', 'layers', 'learners', 'losses', 'metrics', 'models', 'optim',
  'plots', 'tasks')} | {
  'images': 'bigmodels.data.images',
  'sharding_rules': 'bigmodels.models.sharding_rules',
  'texts': 'bigmodels.data.texts', 'tokenizers': 'bigmodels.data.tokenizers'}
FILES = 'data.json', 'metrics.jsonl'
OF_OTHERS = {'help', 'logdir', 'slice', 'verbosity'}


def _prose(page: pathlib.Path) -> str:
  return re.sub('(?ms)^```.*?^```|^    .*?$', '', page.read_text())


@EACH
def test_names_are_those_of_the_code(page):
  names = re.findall(rf'`({"|".join(PACKAGES)})\.(\w[\w.]*\w)', _prose(page))
  for package, name in names:
    if f'{package}.{name}' in FILES:
      continue
    found = importlib.import_module(PACKAGES[package])
    for part in name.split('.'):
      if not hasattr(found, part):
        importlib.import_module(f'{found.__name__}.{part}')
      found = getattr(found, part)


@EACH
def test_flags_are_those_of_run_py(page):
  legal = {flag.name for flag in options.flags_of_every_mode()} | OF_OTHERS
  for mode in options.MODES:
    legal |= {*options.of_mode(mode)}
  found = {*re.findall(r'`(?:[^`]* )?--(\w+)(?![\w.])', _prose(page))}
  assert found - {'config'} <= legal
  modes = {*re.findall(r'--mode=(\w+)(?![\w.])', _prose(page))} - {'NAME'}
  assert modes <= {*options.MODES}


@EACH
def test_paths_exist(page):
  text = page.read_text()
  tops = [path.name for path in ROOT.iterdir() if path.is_dir()]
  for path in re.findall(rf'`((?:{"|".join(map(re.escape, tops))})/[^`]*)`', text):
    assert 'NAME' in path or (ROOT / path).exists(), path
  for target in re.findall(r'\]\(([^)]*)\)|src="([^"]*)"', text):
    file, _, anchor = ''.join(target).partition('#')
    other = (page.parent / file).resolve() if file else page
    assert other.exists(), file
    titles = re.findall('(?m)^#+ (.*)$', other.read_text()) if anchor else []
    assert not anchor or anchor in [
      re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles]


def test_the_layout_has_every_folder_in_the_order_of_imports():
  layout, = (b.text for b in pages.blocks((ROOT / 'README.md').read_text())
             if b.text.startswith('run.py'))
  lines = layout[layout.index('bigmodels/') : layout.index('tests/')].split('\n')[1:]
  folders = [name for line in lines for name in re.findall(r'(\w+)/', line[:22])]
  text = (ROOT / 'tests/imports_test.py').read_text()
  assert tuple(folders) == ast.literal_eval(
    re.search(r'(?s)^ORDER = (\(.*?\))', text, re.M)[1])


@EACH
def test_no_page_has_marks_of_a_merge(page):
  assert not re.search('^(<{7}|={7}|>{7})', page.read_text(), re.MULTILINE)


def test_every_page_is_linked():
  text = (ROOT / 'README.md').read_text()
  assert all(f'({path.relative_to(ROOT)})' in text for path in PAGES[1:])


def test_examples_of_messages_are_those_of_the_code():
  """Some words of each, and what is filled in after them, are a text of bigmodels."""
  code = ' '.join(path.read_text() for path in sorted(ROOT.glob('bigmodels/**/*.py')))
  code = re.sub(r"'\s*f?'", '', code)  # texts of several lines
  table = (ROOT / 'docs/trust.md').read_text().partition('## What is protected')[0]
  examples = [example for row in re.findall(r'(?m)^\|.*\|$', table)[2:]
              for example in re.findall(r'`([^`]* [^`]*)`', row.split('|')[3])]
  assert len(examples) > 15
  for example in examples:
    words = example.replace('...', '').split()
    starts = range(len(words))
    assert any(' '.join(words[i : i + 3]) in code for i in starts[:-2]) or any(
      ' '.join([*words[i : i + n], '{']) in code for i in starts for n in (1, 2)), (
        example)
