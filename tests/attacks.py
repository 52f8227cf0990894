"""Attacks on runs: their files are changed, they are killed, they are given bad input.

  python tests/attacks.py                       # all of it, some twenty minutes
  python tests/attacks.py --mutations=100 --kills=0 --seed=7

A change to the files of a run must be refused in one line, or reported while the run
resumes from what is left, or make no difference at all. Anything else is silent. The
last line counts these; if there are any, the exit code is 1.
"""

import argparse
import collections
import contextlib
import io
import json
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

FORKS = ROOT / 'tests' / 'forks'


class Outcome(NamedTuple):
  """The result of one attack.

  Attributes:
    name: what was done.
    kind: 'refused', 'said', 'same' or 'SILENT'.
    text: what was printed, or differs.
  """

  name: str
  kind: str
  text: str


# --- changes to a file ----------------------------------------------------------


def _flip(data: bytes, rng: random.Random) -> bytes:
  position = rng.randrange(len(data))
  return data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + (
    data[position + 1 :])


def _digit(data: bytes, rng: random.Random) -> bytes:
  positions = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
  if not positions:
    return _flip(data, rng)
  position = rng.choice(positions)
  other = rng.choice([d for d in b'0123456789' if d != data[position]])
  return data[:position] + bytes([other]) + data[position + 1 :]


def _zeros(data: bytes, rng: random.Random) -> bytes:
  start = rng.randrange(len(data))
  length = min(len(data) - start, rng.choice((1, 16, 4096)))
  return data[:start] + bytes(length) + data[start + length :]


def _line(data: bytes, rng: random.Random) -> bytes:
  """Drops, doubles or swaps a line."""
  lines = data.splitlines(keepends=True)
  position, other = (rng.randrange(len(lines)) for _ in range(2))
  what = rng.randrange(3)
  if what == 0:
    del lines[position]
  elif what == 1:
    lines.insert(other, lines[position])
  else:
    lines[position], lines[other] = lines[other], lines[position]
  return b''.join(lines)


def _value(data: bytes, rng: random.Random) -> bytes:
  """Another value, or another name, somewhere in a JSON text."""
  try:
    root = json.loads(data)
  except ValueError:
    return _digit(data, rng)
  positions, stack = [], [root]
  while stack:
    node = stack.pop()
    for key, value in (node.items() if isinstance(node, dict) else enumerate(
      node if isinstance(node, list) else ())):
      positions.append((node, key))
      stack.append(value)
  if not positions:
    return b'[]'
  node, key = rng.choice(positions)
  if isinstance(node, dict) and rng.random() < 0.2:
    node[f'{key}_'] = node.pop(key)
  elif isinstance(node, dict) and rng.random() < 0.2:
    del node[key]
  else:
    value = node[key]
    others = [None, [], {}, '', 'x', 0, 1, -1, 2.5, True, [value], {'a': value}]
    if isinstance(value, int | float):
      others += [value + 1, value * 2, -value, str(value)] * 3
    node[key] = rng.choice(others)
  return json.dumps(root).encode()


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
  'flip a bit': _flip, 'another digit': _digit, 'zeros': _zeros, 'lines': _line,
  'another value': _value,
  'cut short': lambda data, rng: data[: rng.randrange(len(data))],
  'longer': lambda data, rng: data + rng.randbytes(rng.choice((1, 100))),
  'random bytes': lambda data, rng: rng.randbytes(len(data)),
  'empty': lambda data, rng: b''}


