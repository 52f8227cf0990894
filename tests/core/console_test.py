"""bigmodels.core.console: nothing steers it, and nothing ends with it."""

import contextlib
import json
import os
import subprocess
import sys

import pytest

from bigmodels.core import console
from bigmodels.core.console import Console
from bigmodels.core.errors import escape_controls, one_line

SHOWN = [
  ('\x1b]0;title\x07', r'\x1b]0;title\x07'), ('\x1b[31mred', r'\x1b[31mred'),
  ('\x1b[2J', r'\x1b[2J'), ('\x9b31m', r'\x9b31m'), ('a\rb', r'a\rb'),
  ('a\x08b', r'a\x08b'), ('\x00', r'\x00'), ('\x7f', r'\x7f'), ('\x85', r'\x85'),
  ('\u202eabc', r'\u202eabc'), ('\u2066a\u2069', r'\u2066a\u2069'),
  ('\u2028', r'\u2028'), ('\ufeffa', r'\ufeffa'), ('\udcff', r'\udcff'),
  ('grün … 漢字 🙂 עברית', 'grün … 漢字 🙂 עברית'), ('a\\x1b', 'a\\x1b'),
  ('a\tb\n', 'a\tb\n'), ('', '')]


@pytest.mark.parametrize(('text', 'expected'), SHOWN)
def test_controls_are_shown(text, expected):
  assert escape_controls(text) == expected == escape_controls(expected)
  assert one_line(text) == expected.replace('\n', '\\n').replace('\t', '\\t')


@pytest.mark.parametrize(('given', 'expected'), [
  ('plain', 'plain'), ('', ''), ('été 中 \U0001f600', 'été 中 \U0001f600'),
  ('a b', 'a b'), ('a\nb', r'a\nb'), ('\t\r', r'\t\r'), ('\x00', r'\x00'),
  ('\x1b[2J', r'\x1b[2J'), ('\x9b31m', r'\x9b31m'), ('\x7f', r'\x7f'),
  ('\u202etxt', r'\u202etxt'), ('\u2028', r'\u2028'), ('\ud800', r'\ud800'),
  ('\U000e0001', r'\U000e0001'), ('back\\slash', 'back\\slash'),
  ('x' * 200, 'x' * 200), ('x' * 201, 'x' * 197 + '...'),
  ('\n' * 10**6, r'\n' * 98 + '\\...')])
def test_in_a_line_of_a_length(given, expected):
  assert one_line(given, 200) == expected
  one_line(given, 200).encode()


@pytest.fixture
def pipe():
  """A pipe: where to read, and where to write."""
  read, write = os.pipe()
  yield read, write
  for end in (read, write):
    with contextlib.suppress(OSError):
      os.close(end)


class _Like:
  write_through, line_buffering = False, True

  def __init__(self, encoding):
    self.encoding = encoding


@pytest.mark.parametrize(('encoding', 'expected'), [
  ('ascii', rb'gr\xfcn \u2026 \x1b[31m'), ('utf-8', 'grün … \\x1b[31m'.encode()),
  ('latin-1', b'gr\xfcn \\u2026 \\x1b[31m'), ('cp1252', b'gr\xfcn \x85 \\x1b[31m'),
  ('cp437', b'gr\x81n \\u2026 \\x1b[31m'), ('koi8-r', rb'gr\xfcn \u2026 \x1b[31m')])
def test_what_has_no_place_in_the_encoding_is_replaced(encoding, expected, pipe):
  stream = Console(pipe[1], _Like(encoding))
  print('grün … \x1b[31m', file=stream)
  assert os.read(pipe[0], 100) == expected + b'\n'


def test_a_bar_may_move_its_cursor(pipe):
  stream = Console(pipe[1], _Like('utf-8'))
  print('\r\x1b[A', file=console.unescaped(stream), end='')
  assert os.read(pipe[0], 100) == b'\r\x1b[A'
  assert console.unescaped(sys.__stdout__) is sys.__stdout__


def test_a_reader_that_leaves_is_no_problem(pipe):
  stream = Console(pipe[1], _Like('utf-8'))
  os.close(pipe[0])
  for _ in range(3):
    print('x' * 10_000, file=stream, flush=True)
  assert stream.problem is None
  assert os.write(pipe[1], b'whatever else writes there') > 0


