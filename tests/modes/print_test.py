"""--mode=print --diff: against an experiment, a file, a workdir and a config.txt."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import print as print_mode
from tests.logs.runs import make


@pytest.fixture
def diff(request_for, tiny, capsys):
  def call(other, **overrides):
    print_mode.run(request_for(tiny, **overrides), diff=str(other))
    return [line.split() for line in capsys.readouterr().out.splitlines()]

  return call


def test_an_experiment_and_overrides(diff, tiny):
  head, *rows = diff(tiny, seed=4, steps=20)
  assert head == ['path', str(tiny), str(tiny)]
  assert rows == [['knob.steps', '20', '150'], ['duration.steps', '20', '150'],
                  ['seed', '4', '3']]
  assert diff(tiny) == [f'no differences between {tiny} and {tiny}'.split()]
  assert ['knob.steps', '150', '(absent)'] in diff('digits_cnn')


def test_a_run_is_read_and_not_executed(diff, tmp_path):
  make(tmp_path / 'a', name="'/gone/evil.py'")
  for other in (tmp_path / 'a', tmp_path / 'a' / 'config.txt'):
    rows = diff(other)
    assert ['knob.rate', '(absent)', '0.1'] in rows
    assert ['monitor.goal', "'min'", "'min'"] not in rows


@pytest.mark.parametrize(('other', 'message'), [
  ('digit_cnn', "did you mean 'digits_cnn'"), ('gone.py', 'there is no experiment'),
  ('gone.txt', 'gone.txt'), ('.', '--diff=.: holds no config.txt'),
  ('x.txt', '--diff=x.txt: line 1 is not')])
def test_what_is_refused(other, message, diff, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'x.txt').write_text('?')
  with pytest.raises(UserError, match=message):
    diff(other)
