"""--mode=compare: verdicts, pairs, pages, and what is refused."""

import json

import numpy as np
import pytest

from bigmodels.cli.request import Request
from bigmodels.core.errors import UserError
from bigmodels.modes import compare
from tests.storage.workdirs import write

A = (0.990, 0.985, 0.991, 0.988, 0.993, 0.987, 0.989, 0.992)
LOWER = (0.004, 0.006, 0.005, 0.003, 0.007, 0.005, 0.004, 0.006)


@pytest.fixture
def lines(tmp_path, capsys):
  """(folder, flags) -> the lines that are printed."""

  def call(folder='a', **flags):
    compare.run(Request(None, {}, str(tmp_path / folder), None, tmp_path, None),
                **flags)
    return capsys.readouterr().out.replace(f'{tmp_path}/', '').splitlines()

  return call


def population(path, values, seeds=range(8), **more):
  return str(write(path, {'test/accuracy': [*values], 'test/loss': [
    1 - value for value in values]}, seeds=[*seeds], **more))


def test_a_difference_that_is_there(lines, tmp_path):
  population(tmp_path / 'a', A)
  other = population(tmp_path / 'b', np.subtract(A, LOWER))
  # mean 0.005, deviation 0.00131, t of 7: 2.365
  assert lines(other=[other], metric='test/accuracy') == [
    'test/accuracy: a 0.9894, b 0.9844; difference 0.005 (95 % interval 0.00391 to '
    '0.00609); 8 pairs of runs of one seed',
    'a has the higher test/accuracy', 'page: a/comparison.html']
  page = (tmp_path / 'a' / 'comparison.html').read_text()
  assert 'a has the higher test/accuracy' in page and page.count('<svg') == 2
  assert '<th>seed 7</th><td>0.9920</td><td>0.9860</td>' in page
  found = json.loads((tmp_path / 'a' / 'comparison.json').read_text())
  (one,) = found['comparisons']
  assert one['significant'] and one['paired'] and one['mean'] == pytest.approx(0.005)
  # The monitored one is compared if none is named.
  assert lines(other=[other], output=str(tmp_path / 'x.html'))[1:] == [
    'a has the lower test/loss, which is better', 'page: x.html']
  assert (tmp_path / 'x.json').is_file()


def test_not_enough_to_tell(lines, tmp_path):
  population(tmp_path / 'a', A)
  other = population(tmp_path / 'b', A[::-1], seeds=range(8, 16), rows='7 rows')
  assert lines(other=[other], metric='test/accuracy')[:2] == [
    "warning: a and b were evaluated on other rows of 'test': 9 rows, and 7 rows",
    'test/accuracy: a 0.9894, b 0.9894; difference 0 (95 % interval -0.00286 to '
    '0.00286); 8 and 8 runs, not paired']
  shifted = population(tmp_path / 'c', np.subtract(A, 0.001)[::-1],
                       seeds=range(8, 16))
  found = lines(other=[shifted], metric='test/accuracy')
  assert found[1] == 'not enough to tell which of a and c has the higher test/accuracy'
  assert found[2] == ('a difference of 0.001 would take 113 seeds of each to be found '
                      'with a probability of 80 %')
  one = str(write(tmp_path / 'd', {'test/loss': 0.5}))
  assert lines(other=[one])[-2:] == [
    'the spread between runs cannot be estimated from a single run; --seeds=8 trains '
    'eight',
    'page: a/comparison.html']


def test_several_are_corrected_for(lines, tmp_path):
  """A single comparison is significant; as one of three it is not."""
  population(tmp_path / 'a', A)
  others = [population(tmp_path / name, np.subtract(A, np.multiply(
    LOWER, sign * np.array([1, -0.4, 1, 1, 1, -0.1, 1, 0.3]))))
    for name, sign in (('b', 1), ('c', 1.1), ('d', 0.9))]
  assert 'a has the higher test/accuracy' in lines(
    other=others[:1], metric='test/accuracy')
  found = lines(other=others, metric='test/accuracy')
  assert sum('not enough to tell' in line for line in found) == 3
  assert sum('of all 3 comparisons together' in line for line in found) == 3


def test_seeds_of_one_side_are_left_out(lines, tmp_path):
  population(tmp_path / 'a', A)
  other = population(tmp_path / 'b', A[2:5], seeds=(2, 3, 4))
  found = lines(other=[other])
  assert found[0] == ('a and b: only one of them has seed 0, 1, 5, 6, 7, which is left '
                      'out')
  assert found[1].endswith('; 3 pairs of runs of one seed')
  assert found[2] == 'not enough to tell which of a and b has the higher test/loss'


def test_no_other_file_is_replaced(lines, tmp_path, monkeypatch):
  folder = population(tmp_path / 'a', A)
  before = (tmp_path / 'a' / 'result.json').read_text()
  other = [population(tmp_path / 'b', A)]
  with pytest.raises(UserError, match=r'result\.json, which would hold the numbers'):
    lines(other=other, output=f'{folder}/result.html')
  assert (tmp_path / 'a' / 'result.json').read_text() == before

  def full(*given):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(compare.files, 'write', full)
  with pytest.raises(UserError, match='cannot be written: No space left on device; --'):
    lines(other=other)


def test_what_is_refused(lines, tmp_path):
  folder = population(tmp_path / 'a', A)
  for flags, message in (
    ({}, '--mode=compare: name two folders'),
    ({'other': [folder]}, r'--other=\S+/a: is given twice'),
    ({'other': [str(tmp_path / 'no')]}, 'no: there is no such folder'),
    ({'other': [str(write(tmp_path / 'c', {'train/loss': 1.0}))]}, 'no metric of an '),
    ({'other': [population(tmp_path / 'b', A)], 'metric': 'test/los'},
     r"--metric=test/los: \S+/a has no such metric; did you mean 'test/loss'\?"),
    ({'other': [str(tmp_path / 'b')], 'output': 'x.txt'}, 'must end in .html or .htm')):
    with pytest.raises(UserError, match=message):
      lines(**flags)