def test_a_full_disk_is_a_problem():
  full = os.open('/dev/full', os.O_WRONLY)
  stream = Console(full, _Like('utf-8'))
  print('x', file=stream, flush=True)
  assert stream.problem == 'No space left on device'
  os.close(full)


def test_one_that_does_not_wait_loses_nothing(pipe):
  os.set_blocking(pipe[1], False)
  reader = subprocess.Popen(['wc', '-c'], stdin=pipe[0], stdout=subprocess.PIPE)
  stream = Console(pipe[1], _Like('utf-8'))
  stream.write('x' * 1_000_000)
  stream.flush()
  os.close(pipe[1])
  assert int(reader.communicate(timeout=20)[0]) == 1_000_000


# --- as a program ---------------------------------------------------------------

STARTS = """
import os, sys
from bigmodels.core import console
console.install()
with console.exit_if_lost():
  print('x' * 100000, flush=True)
  print('said', file=sys.stderr)
  number = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
  print('more', flush=True)
  os.write(number, str(number).encode())
  sys.exit(0)
"""


@pytest.mark.parametrize(('redirection', 'code', 'error'), [
  ('> /dev/null', 0, 'said\n'), ('>&-', 0, 'said\n'), ('>&- 2>&-', 0, ''),
  ('<&- >&- 2>&-', 0, ''), ('2>&-', 0, ''), ('2> /dev/full > /dev/null', 0, ''),
  ('| head -c 1 > /dev/null', 0, 'said\n'), ('1< /dev/null', 0, 'said\n'),
  ('2>&1 | head -c 1 > /dev/null', 0, ''), ('<&- > /dev/null', 0, 'said\n'),
  ('> /dev/full', 2, 'said\nerror: stdout: No space left on device; the output is '
                     'lost, saved files are kept\n')])
def test_a_program_goes_on_whatever_its_console(redirection, code, error, tmp_path):
  done = subprocess.run(
    ['bash', '-c', f'set -o pipefail; "$0" -c "$1" "$2" {redirection}', sys.executable,
     STARTS, str(tmp_path / 'file')], capture_output=True, text=True, timeout=60)
  assert (done.returncode, done.stderr) == (code, error)
  assert int((tmp_path / 'file').read_text()) > 2, 'not what is printed to'


@pytest.mark.slow('console')
@pytest.mark.parametrize('redirection', [
  '| head -1', '>&- 2>&- <&-', '> /dev/full', '2>&1 | head -1'])
def test_a_run_is_complete_whatever_its_console(redirection, command, tiny, tmp_path):
  done = subprocess.run(
    ['bash', '-c', f'set -o pipefail; "$@" {redirection}', 'bash', *command(
      f'--experiment={tiny}', f'--workdir={tmp_path / "run"}', '--config.steps=60')],
    capture_output=True, text=True, timeout=200,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  assert done.returncode == 2 * ('full' in redirection)
  assert 'Traceback' not in done.stderr
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['status'] == 'finished' and result['step'] == 60


HEADER = 'größe,"färbe\x1b]0;title\x07",\u202eevil,"new\nline",kläße\x9b31m'
COLORS, LABELS = ('röt', 'gr\x1b[31mn'), ('jä…\x1b[2J', 'nein\x07')


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8'])
@pytest.mark.slow('console')
def test_names_from_data_reach_it_shown(encoding, command, tmp_path):
  rows = [HEADER] + [
    f'{i * 7 % 100},{COLORS[i % 2]},{i % 7},{i % 5},{LABELS[i * 7 % 100 > 50]}'
    for i in range(200)]
  path = tmp_path / 'esc\x1b[2J.csv'
  path.write_text('\n'.join(rows) + '\n', encoding='utf-8', newline='')
  done = subprocess.run(
    command('--experiment=tabular_mlp', f'--config.path={path}',
            '--config.label=kläße\x9b31m', f'--workdir={tmp_path / "run"}',
            '--config.epochs=1', '--config.batch_size=16'),
    capture_output=True, timeout=200,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONIOENCODING': encoding})
  assert done.returncode == 0, done.stderr
  text = (done.stdout + done.stderr).decode(encoding)
  report = (tmp_path / 'run' / 'report.html').read_text(encoding='utf-8')
  for each in (text, report):
    assert escape_controls(each) == each
  assert r'\x1b]0;title\x07' in text and r'\u202eevil, new\nline' in text
  expected = 'j\\xe4\\u2026\\x1b[2J' if encoding == 'ascii' else 'jä…\\x1b[2J'
  assert expected in text
