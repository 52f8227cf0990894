"""The pages of the documentation: their blocks, and whether a command is legal."""

import contextlib
import io
import itertools
import pathlib
import re
import shlex
import shutil
import textwrap
from typing import NamedTuple

import pytest
from absl import flags

from bigmodels.cli import command, options
from bigmodels.config import resolving
from bigmodels.distributed import cluster
from bigmodels.parallel.sharding import MeshShape

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/*.md'))]
# What a command has in place of a name of the reader's own -> what the tests have.
PLACEHOLDERS = {
  'DIR': 'data', 'FILE.csv': 'table.csv', 'COLUMN': 'kind', 'FOLDER': 'texts',
  'FILE_OR_FOLDER': 'texts', 'CLASS': "('1', '2', '4')", 'SHARED': 'shared',
  'HOST:PORT': '127.0.0.1:1'}


class Block(NamedTuple):
  """A block of a page.

  Attributes:
    kind: 'shell', 'python' or 'text'.
    marker: of the HTML comment before it, or ''.
    text: of the block.
  """

  kind: str
  marker: str
  text: str


def blocks(text: str) -> list[Block]:
  """All fenced and indented blocks; an indented one is of shell commands."""
  found, marker = [], ''
  for part in re.findall(r'(?m)^```\w+\n(?:.*\n)*?```$|(?:^    .*\n)+|^.*$', text):
    if part.startswith('```'):
      kind, _, inside = part[3:].removesuffix('\n```').partition('\n')
      found.append(Block(kind, marker, inside))
    elif part.startswith('    '):
      found.append(Block('shell', marker, textwrap.dedent(part).rstrip('\n')))
    if comment := re.fullmatch('<!-- (.*) -->', part):
      marker = comment[1]
    elif part:
      marker = ''
  return found


def commands(text: str) -> list[list[str]]:
  """The words of every command, without comments; `&&` parts two."""
  found = []
  for block in blocks(text):
    for line in block.text.replace('\\\n', ' ').split('\n') * (block.kind == 'shell'):
      words = shlex.split(line, comments=True)
      for last, part in itertools.groupby(words, lambda word: word == '&&'):
        found += [] if last else [list(part)]
  return found


def write_files(page: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
  """Writes the files that a page shows, by the markers before them."""
  found = {block.marker.removeprefix('file: '): block.text
           for block in blocks(page.read_text()) if block.marker.startswith('file: ')}
  for name, text in found.items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f'{text}\n')
  return found


class Given(NamedTuple):
  """A command line of run.py, read.

  Attributes:
    flags: those of every mode.
    overrides: knob or dotted path -> text.
  """

  flags: dict
  overrides: dict[str, str]


def filled(word: str) -> str:
  """A word with its placeholders replaced."""
  for name, value in PLACEHOLDERS.items():
    word = re.sub(rf'(?<![\w.]){re.escape(name)}(?![\w.])', value, word)
  assert not re.search(r'=[A-Z_./:]{2,}$', word), f'{word}: add it to PLACEHOLDERS'
  return word


@contextlib.contextmanager
def _unparsed():
  """The flags of absl as in a process that has just been started."""
  before = flags.FLAGS.is_parsed()
  flags.FLAGS.unparse_flags()
  try:
    yield
  finally:
    for name in flags.FLAGS:
      flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    if before:
      flags.FLAGS.mark_as_parsed()


def read_flags(words: list[str]) -> Given:
  """Reads the flags of run.py; a wrong one is an error."""
  with _unparsed():
    rest, overrides = options.split(['run.py', *words])
    with contextlib.redirect_stdout(io.StringIO()):
      left, _ = options.parse(rest)
    assert left == ['run.py'], left
    found = {flag.name: flag.value for flag in options.flags_of_every_mode()}
  if found['init_from']:
    overrides['init_from'] = found['init_from']
  return Given(found, overrides)


def start(words: list[str]) -> str:
  """Runs run.py in this process; returns what it printed."""
  out = io.StringIO()
  with _unparsed(), contextlib.redirect_stdout(out), (
    contextlib.redirect_stderr(out)), pytest.raises(SystemExit) as end:
    command.start(['run.py', *words])
  assert not end.value.code, out.getvalue()
  return out.getvalue()


class Shell:
  """Checks the commands of a page, each after those before it.

  Attributes:
    made: workdir -> the experiment and overrides of the command that made it.
  """

  def __init__(self):
    self.made: dict[str, tuple[str, dict[str, str]]] = {}

  def check(self, words: list[str]) -> None:
    """Fails for a command that cannot be run as it is."""
    words = list(itertools.dropwhile(
      lambda word: re.match('[A-Z_]+=', word), map(filled, words)))
    program, *arguments = words[0].rpartition('/')[2], *words[1:]
    if program == 'cp':
      shutil.copy(ROOT / arguments[0], arguments[1])
    elif program == 'pip':
      self._pip(arguments)
    elif program in ('python', 'python3') and arguments[0] == 'run.py':
      self._run(arguments[1:])
    elif program in ('python', 'python3') and arguments[0] == '-m':
      {'pytest': self._pytest, 'venv': lambda folder: None}[arguments[1]](arguments[2:])
    elif program in ('python', 'python3'):
      text = (ROOT / arguments[0]).read_text()
      for flag in [a.partition('=')[0] for a in arguments if a.startswith('--')]:
        assert f"'{flag}'" in text, flag
    else:
      raise AssertionError(f'{program}: the tests know no such command')

  def _pip(self, arguments):
    assert arguments[0] == 'install'
    for before, each in itertools.pairwise(arguments):
      assert (ROOT / each).is_file() if before == '-r' else (
        re.fullmatch(r'-q|-r|jax\[\w+\]', each)), each

  def _pytest(self, arguments):
    for before, each in itertools.pairwise(['', *arguments]):
      if before == '-m':
        assert f'"{each}' in (ROOT / 'pyproject.toml').read_text(), each
      elif before not in ('-n', '-m') and each not in ('-n', '-m'):
        assert re.fullmatch(r'--slice=\d/\d', each) or (ROOT / each).is_file(), each

  def _run(self, arguments):
    if '--help' in arguments or '--list' in arguments or '--mode=print' in arguments:
      assert start(arguments)
    if '--help' in arguments:
      return
    given = read_flags(arguments)
    address = cluster.Address(*(given.flags[name] for name in cluster.Address._fields))
    if any(each is not None for each in address):
      cluster.check(address)
    if given.flags['mesh']:
      MeshShape.parse(given.flags['mesh'])
    for value in given.overrides.values():
      assert not value.startswith('runs/') or value in self.made, value
    experiment, workdir = given.flags['experiment'], given.flags['workdir']
    if experiment is None:
      needs_none = {'--list', '--mode=doctor', '--mode=runs'} & {*arguments}
      assert needs_none or workdir in self.made, f'{workdir}: no command made it'
      return
    overrides = given.overrides
    if experiment.endswith('config.txt'):
      experiment, before = self.made[experiment.removesuffix('/config.txt')]
      overrides = before | overrides
    resolving.resolve(experiment, overrides)
    if workdir and given.flags['mode'] == 'train':
      run = experiment, overrides
      assert self.made.setdefault(workdir, run) == run, f'{workdir} has another run'
      for seeds in (re.fullmatch(r'--seeds=(\d+)', each) for each in arguments):
        self.made |= {f'{workdir}/seed_{seed}': run
                      for seed in range(int(seeds[1]) if seeds else 0)}