def change(root: pathlib.Path, rng: random.Random) -> str:
  """Changes one file or folder under a root; returns what was done."""
  paths = sorted(p for p in root.rglob('*') if p.name != '.lock')
  files = [p for p in paths if p.is_file() and p.stat().st_size]
  if rng.random() < 0.85:
    # A folder of arrays has many files: each of the others is as likely as all of it.
    groups = collections.defaultdict(list)
    for path in files:
      groups[_group(path.relative_to(root))].append(path)
    path = rng.choice(groups[rng.choice(sorted(groups))])
    name = rng.choice(sorted(CHANGES))
    data = path.read_bytes()
    path.write_bytes(CHANGES[name](data, rng))
    return f'{name}: {path.relative_to(root)}'
  path = rng.choice(paths)
  what = rng.choice(('remove', 'rename', 'swap', 'copy', 'folder', 'link'))
  alike = [p for p in paths if p != path and p.is_dir() == path.is_dir()
           and not p.is_relative_to(path) and not path.is_relative_to(p)]
  if what in ('swap', 'copy') and not alike:
    what = 'remove'
  if what == 'rename':
    new = str(int(path.name) + 10) if path.name.isdigit() else f'{path.name}x'
    path.rename(path.with_name(new))
  elif what in ('swap', 'copy'):
    other = rng.choice(alike)
    aside = root / 'aside'
    path.rename(aside)
    if what == 'swap':
      other.rename(path)
      aside.rename(other)
    else:
      (shutil.copytree if other.is_dir() else shutil.copyfile)(other, path)
      (shutil.rmtree if aside.is_dir() else pathlib.Path.unlink)(aside)
    return f'{what}: {path.relative_to(root)} with {other.relative_to(root)}'
  else:
    (shutil.rmtree if path.is_dir() else pathlib.Path.unlink)(path)
    if what == 'folder':
      path.mkdir()
    if what == 'link':
      path.symlink_to('nowhere')
  return f'{what}: {path.relative_to(root)}'


def _group(path: pathlib.Path) -> str:
  parts = path.parts
  return '/'.join(parts[:3]) if parts[0] == 'checkpoints' else parts[0]


# --- a run that is changed ------------------------------------------------------


class Target(NamedTuple):
  """A run, and what else it reads, to be changed.

  Attributes:
    name: of it.
    folder: holds `run`, a workdir that is two evaluations short of its end or done,
      and what else may be changed.
    request: folder -> the request to open the run there.
  """

  name: str
  folder: pathlib.Path
  request: Callable


def mutate(target: Target, seed: int) -> Outcome:
  """Changes one file of a copy of a target, opens it, and compares."""
  rng = random.Random(f'{target.name} {seed}')
  mode = rng.choice(('train', 'train', 'eval'))
  right = _opened(target, mode, None)
  found = _opened(target, mode, rng)
  name = f'{target.name}, {mode}, {seed}: {found.name}'
  if found.error:
    kind = 'refused' if _one_line(found.error) else 'SILENT'
    return Outcome(name, kind, found.error)
  if found.numbers == right.numbers:
    said = [line for line in found.lines if line not in right.lines]
    return Outcome(name, 'said' if said else 'same', ' | '.join(said))
  said = [line for line in found.lines if line not in right.lines and any(
    word in line for word in _WORDS)]
  return Outcome(name, 'said' if said else 'SILENT',
                 ' | '.join(said) or f'{right.numbers} became {found.numbers}'[-2000:])


# In lines that report that something has changed.
_WORDS = ('is damaged', 'different from', 'is not as', 'has lost', 'only half written',
          'not there', 'starting at step 0', 'anew', 'warning', 'no checkpoint')


def _one_line(text: str) -> bool:
  return '\n' not in text and 'Traceback' not in text


class Opened(NamedTuple):
  """The result of opening a run.

  Attributes:
    name: of the change.
    error: of a `UserError`, or of another one with its traceback; '' for none.
    lines: what was printed, without paths and times.
    numbers: the metrics that it ended with, and its log.
  """

  name: str
  error: str
  lines: list[str]
  numbers: dict


_right: dict[tuple[str, str], Opened] = {}


