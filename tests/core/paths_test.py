"""Odd paths, to every flag that takes one: each is refused in a line, and exit 2."""

import os
import pathlib
import pwd
import signal
import socket
from functools import partial

import pytest
from absl import flags

from bigmodels.cli import command
from bigmodels.core import paths
from bigmodels.core.errors import UserError

LONG = 'x' * 300
NOBODY = 'nobody-is-called-so'


@pytest.fixture
def said(capsys, monkeypatch, tmp_path):
  """(flags) -> the one line on stderr of run.py, which has to exit with 2."""

  def call(*arguments):
    before = flags.FLAGS.is_parsed()
    flags.FLAGS.unparse_flags()
    monkeypatch.setenv('HOME', str(tmp_path))
    try:
      with pytest.raises(SystemExit) as end, _in_time(20):
        command.start(['run.py', *map(str, arguments)])
    finally:
      flags.FLAGS.unparse_flags()
      if before:
        flags.FLAGS.mark_as_parsed()
    err = capsys.readouterr().err
    assert end.value.code == 2, err
    assert err.startswith('error: ') and err.count('\n') == 1, err
    return err

  return call


class _in_time:
  """A pipe that nobody writes into must not be waited for."""

  def __init__(self, seconds):
    self._seconds = seconds

  def __enter__(self):
    signal.alarm(self._seconds)

  def __exit__(self, *error):
    signal.alarm(0)


