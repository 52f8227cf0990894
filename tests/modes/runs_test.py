"""--mode=runs: the table, the page, and how fast they start."""

import re
import subprocess
import sys

import pytest

from bigmodels.cli.request import Request
from bigmodels.core.errors import UserError
from bigmodels.modes import runs
from tests.logs.runs import make


@pytest.fixture
def listed(tmp_path, capsys):
  """(flags) -> the lines that are printed."""

  def call(folder='runs', **flags):
    runs.run(Request(None, {}, str(tmp_path / folder), None, tmp_path, None), **flags)
    return capsys.readouterr().out.splitlines()

  return call


def test_a_table_and_a_page(listed, tmp_path):
  make(tmp_path / 'runs' / 'a', rate=0.1)
  (tmp_path / 'runs' / 'a' / 'report.html').write_text('')
  make(tmp_path / 'runs' / '<b>', rate=0.5, name="__import__('os').abort()")
  (tmp_path / 'runs' / 'bad').mkdir()
  (tmp_path / 'runs' / 'bad' / 'config.txt').write_text('?')
  head, *rows = listed(sort='-rate')
  assert head.split() == ['run', 'experiment', 'state', 'validation/loss',
                          'test/accuracy', 'step', 'time', 'rate']
  assert [row.split()[0] for row in rows[:3]] == ['<b>', 'a', 'bad']
  assert rows[3].startswith('bad is damaged: config.txt: line 1')
  assert rows[4] == '3 runs'
  page = (tmp_path / 'runs' / 'index.html').read_text()
  assert rows[5] == f'page: {tmp_path}/runs/index.html'
  assert '<b>' not in page.partition('<body>')[2] and '&lt;b&gt;' in page
  assert '<a href="a/report.html">' in page and 'bad is damaged' in page
  assert re.findall('<figcaption>([^<]*)', page) == [
    'validation/loss', 'test/accuracy', 'train/loss']
  assert page.count('class="r0"') == 3 and not re.search(r'(src|href)="http', page)
  lines = listed(where='rate>0.3', columns='run,optimizer.learning_rate.peak',
                 output=str(tmp_path / 'p.html'), curves='train/loss')
  assert lines == ['run  optimizer.learning_rate.peak',
                   '<b>                           0.5', '1 of 3 runs',
                   f'page: {tmp_path}/p.html']
  assert '<figcaption>train/loss' in (tmp_path / 'p.html').read_text()


def test_what_is_refused(listed, tmp_path):
  with pytest.raises(UserError, match='there is no such folder'):
    listed('gone')
  (tmp_path / 'runs').mkdir()
  with pytest.raises(UserError, match='there is no run below'):
    listed()
  make(tmp_path / 'runs' / 'a')
  with pytest.raises(UserError, match="--columns: no run has 'rtae'; did you mean"):
    listed(columns='run,rtae')
  with pytest.raises(UserError, match="--curves: no run has 'x'"):
    listed(curves='x')
  with pytest.raises(UserError, match=r'--output=.*: there is no folder .*gone'):
    listed(output=str(tmp_path / 'gone' / 'x.html'))


def test_a_filter_that_leaves_nothing(listed, tmp_path):
  make(tmp_path / 'runs' / 'a')
  assert listed(where='step>99')[-2:] == [
    '0 of 1 runs', f'page: {tmp_path}/runs/index.html']


def test_it_imports_neither_jax_nor_numpy():
  code = ('import sys, bigmodels.modes.runs, bigmodels.cli.command; '
          'print({"jax", "numpy", "matplotlib"} & {*sys.modules})')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True)
  assert found.stdout == 'set()\n'