def _opened(target: Target, mode: str, rng: random.Random | None) -> Opened:
  """Opens a copy, changed if `rng` is given; all copies have the same path."""
  if rng is None and (target.name, mode) in _right:
    return _right[target.name, mode]
  import importlib

  from bigmodels.core.errors import UserError

  here = target.folder.with_name('here')
  shutil.rmtree(here, ignore_errors=True)
  shutil.copytree(target.folder, here, symlinks=True)
  run = here / 'run'
  if mode == 'train':
    (run / 'result.json').unlink()
  what = change(here, rng) if rng else ''
  module = importlib.import_module(f'bigmodels.modes.{mode}')
  out, error = io.StringIO(), ''
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), _quick():
    try:
      module.run(target.request(here))
    except UserError as refused:
      error = str(refused)
    except BaseException as other:
      import traceback

      error = f'Traceback: {"".join(traceback.format_exception(other))}'
  lines = [line for line in out.getvalue().splitlines() if not _passing(line)]
  found = Opened(what, error, lines, {} if error else _numbers(run, mode, lines))
  if rng is None:
    assert not error, error
    _right[target.name, mode] = found
  return found


def _passing(line: str) -> bool:
  """Whether a line has times or speeds in it."""
  return any(word in line for word in (' steps/s', ' examples/s', 'compiled in'))


def _numbers(run: pathlib.Path, mode: str, lines: list[str]) -> dict:
  if mode == 'eval':
    return {'shown': [line for line in lines if re.fullmatch(r'  \w[^ ]*: \S+', line)]}
  result = json.loads((run / 'result.json').read_text())
  return {'metrics': result['metrics'], 'step': result['step'],
          'log': (run / 'metrics.jsonl').read_bytes()}


@contextlib.contextmanager
def _quick() -> Iterator[None]:
  """Without drawings and their page, which read nothing that was saved."""

  from bigmodels.training import opening

  build_run = opening.build_run

  def plain(*args, **kwargs):
    built = build_run(*args, **kwargs)
    return built._replace(task=built.task._replace(plots=None))

  with (mock.patch('bigmodels.training.opening.build_run', plain),
        mock.patch('bigmodels.training.results.report.write')):
    yield


def _made(folder: pathlib.Path, name: str, experiment: str, prepare: Callable,
          **overrides) -> Target:
  """Trains a run in `folder`/here, where its copies will be opened."""
  from bigmodels.cli.request import Request
  from bigmodels.modes import train

  here, kept = folder / 'here', folder / name

  def request(root: pathlib.Path, experiment=None, overrides=None):
    return Request(experiment, overrides or {}, str(root / 'run'),
                   str(root / 'tfds') if (root / 'tfds').is_dir() else None,
                   root / 'cache' if (root / 'cache').is_dir() else folder / 'cache',
                   None)

  shutil.rmtree(here, ignore_errors=True)
  here.mkdir(parents=True)
  more = prepare(here) or {}
  given = {k.replace('__', '.'): str(v) for k, v in {**overrides, **more}.items()}
  with contextlib.redirect_stdout(io.StringIO()), _quick():
    train.run(request(here, experiment, given))
  shutil.copytree(here, kept)
  return Target(name, kept, request)


def _digits(folder):
  return _made(folder, 'digits', str(FORKS / 'tiny.py'), lambda here: None, steps=30)


def _table(folder):
  def prepare(here):
    rng = random.Random(0)
    rows = [f'{rng.gauss(0, 1):.4f},{rng.choice("abc")},'
            f'{rng.choice(("yes", "no"))}' for _ in range(200)]
    (here / 'table.csv').write_text('\n'.join(['x,kind,label', *rows]) + '\n')
    return {'path': here / 'table.csv', 'label': 'label'}

  return _made(folder, 'table', 'tabular_mlp', prepare, epochs=4, batch_size=32)


