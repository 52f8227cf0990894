"""Tests of bigmodels.data.cached.scratch: only what ended processes left is removed."""

import fcntl
import os
import socket
import subprocess
import sys
import time

import pytest

from bigmodels.data.cached import scratch


def _scratch(root, name, *, host, age=0.0):
  folder = root / f'.{name}-abcdefgh'
  (folder / 'new').mkdir(parents=True)
  (folder / 'new' / 'inputs.npy').write_bytes(bytes(500_000))
  if host is not None:
    (folder / 'lock').write_text(host)
  for path in (*folder.rglob('*'), folder):
    os.utime(path, (time.time() - age,) * 2)
  return folder


# of a process: the host of its lock, seconds since it wrote, whether it has the lock
@pytest.mark.parametrize(('host', 'age', 'locked', 'gone'), [
  ('here', 0, False, True), ('here', 1e6, False, True), ('here', 0, True, False),
  ('here', 1e6, True, False), ('elsewhere', 0, False, False),
  ('elsewhere', 3000, False, False), ('elsewhere', 1e6, False, True),
  ('', 0, False, False), ('', 1e6, False, True), (None, 0, False, False),
  (None, 1e6, False, True)])
def test_only_what_is_abandoned_is_swept(tmp_path, host, age, locked, gone):
  name = socket.gethostname() if host == 'here' else host
  folder = _scratch(tmp_path, 'pets', host=name, age=age)
  said = []
  with (folder / 'lock').open('r+') if locked else (tmp_path / 'x').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert scratch.left_over(tmp_path) == [folder] * gone
    scratch.sweep(tmp_path, said.append)
  assert folder.exists() != gone
  assert said == [f'removed 1 folder that killed runs left in {tmp_path}, 0.5 MB'
                  ] * gone


def test_what_is_swept_is_counted_in_one_line(tmp_path):
  for name in ('pets', 'dogs'):
    _scratch(tmp_path, name, host=socket.gethostname())
  (tmp_path / 'cats').mkdir()
  (tmp_path / '.link').symlink_to(tmp_path / 'cats')
  said = []
  scratch.sweep(tmp_path, said.append)
  assert said == [f'removed 2 folders that killed runs left in {tmp_path}, 1.0 MB']
  assert sorted(p.name for p in tmp_path.iterdir()) == ['.link', 'cats']
  scratch.sweep(tmp_path / 'nowhere', said.append)
  assert len(said) == 1


KILLED = '''
import os, pathlib, signal, sys
import numpy as np
from bigmodels.data.cached import array_cache

def make(writer):
  writer.write({'inputs': np.zeros((100, 1000), np.uint8)}, 1000)
  print('writing', flush=True)
  sys.stdin.read()

entry = array_cache.Entry(pathlib.Path(sys.argv[1]) / 'pets', '', '', {})
array_cache.cached(entry, make, what='decoding', say=lambda line: None)
'''


@pytest.mark.slow('kill runs')
def test_what_a_killed_process_left_is_swept(tmp_path):
  with subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path)], text=True,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
    assert process.stdout.readline() == 'writing\n'
    said = []
    scratch.sweep(tmp_path, said.append)
    assert not said  # it is alive
    process.kill()
    process.wait()
  scratch.sweep(tmp_path, said.append)
  assert said == [f'removed 1 folder that killed runs left in {tmp_path}, 0.1 MB']
  assert not list(tmp_path.iterdir())
