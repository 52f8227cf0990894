"""Conditions, order and columns of a table of runs."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.logs import run_table
from bigmodels.storage import listing
from tests.logs.runs import make


@pytest.fixture
def runs(tmp_path):
  make(tmp_path / 'a', rate=0.1, accuracy=0.8)
  make(tmp_path / 'b', rate=0.02, accuracy=0.95)
  make(tmp_path / 'c', rate=0.1, status=None, name='mnist_cnn', accuracy=0.9)
  return sorted(listing.find(tmp_path, print))


def names(runs):
  return ''.join(run.name for run in runs)


@pytest.mark.parametrize(('text', 'expected'), [
  ('test/accuracy>0.85', 'bc'), ('test/accuracy >= 0.95', 'b'), ('rate=0.10', 'ac'),
  ('optimizer.learning_rate.peak<0.1', 'b'), ('rate!=0.1 and step=2', 'b'),
  ('experiment=mnist_cnn', 'c'), ("experiment == 'mnist_cnn' and state=failed", 'c'),
  ('time>60', 'ab'), ('time<60', ''), ('time!=60', 'ab'), ('state=finished', 'ab')])
def test_where(text, expected, runs):
  assert names(run_table.where(text, runs)) == expected


@pytest.mark.parametrize(('text', 'message'), [
  ('', 'must be COLUMN OPERATOR VALUE'), ('rate', "got 'rate'"),
  ('rate>1 or step=2', "joined by `and`, got 'or step=2'"), ('rate>1 and', 'joined by'),
  ('rate=1 and ', "got ' '"), ('rat=1', "no run has 'rat'; did you mean 'rate'?"),
  ('qqq=1', 'must be one of run, experiment, state, step, time, a metric, a knob, or'),
  ('__import__("os")', 'must be COLUMN'), ("rate='1", "got")])
def test_conditions_that_are_refused(text, message, runs):
  with pytest.raises(UserError, match='--where: ') as error:
    run_table.where(text, runs)
  assert message in str(error.value)


def test_order(runs):
  assert names(run_table.ordered(runs, 'test/accuracy')) == 'acb'
  assert names(run_table.ordered(runs, '-test/accuracy')) == 'bca'
  assert names(run_table.ordered(runs, '-time')) == 'abc'  # c has none
  assert names(run_table.ordered(runs, 'experiment')) == 'abc'
  with pytest.raises(UserError, match="--sort: no run has 'x'"):
    run_table.ordered(runs, 'x')


def test_columns_are_the_monitored_metric_and_what_differs(runs):
  found = run_table.columns(runs)
  assert found.metrics == ['validation/loss', 'test/accuracy']
  assert found.settings == ['rate']  # the peak differs with it
  assert run_table.columns(runs[:1]).settings == []


def test_a_table_fits(runs):
  lines = run_table.table(runs, ['run', 'state', 'test/accuracy'], ['rate'], None)
  assert lines == [
    'run  state     test/accuracy  rate',
    'a    finished         0.8000   0.1',
    'b    finished         0.9500  0.02',
    'c    failed           0.9000   0.1']
  lines = run_table.table(runs, ['run', 'time'], ['rate', 'experiment'], 14)
  assert lines[1] == 'a    1 min 05 s' and lines[3] == 'c' and lines[-1].startswith(
    '2 more settings differ: rate, experiment')
