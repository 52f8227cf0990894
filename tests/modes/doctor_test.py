"""Tests of --mode=doctor: it works without anything, and says what is missing."""

import importlib.util
import socket

import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.cached import array_cache
from bigmodels.hardware import releases
from bigmodels.hardware.self_check.program import Program, positive
from bigmodels.modes import doctor

GOOD = Program('a sum', jnp.sum, np.sum, (positive(31),), terms=31)
BAD = Program('a row that is off', lambda x: x.at[3].add(0.1), lambda x: x,
              (positive(31),))


@pytest.fixture
def examine(monkeypatch, request_for, capsys):
  """(programs, other fields of the request) -> what the doctor prints."""
  monkeypatch.setattr(releases, 'KNOWN_BUGS', ())

  def run(*programs, **fields):
    monkeypatch.setattr(doctor, 'PROGRAMS', programs)
    doctor.run(request_for(None)._replace(**fields))
    return capsys.readouterr().out

  return run


def test_all_right(examine, tmp_path):
  (tmp_path / 'xla').mkdir()
  (tmp_path / 'xla' / 'program').write_bytes(b'x' * 250_000)
  said = examine(GOOD, cache_dir=tmp_path)
  assert 'self-check           1 programs: all right' in said
  for name in ('system', 'processor', 'memory', 'Python', 'jax', 'jaxlib', 'flax',
               'optax', 'orbax-checkpoint', 'numpy', 'tensorflow-datasets', 'libtpu',
               'planning for TPUs', 'cache', 'data', 'device', 'known wrong results'):
    assert any(line.startswith(f'{name} ') for line in said.splitlines()), name
  assert f'{tmp_path}: writable' in said and '1 files, 0.2 MB' in said
  assert not list(tmp_path.glob('tmp*'))


def test_decoded_data_is_compared(examine, tmp_path, capsys):
  """All of it; what is wrong is an error, and mended by the next run."""
  def make(writer):
    writer.write({'inputs': np.arange(10, dtype=np.int32)}, 10)

  place = array_cache.Entry(tmp_path / 'decoded' / 'pets', '', '', {})
  array_cache.cached(place, make, what='decoding', say=print)
  assert '1 files of arrays, 0.0 MB, compared with their checksums: all right' in (
    examine(GOOD, cache_dir=tmp_path))
  path = place.folder / 'inputs.npy'
  path.write_bytes(path.read_bytes()[:-1] + b'1')
  (tmp_path / 'decoded' / 'old').mkdir()
  np.save(tmp_path / 'decoded' / 'old' / 'inputs.npy', np.zeros(3))
  left = tmp_path / 'decoded' / '.pets-abcdefgh'
  left.mkdir()
  (left / 'lock').write_text(socket.gethostname())
  (left / 'inputs.npy').write_bytes(bytes(500_000))
  (tmp_path / 'xla').mkdir()
  (tmp_path / 'xla' / 'jit_f-program').write_bytes(b'damaged')
  with pytest.raises(UserError, match=r'--cache_dir: 2 files there differ from what '
                     r'was written: .*/xla/jit_f-program: is not what .*; .*/pets'
                     r'/inputs\.npy: the .*; a run recreates them when it next needs'):
    examine(GOOD, cache_dir=tmp_path)
  said = capsys.readouterr().out
  assert '1 compiled programs compared with their checksums: 1 wrong' in said
  assert f'wrong: {path}: the 262,144 bytes from byte 0 on differ from' in said
  assert 'from an older version, without checksums; it will be decoded again' in said
  assert '1 folder that killed runs left, 0.5 MB: removed when' in said
  assert left.exists() and '1 programs: all right' in said


def test_wrong_programs_are_named(examine, capsys):
  with pytest.raises(UserError, match='computes 1 of 2 programs wrongly: '
                                      'a row that is off'):
    examine(GOOD, BAD)
  said = capsys.readouterr().out
  assert 'wrong: a row that is off: off by ' in said
  assert '2 programs: 1 wrong' in said


def test_a_known_release_comes_with_its_remedy(examine, monkeypatch, capsys):
  with pytest.raises(UserError) as error:
    monkeypatch.setattr(doctor.jaxlib, '__version__', '0.10.2')
    monkeypatch.setattr(releases, 'KNOWN_BUGS', (
      releases.KnownBug(('0.10.2',), 'cpu', 'sums', 'a/b#1', in_reductions=False),))
    examine(BAD)
  assert str(error.value).startswith('jaxlib 0.10.2 on cpu computes 1 of 1 ')
  assert str(error.value).endswith(releases.REMEDY)
  said = capsys.readouterr().out
  assert f'warning: jaxlib 0.10.2 on cpu: sums (a/b#1); {releases.REMEDY}' in said


def test_no_cache(examine, tmp_path):
  (tmp_path / 'file').write_text('')
  said = examine(GOOD, cache_dir=tmp_path / 'file' / 'cache')
  assert f'problem: {tmp_path / "file"} is not a folder' in said
  assert 'another with --cache_dir' in said and 'all right' in said


def test_no_libtpu(examine, monkeypatch):
  find, installed = importlib.util.find_spec, releases.installed
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: (
    None if name == 'libtpu' else find(name, *rest)))
  monkeypatch.setattr(releases, 'installed', lambda name: (
    None if name == 'libtpu' else installed(name)))
  said = examine(GOOD)
  assert 'libtpu               not installed; needed for --mode=plan' in said
  assert 'planning for TPUs    not possible without libtpu' in said
  assert 'all right' in said


def test_data(examine, tmp_path):
  said = examine(GOOD, data_dir=str(tmp_path / 'none'))
  assert f'{tmp_path / "none"}: does not exist' in said
  said = examine(GOOD, data_dir=str(tmp_path))
  assert 'no dataset is prepared there' in said
  (tmp_path / 'mnist' / '3.0.1').mkdir(parents=True)
  (tmp_path / 'mnist' / '3.0.1' / 'dataset_info.json').write_text('{}')
  (tmp_path / 'mnist' / '3.0.1' / 'features.json').write_text('{}')
  (tmp_path / 'half' / '1.0.0.incompleteABC').mkdir(parents=True)
  assert f'{tmp_path}: mnist:3.0.1\n' in examine(GOOD, data_dir=str(tmp_path))
  said = examine(GOOD, data_dir=str(tmp_path / 'mnist/3.0.1/features.json'))
  assert 'features.json: problem: is not a folder' in said


@pytest.mark.parametrize(('fields', 'flag'), [
  ({'experiment': 'digits_cnn'}, 'experiment'), ({'workdir': 'run'}, 'workdir'),
  ({'overrides': {'seed': '1'}}, 'config')])
def test_it_looks_at_no_experiment(examine, fields, flag):
  with pytest.raises(UserError, match=f'--{flag}: --mode=doctor takes no'):
    examine(GOOD, **fields)


def test_another_backend_is_required(examine):
  with pytest.raises(UserError, match='--require_backend=gpu: JAX uses cpu here'):
    examine(GOOD, require_backend='gpu')
