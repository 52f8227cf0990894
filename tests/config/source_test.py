"""Tests of how the code of an experiment differs, and of its digest."""

import pytest

from bigmodels.config import source
from tests.config.forks import source_of

MAIN = '"""A fork."""\nimport helper\n\ndef f(x):\n  return x.mean(1)\n\n'
MAIN += 'def config(): pass\n'
DIFFERENCES = [
  ({}, []),
  ({'mine.py': MAIN.replace('mean', 'max')},
   ["mine.py, line 5: 'return x.mean(1)' when the run began, now 'return x.max(1)'"]),
  ({'mine.py': MAIN.replace('A fork', 'My fork')}, []),
  ({'mine.py': MAIN.replace('"""A fork."""', '')}, []),
  ({'mine.py': MAIN.replace('\n\n', '\n\n\n# why\n\n')}, []),
  ({'mine.py': MAIN.replace('x.mean(1)', 'x.mean( 1 )  # a note')}, []),
  ({'mine.py': MAIN.replace('(1)\n', '(1)\nY = 1\n')}, ["mine.py, line 6: 'Y = 1' is "
                                                       'new']),
  ({'mine.py': '# one\n' + MAIN.replace('mean', 'max')},
   ["mine.py, line 6: 'return x.mean(1)' when the run began, now 'return x.max(1)'"]),
  ({'helper.py': 'X = 2\n'}, ["helper.py, line 1: 'X = 1' when the run began, now "
                              "'X = 2'"]),
  ({'helper.py': ''}, ["helper.py, line 1 of then: 'X = 1' is gone"]),
  ({'helper.py': 'import other\nX = 1\n', 'other.py': ''},
   ["helper.py, line 1: 'import other' is new",
    'other.py was not imported when the run began']),
  ({'mine.py': MAIN.replace('import helper', 'pass')},
   ["mine.py, line 2: 'import helper' when the run began, now 'pass'",
    'helper.py is not imported now']),
  ({'mine.py': MAIN + 'A = 1\nB = 2\nC = 3\nD = 4\n'}, [
    "mine.py, line 8: 'A = 1' is new", "mine.py, line 9: 'B = 2' is new",
    "mine.py, line 10: 'C = 3' is new", 'and 1 more']),
  ({'helper.py': 'X = (\n'}, ["helper.py, line 1: 'X = 1' when the run began, now "
                              "'X = ('"]),
]


@pytest.mark.parametrize(('edits', 'said'), DIFFERENCES)
def test_differences_name_the_lines(edits, said, tmp_path):
  files = {'mine.py': MAIN, 'helper.py': 'X = 1\n'}
  before, now = (source_of(tmp_path / n, f) for n, f in (
    ('then', files), ('now', files | edits)))
  assert source.differences(before, now) == said


def test_the_digest_is_of_every_file_and_of_the_place(tmp_path):
  files = {'mine.py': 'import helper', 'helper.py': 'X = 1'}
  found = [source_of(tmp_path / name, files | edit).digest for name, edit in (
    ('a', {}), ('a', {'unused.py': ''}), ('b', {}), ('a', {'helper.py': 'X = 2'}))]
  assert found[0] == found[1] and len(set(found)) == 3