def _text(folder):
  def prepare(here):
    rng = random.Random(0)
    words = ('the', 'cat', 'sat', 'on', 'a', 'mat')
    (here / 'text.txt').write_text(' '.join(rng.choices(words, k=5000)))
    return {'path': here / 'text.txt'}

  return _made(folder, 'text', str(FORKS / 'text.py'), prepare)


def _pictures(folder):
  def prepare(here):
    import numpy as np

    from tests.data.tfds import prepared

    rng = np.random.default_rng(0)
    records = {split: [
      prepared.record(prepared.jpeg(rng.integers(0, 256, (8, 8, 3), np.uint8)),
                      row % 3, f'{row}.jpg') for row in range(rows)]
               for split, rows in (('train', 60), ('test', 30))}
    prepared.write(here / 'tfds', records)
    (here / 'cache').mkdir()

  return _made(folder, 'pictures', str(FORKS / 'pictures.py'), prepare)


TARGETS = {'digits': _digits, 'table': _table, 'text': _text, 'pictures': _pictures}


def mutations(name: str, folder: pathlib.Path, number: int, seed: int) -> list[Outcome]:
  """Makes a run of a kind, and changes so many copies of it."""
  from bigmodels.hardware import devices

  logging.disable(logging.WARNING)
  devices.configure_jax(folder / 'programs')
  target = TARGETS[name](folder)
  return [mutate(target, seed + index) for index in range(number)]


# --- kills ----------------------------------------------------------------------


class Killed(NamedTuple):
  """A kind of run that is killed.

  Attributes:
    experiment: its name.
    flags: of the command line.
    needed: packages.
  """

  experiment: str
  flags: tuple[str, ...]
  needed: tuple[str, ...] = ()


_OFTEN = ('--config.duration.steps=600', '--config.duration.epochs=None',
          '--config.checkpoint_every.minutes=None',
          '--config.checkpoint_every.steps=40',
          '--config.log_every.steps=10', '--config.evaluate_every.steps=200',
          '--config.evaluate_every.epochs=None')
KILLED = {
  'supervised': Killed(str(FORKS / 'tiny.py'), (
    '--config.steps=2000', '--config.checkpoint=30',
    '--config.evaluate_every.epochs=4')),
  'streamed': Killed(str(FORKS / 'tiny.py'), (
    '--config.steps=400', '--config.checkpoint=30', '--config.resident=False',
    '--config.evaluate_every.epochs=4')),
  'adversarial': Killed('digits_dcgan', (*_OFTEN, '--config.model.width=8')),
  'agent': Killed('cartpole_dqn', (*_OFTEN, '--config.learner.min_replay_size=500'),
                  ('gymnax', 'rlax')),
}


def _command(killed: Killed, folder: pathlib.Path, workdir: pathlib.Path) -> list[str]:
  return [sys.executable, str(ROOT / 'run.py'), f'--experiment={killed.experiment}',
          f'--workdir={workdir}', f'--cache_dir={folder / "cache"}', *killed.flags]


