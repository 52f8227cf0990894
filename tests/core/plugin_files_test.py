"""Tests of plug-ins that are files."""

import pytest

from bigmodels.core import plugin_files
from bigmodels.core.errors import UserError


@pytest.fixture
def known(tmp_path):
  for name in ('b.py', 'a.py', '_c.py', 'd.txt'):
    (tmp_path / name).write_text('')
  return plugin_files.names(tmp_path)


def test_they_are_found_by_name_or_path(known, tmp_path):
  assert known == {'a': tmp_path / 'a.py', 'b': tmp_path / 'b.py'} and [*known] == [
    'a', 'b']
  for value, expected in (('b', 'b.py'), (str(tmp_path / '_c.py'), '_c.py')):
    assert plugin_files.file_of(
      value, known, flag='--to', what='format') == tmp_path / expected


@pytest.mark.parametrize(('value', 'message'), [
  ('c', '--to=c: no such format, nor the path of a .py file; choose from a, b'),
  ('d.txt', '--to=d.txt: no such format'),
  ('gone.py', '--to=gone.py: there is no file'),
  ('', '--to=: no such format')])
def test_what_is_not_there(known, value, message):
  with pytest.raises(UserError) as error:
    plugin_files.file_of(value, known, flag='--to', what='format')
  assert str(error.value).startswith(message)


def test_the_last_function_of_a_name_counts(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('def run(a): pass\ndef run(b): pass\nwrite = 1')
  assert plugin_files.function_of(path, 'run').args.args[0].arg == 'b'
  assert plugin_files.function_of(path, 'write') is None
  path.write_text('\ndef run(')
  with pytest.raises(UserError, match=r'mine\.py, line 2: SyntaxError: '):
    plugin_files.body_of(path)
