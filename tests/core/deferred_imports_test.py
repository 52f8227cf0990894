"""Tests of bigmodels.core.deferred_imports."""

import sys
import typing

import pytest

from bigmodels.core.deferred_imports import deferred


@pytest.fixture
def package(tmp_path, monkeypatch):
  """The package `slow`, which `user` imports, and the names of what was imported."""
  (tmp_path / 'slow').mkdir()
  (tmp_path / 'slow' / '__init__.py').write_text('colour = "blue"\n')
  (tmp_path / 'slow' / 'drawing.py').write_text('def draw(): return "drawn"\n')
  (tmp_path / 'user.py').write_text(
    'import slow\nimport slow.drawing as drawing\nfrom slow import drawing as same\n'
    'def use(): return slow.colour, drawing.draw(), same.draw()\n')
  monkeypatch.syspath_prepend(tmp_path)
  yield
  for name in ('slow', 'slow.drawing', 'user'):
    sys.modules.pop(name, None)


def test_a_module_is_imported_when_it_is_used(package):
  with deferred('slow', 'slow.drawing'):
    import user
  assert not {'slow', 'slow.drawing'} & {*sys.modules}
  assert user.use() == ('blue', 'drawn', 'drawn')
  assert sys.modules['slow'].__file__ and sys.modules['slow.drawing'].__file__


def test_a_module_that_is_imported_already_stays(package):
  import slow

  with deferred('slow', 'slow.drawing'):
    import user
  assert sys.modules['slow'] is slow is user.slow
  assert user.use() == ('blue', 'drawn', 'drawn')


def test_what_is_used_at_once_is_imported_at_once(package):
  with deferred('slow', annotations=['Pen']):
    import slow
    assert slow.Pen is typing.Any and 'slow.drawing' not in sys.modules
    assert slow.colour == 'blue' and sys.modules['slow'].__file__


def test_what_a_module_does_not_have(package):
  with deferred('slow'):
    import slow
  with pytest.raises(AttributeError, match='size'):
    _ = slow.size