def kill(name: str, folder: pathlib.Path, number: int, seed: int) -> list[Outcome]:
  """Kills runs of a kind at random moments, resumes each, and compares every bit."""
  killed, rng, outcomes = KILLED[name], random.Random(f'{name} {seed}'), []
  options = dict(cwd=folder, env=os.environ | {'JAX_PLATFORMS': 'cpu'}, text=True,
                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  whole, count = folder / f'{name}-whole', 0
  for _ in range(2):  # the second start finds its programs compiled
    shutil.rmtree(whole, ignore_errors=True)
    begun = time.perf_counter()
    ended = subprocess.run(_command(killed, folder, whole), check=False, **options)
    seconds = time.perf_counter() - begun
    if ended.returncode:
      return [Outcome(name, 'SILENT', ended.stdout[-2000:])]
  while len(outcomes) < number:
    cut, moments = folder / f'{name}-cut{count}', []
    count += 1
    while len(outcomes) + len(moments) < number:
      process = subprocess.Popen(_command(killed, folder, cut), **options)
      moment = rng.uniform(0, seconds)
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
      process.kill()
      text, _ = process.communicate()
      if process.returncode != -signal.SIGKILL:
        if process.returncode:
          outcomes.append(Outcome(f'{name} resumed', 'SILENT', text[-2000:]))
        break
      moments.append(moment)
    ended = subprocess.run(_command(killed, folder, cut), check=False, **options)
    differ = ended.stdout[-2000:] if ended.returncode else difference(whole, cut)
    outcomes += [Outcome(f'{name} {count}, killed after {moment:.2f} s',
                         'SILENT' if differ else 'same', differ) for moment in moments]
    shutil.rmtree(cut, ignore_errors=True)
  return outcomes


def difference(whole: pathlib.Path, cut: pathlib.Path) -> str:
  """What differs between two finished runs; '' if nothing does."""
  if (whole / 'metrics.jsonl').read_bytes() != (cut / 'metrics.jsonl').read_bytes():
    return 'metrics.jsonl'
  results = [json.loads((run / 'result.json').read_text()) for run in (whole, cut)]
  for key in ('metrics', 'step', 'best_step', 'parameters', 'status'):
    if results[0][key] != results[1][key]:
      return f'result.json: {key}'
  kept = [sorted(p.name for p in (run / 'checkpoints').iterdir())
          for run in (whole, cut)]
  if kept[0] != kept[1]:
    return f'checkpoints: {kept[0]}, {kept[1]}'
  for step in kept[0]:
    records = [json.loads((run / 'checkpoints' / step / 'progress' / 'metadata'
                           ).read_text()) for run in (whole, cut)]
    if records[0]['arrays'] != records[1]['arrays']:
      return f'checkpoint {step}'
  return ''


# --- bad input ------------------------------------------------------------------


def bad_input(folder: pathlib.Path) -> list[Outcome]:
  """Gives run.py each row of the table of bad input."""
  from tests import bad_inputs

  outcomes = []
  for number, bad in enumerate(bad_inputs.BAD):
    here = folder / str(number)
    here.mkdir()
    wrong = bad_inputs.answer(bad, here, folder / 'cache')
    outcomes.append(Outcome(bad.name, 'SILENT' if wrong else 'refused', wrong))
  return outcomes


# --- all of it ------------------------------------------------------------------


def report(what: str, outcomes: list[Outcome]) -> int:
  """Prints the results of attacks of a kind; returns how many were silent."""
  counts = collections.Counter(outcome.kind for outcome in outcomes)
  print(f'{what}: {len(outcomes)} tried: ' + ', '.join(
    f'{count} {kind}' for kind, count in sorted(counts.items())), flush=True)
  silent = [outcome for outcome in outcomes if outcome.kind == 'SILENT']
  for outcome in silent:
    print(f'  SILENT {outcome.name}: {outcome.text}', flush=True)
  return len(silent)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  for name, number in (('mutations', 1000), ('kills', 100), ('seed', 0)):
    parser.add_argument(f'--{name}', type=int, default=number)
  parser.add_argument('--bad_input', action=argparse.BooleanOptionalAction,
                      default=True)
  options = parser.parse_args()
  silent = 0
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for kind in TARGETS if options.mutations else ():
      silent += report(f'changes, {kind}', mutations(
        kind, folder / kind, options.mutations // len(TARGETS), options.seed))
    if options.bad_input:
      bad = folder / 'bad'
      bad.mkdir()
      silent += report('bad input', bad_input(bad))
    for kind in KILLED if options.kills else ():
      silent += report(f'kills, {kind}', kill(
        kind, folder, options.kills // len(KILLED), options.seed))
  print(f'silent differences: {silent}')
  return int(silent > 0)


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  with tempfile.TemporaryDirectory() as state:
    os.environ['XDG_STATE_HOME'] = state  # what is run here is nothing to trust later
    sys.exit(main())
