"""bigmodels.hardware.devices: what is kept of compiled programs, and where."""

import os
import tempfile

import jax
import pytest

from bigmodels.hardware import devices


@pytest.fixture
def prepare():
  """devices.prepare; what JAX is set to is set back."""
  before = jax.config.jax_compilation_cache_dir
  yield devices.prepare
  jax.config.update('jax_compilation_cache_dir', before)


def test_a_folder_that_is_there_or_can_be_made(prepare, tmp_path):
  for folder in (tmp_path, tmp_path / 'a' / 'b'):
    assert prepare(folder) is None
    assert jax.config.jax_compilation_cache_dir == str(folder)
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(('place', 'message'), [
  ('file', 'file is not a folder'), ('file/x', 'file is not a folder'),
  ('x' * 300, 'File name too long'), ('/dev/null/x', '/dev/null is not a folder'),
  ('/proc/x', '/proc cannot be written to')])
def test_without_a_folder_nothing_is_kept(place, message, prepare, tmp_path):
  (tmp_path / 'file').write_text('')
  said = prepare(tmp_path / place)
  assert message in said and said.endswith('programs are compiled at every start')
  assert jax.config.jax_compilation_cache_dir is None


def test_a_full_disk_is_noticed_before(prepare, monkeypatch, tmp_path):
  full = lambda **_: open('/dev/full', 'wb', buffering=0)  # noqa: E731, SIM115
  monkeypatch.setattr(tempfile, 'TemporaryFile', full)
  assert 'cannot be written to: No space left on device' in prepare(tmp_path)
