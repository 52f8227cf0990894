"""Tests of bigmodels.hardware.program_cache: a damaged file is never run."""

import errno
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.hardware import devices, program_cache

KEY, OTHER, VALUE = 'jit_f-0123', 'jit_g-4567', bytes(range(256)) * 9


@pytest.fixture
def kept(tmp_path):
  """A folder with two programs."""
  kept = program_cache.ProgramCache(tmp_path / 'xla')
  kept.put(KEY, VALUE)
  kept.put(OTHER, VALUE[::-1])
  return tmp_path / 'xla' / f'{KEY}-program'


def _changed(place):
  def change(path):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
  return change


def _folder(path):
  path.unlink()
  path.mkdir()
  (path / 'inside').write_text('')


def _swapped(path):
  other = path.with_name(f'{OTHER}-program')
  one, two = path.read_bytes(), other.read_bytes()
  path.write_bytes(two)
  other.write_bytes(one)


def _loop(path):
  path.unlink()
  path.symlink_to(path)


@pytest.mark.parametrize('change', [
  _changed(0), _changed(31), _changed(32), _changed(700), _changed(-1), _folder,
  _swapped, _loop, lambda path: path.write_bytes(b''),
  lambda path: path.write_bytes(bytes(path.stat().st_size)),
  lambda path: path.write_bytes(path.read_bytes()[:-1]),
  lambda path: path.write_bytes(path.read_bytes() + b'\0'),
  lambda path: path.write_bytes(path.read_bytes()[32:])], ids=range(13))
def test_a_damaged_file_is_reported_and_replaced(kept, change, capsys):
  assert program_cache.verify(kept.parent) == (2, ())
  found = program_cache.ProgramCache(kept.parent)
  assert found.get(KEY) == VALUE and found.get(OTHER) == VALUE[::-1]
  change(kept)
  assert program_cache.verify(kept.parent)[1][0].startswith(f'{kept}: ')
  assert found.get(KEY) is None
  said = capsys.readouterr().out
  assert said.startswith(f'warning: {kept}: ') and said.count('\n') == 1
  assert said.endswith('; it is compiled again, as are others like it\n')
  assert not os.path.lexists(kept)
  found.put(KEY, VALUE)
  assert found.get(KEY) == VALUE
  assert capsys.readouterr().out == ''


def test_a_program_that_is_not_stored_is_none(kept, capsys):
  assert program_cache.ProgramCache(kept.parent).get('jit_h') is None
  assert program_cache.ProgramCache(kept.parent / 'nowhere').get(KEY) is None
  assert program_cache.verify(kept.parent / 'nowhere') == (0, ())
  assert capsys.readouterr().out == ''


def test_a_full_disk_is_a_warning_and_leaves_nothing(kept, monkeypatch, capsys):
  def full(*args):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(os, 'replace', full)
  found = program_cache.ProgramCache(kept.parent)
  for key in ('jit_h', 'jit_i'):
    found.put(key, VALUE)
  assert capsys.readouterr().out == (
    f'warning: {kept.parent}: compiled programs cannot be kept: No space left on '
    'device; --cache_dir names another folder\n')
  assert len(list(kept.parent.iterdir())) == 2


def test_the_file_of_an_older_version_is_removed(kept):
  older = kept.parent / f'{KEY}-cache'
  older.write_bytes(b'without a checksum')
  found = program_cache.ProgramCache(kept.parent)
  found.put(KEY, VALUE)
  assert not older.exists() and found.get(KEY) == VALUE


def test_jax_runs_no_program_of_another_name(tmp_path, capsys):
  """The file of sine in the place of that of cosine: JAX's own cache runs it."""
  before = jax.config.jax_compilation_cache_dir

  def results():
    devices.configure_jax(tmp_path)
    devices.compilation_cache.reset_cache()
    x = jnp.float32(1)
    return float(jax.jit(lambda x: jnp.sin(x))(x)), float(
      jax.jit(lambda x: jnp.cos(x))(x))

  try:
    expected = results()
    np.testing.assert_allclose(expected, [np.sin(1), np.cos(1)], rtol=1e-6)
    one, two = sorted(tmp_path.glob('jit__lambda*-program'))
    assert not list(tmp_path.glob('*-cache'))
    assert results() == expected and capsys.readouterr().out == ''
    one_was, two_was = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_was)
    two.write_bytes(one_was)
    assert results() == expected
    said = capsys.readouterr().out
    assert said.count('\n') == 1 and 'is not what was written; it is compi' in said
    assert one.read_bytes() != two_was and program_cache.verify(tmp_path)[1] == ()
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
    devices.compilation_cache.reset_cache()


def test_a_release_without_these_names_uses_its_own(monkeypatch):
  cache = program_cache.importlib.import_module('jax._src.compilation_cache')
  monkeypatch.delattr(cache, 'get_file_cache')
  program_cache.install()
  assert not hasattr(cache, 'get_file_cache')
  assert pathlib.Path(cache.__file__).name == 'compilation_cache.py'
