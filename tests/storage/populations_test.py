"""Sets of runs: what is read of a population, of one run, and of a folder."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.storage import populations
from tests.storage.workdirs import write


def read(path):
  return populations.read(path, path.name)


def test_a_population_a_run_and_a_folder_of_runs(tmp_path):
  found = read(write(tmp_path / 'a', {'test/loss': [1.0, None], 'x': [[1], [2]]},
                     seeds=[0, 2], not_finite=[1]))
  assert found.seeds == (0, 2) and found.metrics == {'test/loss': [1.0, None]}
  assert (found.monitor, found.goal) == ('test/loss', 'min')
  assert found.rows == {'test': '9 rows'}
  assert found.notes == ('a: the run of seed 1 ended with a value that is not finite, '
                         'and is left out',)
  one = read(write(tmp_path / 'b', {'test/loss': 3.0, 'each': [1.0, 2.0]}, seed=4))
  nan = read(write(tmp_path / 'd', {'test/loss': float('nan')}))
  assert nan.metrics == {'test/loss': [None]}
  assert (one.seeds, one.metrics) == ((4,), {'test/loss': [3.0]})
  write(tmp_path / 'c' / 'second', {'test/loss': 2.0}, seed=7, status='stopped')
  write(tmp_path / 'c' / 'first', {'test/loss': 1.0, 'test/f1': 0.5}, seed=9)
  both = read(tmp_path / 'c')
  assert both.seeds == (7, 9)
  assert both.metrics == {'test/loss': [2.0, 1.0], 'test/f1': [None, 0.5]}
  assert both.notes == (
    'c/second: is not finished: the values are those of step 5 of 5',)


def test_what_is_refused(tmp_path):
  for path, message in ((tmp_path / 'gone', 'gone: there is no such folder'),
                        (tmp_path, 'holds no run')):
    with pytest.raises(UserError, match=message):
      read(path)
  run = write(tmp_path / 'a' / 'x', {'test/loss': 1.0})
  write(tmp_path / 'a' / 'y', {'test/loss': 1.0}, seed=1, rate=0.2)
  with pytest.raises(UserError, match=r'in their seeds alone, but [xy] and [xy] differ '
                                      'in rate'):
    read(tmp_path / 'a')
  write(tmp_path / 'b' / 'x', {'test/loss': 1.0})
  write(tmp_path / 'b' / 'y', {'test/loss': 2.0})
  with pytest.raises(UserError, match='b: more than one run has the seed 0'):
    read(tmp_path / 'b')
  result = run / 'result.json'
  result.write_text(result.read_text().replace('1.0', '2'))
  with pytest.raises(UserError, match=r'x: result\.json is not as a run wrote it'):
    read(run)
  result.unlink()
  with pytest.raises(UserError, match=r'x: has no result\.json; a run writes it when'):
    read(run)
