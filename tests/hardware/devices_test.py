"""bigmodels.hardware.devices: the folder of the compilation cache, matrix units."""

import importlib.util
import os
import pathlib
import tempfile

import jax
import pytest

from bigmodels.hardware import devices, releases


@pytest.fixture
def configure():
  """devices.configure_jax; afterwards JAX has its previous folder."""
  before = jax.config.jax_compilation_cache_dir
  yield devices.configure_jax
  jax.config.update('jax_compilation_cache_dir', before)


def test_jax_does_not_start_with_the_library_of_an_absent_tpu(monkeypatch):
  """Otherwise it waits for a TPU, and prints the library's errors."""
  before, find = jax.config.jax_platforms, importlib.util.find_spec
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *package: (
    object() if name == 'libtpu' else find(name, *package)))
  monkeypatch.setattr(pathlib.Path, 'glob', lambda *_: iter(()))
  started = []
  monkeypatch.setattr(jax, 'devices', lambda: started.append(
    jax.config.jax_platforms) or [None])
  try:
    jax.config.update('jax_platforms', None)
    assert devices.require_backend(None).startswith('cpu, ')
  finally:
    jax.config.update('jax_platforms', before)
  assert started == ['cpu']


def test_a_folder_that_exists_or_can_be_made(configure, tmp_path):
  for folder in (tmp_path, tmp_path / 'a' / 'b'):
    assert configure(folder) is None
    assert jax.config.jax_compilation_cache_dir == str(folder)
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(('place', 'message'), [
  ('file', 'file is not a folder'), ('file/x', 'file is not a folder'),
  ('x' * 300, 'File name too long'), ('/dev/null/x', '/dev/null is not a folder'),
  ('/proc/x', '/proc cannot be written to')])
def test_without_a_folder_programs_are_not_cached(place, message, configure, tmp_path):
  (tmp_path / 'file').write_text('')
  found = configure(tmp_path / place)
  assert message in found and found.endswith('programs are compiled at every start')
  assert jax.config.jax_compilation_cache_dir is None


def test_a_full_disk_is_noticed_in_advance(configure, monkeypatch, tmp_path):
  full = lambda **_: open('/dev/full', 'wb', buffering=0)  # noqa: E731, SIM115
  monkeypatch.setattr(tempfile, 'TemporaryFile', full)
  assert 'cannot be written to: No space left on device' in configure(tmp_path)


def test_options_that_a_release_does_not_have_are_left_out(monkeypatch):
  planned = devices.compiler_options('TPU v5')
  assert set(planned.values()) == {'true'}
  assert devices.compiler_options('gpu') == {}
  # On a TPU the compiler is asked; here it is that of a CPU, which has none of them.
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  assert devices.compiler_options.__wrapped__('tpu') == {}


@pytest.mark.parametrize('processor, flags, refuses, expected', [
  ('flags : fpu avx512f amx_bf16 avx512_fp16 amx_tile', '', False, True),
  ('flags : fpu avx512f amx_bf16', '--xla_cpu_max_isa=AMX_FP16', False, True),
  ('flags : fpu avx512f amx_bf16', '--a=b --xla_cpu_max_isa=avx512', False, False),
  ('flags : fpu avx512f amx_bf16', '', True, False),
  ('flags : fpu avx512f avx512_bf16', '', False, False), (None, '', False, False)])
def test_only_a_cpu_with_amx_has_matrix_units(
    monkeypatch, processor, flags, refuses, expected):
  def read(path):
    assert str(path) == '/proc/cpuinfo'
    if processor is None:
      raise FileNotFoundError
    return processor

  monkeypatch.setattr(pathlib.Path, 'read_text', read)
  monkeypatch.setattr(releases, 'refuses_bfloat16_products', lambda: refuses)
  monkeypatch.setenv('XLA_FLAGS', flags)
  assert devices.has_matrix_units.__wrapped__() == expected