@pytest.fixture
def odd(tmp_path, monkeypatch):
  """Name of an oddity -> a path of that kind."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('file').write_text('a')
  os.symlink('loop', 'loop')
  os.symlink('nowhere', 'dangling')
  os.mkfifo('pipe')
  with socket.socket(socket.AF_UNIX) as listener:
    listener.bind('socket')
  return {
    'empty': '', 'long': LONG, 'long below a folder': f'a/{LONG}', 'NUL': 'a\0b',
    'nobody': f'~{NOBODY}/x', 'through a file': 'file/x', 'loop': 'loop',
    'below a loop': 'loop/x', 'pipe': 'pipe', 'socket': 'socket',
    'device': '/dev/null', 'dangling link': 'dangling', 'not UTF-8': 'a\udcff'}


ODDITIES = ('empty', 'long', 'long below a folder', 'NUL', 'nobody', 'through a file',
            'loop', 'below a loop', 'pipe', 'socket', 'device', 'dangling link',
            'not UTF-8')
EXPERIMENT = '--experiment=digits_cnn'
# Flags, with the odd path in them; what is said must name the path or the flag.
PLACES = {
  'workdir': [EXPERIMENT, '--workdir={}'],
  'workdir to go on': ['--workdir={}'],
  'workdir, print': ['--workdir={}', '--mode=print'],
  'workdir, eval': ['--workdir={}', '--mode=eval'],
  'workdir, sample': ['--workdir={}', '--mode=sample'],
  'workdir, shapes': ['--workdir={}', '--mode=shapes'],
  'workdir, plan': ['--workdir={}', '--mode=plan'],
  'init_from': [EXPERIMENT, '--init_from={}'],
  'config.init_from': [EXPERIMENT, '--config.init_from={}'],
  'init_from, sample': [EXPERIMENT, '--init_from={}', '--mode=sample'],
  'experiment.py': ['--experiment={}.py', '--mode=print'],
  'experiment.txt': ['--experiment={}.txt', '--mode=print'],
  'experiment': ['--experiment={}', '--mode=print'],
  'data_dir': ['--experiment=mnist_cnn', '--data_dir={}'],
  'prompt_file': [EXPERIMENT, '--mode=sample', '--prompt_file={}'],
  'config.path': ['--experiment=tabular_mlp', '--config.path={}', '--config.label=y'],
}


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('oddity', ODDITIES)
def test_an_odd_path_is_refused_in_a_line(place, oddity, odd, said, tmp_path):
  said(*(flag.format(odd[oddity]) for flag in PLACES[place]),
       f'--cache_dir={tmp_path.parent / "cache"}')
  assert not list(tmp_path.glob('~*'))


@pytest.mark.parametrize('oddity', ['empty', 'long', 'NUL', 'nobody', 'loop'])
def test_an_odd_cache_dir_is_refused_too(oddity, odd, said):
  assert said(EXPERIMENT, f'--cache_dir={odd[oddity]}').startswith('error: --cache_dir')


@pytest.mark.parametrize(('path', 'message'), [
  (LONG, 'File name too long'), ('a\0b', 'embedded null'),
  ('loop/x', 'Too many levels of symbolic links'), ('', "got ''"),
  ('file', 'is not a folder'), ('file/x', 'goes through a file'),
  ('pipe', 'is not a folder'), ('/dev/null', 'is not a folder'),
  ('dangling', 'is a link to a missing path'),
  (f'~{NOBODY}', f"no user is called '{NOBODY}'")])
def test_what_is_said_of_a_folder(path, message, odd):
  with pytest.raises(UserError) as error:
    paths.folder(path, '--workdir')
  assert message in str(error.value) and str(error.value).startswith('--workdir')


@pytest.mark.parametrize(('path', 'suffixes', 'message'), [
  ('a.txt', ('.html',), '--output=a.txt: must end in .html'),
  ('a', ('.html', '.htm'), '--output=a: must end in .html or .htm'),
  ('a.x', ('.a', '.b', '.c'), '--output=a.x: must end in .a, .b or .c'),
  ('gone/a.html', ('.html',), '--output=gone/a.html: there is no folder gone'),
  ('gone/a', (), '--output=gone/a: there is no folder gone'),
  ('page.html', ('.html',), '--output=page.html: is a folder; must be a file'),
  ('file/a.html', ('.html',), '--output=file/a.html: there is no folder file'),
  ('', ('.html',), "--output: must be the path of a file or folder, got ''"),
  ('file', (), '--output=file: is not a folder')])
def test_an_output_that_cannot_be_written(path, suffixes, message, odd):
  pathlib.Path('page.html').mkdir()
  with pytest.raises(UserError) as error:
    paths.output(path, suffixes)
  assert str(error.value) == message


def test_an_output(odd, monkeypatch):
  assert paths.output('a.HTML', ('.html',)) == pathlib.Path('a.HTML')
  assert paths.output('new', ()) == pathlib.Path('new')
  monkeypatch.setattr(os, 'access', lambda *_: False)  # root may write all
  with pytest.raises(UserError, match=r'^--output=.*: cannot be written'):
    paths.output('a.csv', ('.csv',))


@pytest.mark.parametrize(('path', 'expected'), [
  ('~', '/home/a'), ('~/x', '/home/a/x'), ('~/', '/home/a'), ('x/~', 'x/~'),
  ('./~x', '~x'), ('/~', '/~'), ('x', 'x'), ('a b', 'a b'), ('~/~', '/home/a/~'),
  ('~/../b', '/home/a/../b')])
def test_the_home_folder(path, expected, monkeypatch):
  monkeypatch.setenv('HOME', '/home/a')
  assert paths.expanded(path) == pathlib.Path(expected)
  assert paths.expanded(path, strict=True) == pathlib.Path(expected)


def test_no_home_folder(monkeypatch, said, odd):
  """$HOME is not set, and the user has no name: no folder is called `~`."""
  def nameless(*_):
    raise KeyError('no name')
  monkeypatch.setattr(pwd, 'getpwuid', nameless)
  monkeypatch.delenv('HOME')
  assert paths.expanded('~/a') == pathlib.Path('~/a')
  for place in (partial(paths.expanded, strict=True), paths.resolved):
    with pytest.raises(UserError, match=r'~/a: no home folder is known, .HOME is'):
      place('~/a')


def test_a_workdir_in_the_home_folder(said, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'runs').mkdir()
  text = said('--workdir=~/runs/a', '--mode=print', f'--cache_dir={tmp_path}')
  assert f'--workdir={tmp_path}/runs/a does not exist' in text


def test_a_folder_that_may_not_be_read(monkeypatch, tmp_path):
  monkeypatch.setattr(os, 'access', lambda *_: False)  # root may read all
  with pytest.raises(UserError, match=r'^--workdir=.*: cannot be read: Permission'):
    paths.folder(str(tmp_path), '--workdir')
  monkeypatch.undo()

  def denied(path):
    raise PermissionError(13, 'Permission denied', str(path))
  monkeypatch.setattr(pathlib.Path, 'stat', denied)
  with pytest.raises(UserError, match=r'^--workdir=.*: cannot be read: Permission'):
    paths.checked(str(tmp_path / 'x'), '--workdir')


def test_the_folder_that_it_was_started_in_is_gone(said, tmp_path, monkeypatch):
  (tmp_path / 'gone').mkdir()
  monkeypatch.chdir(tmp_path / 'gone')
  (tmp_path / 'gone').rmdir()
  assert 'the working directory: ' in said(EXPERIMENT)
  with pytest.raises(UserError, match='No such file'):
    paths.resolved('a')
  os.chdir(tmp_path)


@pytest.mark.parametrize('make', [
  lambda: pathlib.Path('runs').write_text(''), lambda: os.symlink('x', 'runs'),
  lambda: os.mkfifo('runs')])
def test_no_folder_of_runs(make, said, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  make()
  assert 'cannot make runs/' in said(EXPERIMENT, f'--cache_dir={tmp_path}')
