"""Tests of bigmodels.data.decoded: what is kept is what was written, or made anew."""

import dataclasses
import fcntl
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import decoded, scratch

LENGTH = 40
INPUTS = (np.arange(LENGTH * 16_384, dtype=np.uint32) * 2_654_435_761 >> 24).astype(
  np.uint8).reshape(LENGTH, 128, 128, 1)  # 640 KiB: three parts
LABELS = np.arange(LENGTH, dtype=np.int32) % 7


@pytest.fixture
def place(tmp_path):
  source = tmp_path / 'source'
  source.write_bytes(b'the data')
  _age(source)
  return decoded.Place(tmp_path / 'decoded' / 'pets', 'rules', 'digest',
                       {source: decoded.stamp(source)})


def _age(*paths):
  """Waits until the stamps of files can be relied on."""
  while any(time.time_ns() - path.stat().st_ctime_ns < 2 * decoded._TICK
            for path in paths):
    time.sleep(0.005)


class Opener:
  """Opens a place; counts how often it was made, and keeps what was said."""

  def __init__(self, place):
    self.place, self.made, self.said = place, 0, []

  def __call__(self, **changes):
    return decoded.kept(dataclasses.replace(self.place, **changes), self._make,
                        what='decoding', say=self.said.append)

  def _make(self, writer):
    self.made += 1
    for start in range(0, LENGTH, 16):
      rows = slice(start, start + 16)
      writer.write({'inputs': INPUTS[rows], 'labels': LABELS[rows]}, LENGTH)
    writer.note('3 images scaled')


@pytest.fixture
def opener(place):
  return Opener(place)


def right(columns):
  assert columns.keys() == {'inputs', 'labels'}
  for name, wanted in (('inputs', INPUTS), ('labels', LABELS)):
    assert columns[name].dtype == wanted.dtype
    np.testing.assert_array_equal(columns[name], wanted)


def remembered(opener):
  """Opens it until it is known by its stamps."""
  for _ in range(5):
    opener()
    if decoded.known_digest(opener.place.folder, opener.place.sources):
      return
    _age(*opener.place.folder.iterdir())
  raise AssertionError('never remembered')


def test_what_is_kept_is_what_was_written(opener):
  for _ in range(3):
    columns, notes = opener()
    right(columns)
    assert isinstance(columns['inputs'], np.memmap) and notes == ['3 images scaled']
  assert opener.made == 1
  assert opener.said == [f'decoding (once; kept in {opener.place.folder})']
  np.testing.assert_array_equal(np.load(opener.place.folder / 'inputs.npy'), INPUTS)
  assert sorted(p.name for p in opener.place.folder.parent.iterdir()) == ['pets']


def _bytes(name, change):
  """Changes the bytes of a file."""
  def mutate(folder):
    data = bytearray((folder / name).read_bytes())
    changed = change(data)
    (folder / name).write_bytes(data if changed is None else changed)
  return mutate


def _flip(place):
  def change(data):
    data[place] ^= 16
  return change


def _header(old, new):
  return lambda data: bytes(data).replace(old, new)


def _labels_moved(folder):
  np.save(folder / 'labels.npy', np.roll(LABELS, 1))


def _in_place(folder):
  with (folder / 'inputs.npy').open('r+b') as file:
    file.seek(500_000)
    file.write(bytes(64))


def _same_times(mutate):
  """A mutation after which size and times of modification are as before."""
  def change(folder):
    path = folder / 'labels.npy'
    before = path.stat()
    mutate(folder)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
  return change


def _folder_for(name):
  def change(folder):
    (folder / name).unlink()
    (folder / name).mkdir()
  return change


def _link(folder):
  other = folder.parent.parent / 'other.npy'
  np.save(other, INPUTS[::-1])
  (folder / 'inputs.npy').unlink()
  (folder / 'inputs.npy').symlink_to(other)


def _dangling(folder):
  (folder / 'inputs.npy').unlink()
  (folder / 'inputs.npy').symlink_to('nowhere')


def _pipe(folder):
  (folder / 'inputs.npy').unlink()
  os.mkfifo(folder / 'inputs.npy')


def _swapped(folder):
  (folder / 'inputs.npy').rename(folder / 'x')
  (folder / 'labels.npy').rename(folder / 'inputs.npy')
  (folder / 'x').rename(folder / 'labels.npy')


def _manifest_swapped(folder):
  """A file that is signed, with something else in it."""
  decoded._sign(folder / 'manifest.json', 'seen.json', {'manifest': '', 'sources': {}})


def _as_file(folder):
  shutil.rmtree(folder)
  folder.write_bytes(b'')


def _empty(folder):
  shutil.rmtree(folder)
  folder.mkdir()


def _dangling_folder(folder):
  shutil.rmtree(folder)
  folder.symlink_to('nowhere')


def _of_another_name(folder):
  """The whole folder of another split, with a manifest that is right for it."""
  other = Opener(decoded.Place(folder.with_name('dogs'), 'rules', 'digest', {}))
  other()
  shutil.rmtree(folder)
  folder.with_name('dogs').rename(folder)


# name -> what is done to the folder, and what is said of it. {}: the folder.
WRONG = {
  'a flipped bit': (_bytes('inputs.npy', _flip(300_000)), (
    '{}/inputs.npy: the 262,144 bytes from byte 262,144 on are not those that were ')),
  'a flipped bit of the last part': (_bytes('inputs.npy', _flip(-1)), '524,288 on'),
  'a flipped bit in place': (_in_place, '262,144 on'),
  'labels moved by one': (_labels_moved, '{}/labels.npy: the 262,144 bytes from byte '
                          '0 on'),
  'labels, times kept': (_same_times(_labels_moved), '{}/labels.npy: the'),
  'zeroed': (_bytes('inputs.npy', lambda data: bytes(len(data))), 'from byte 0 on'),
  'another dtype': (_bytes('inputs.npy', _header(b'|u1', b'|i1')), 'from byte 0 on'),
  'another shape': (_bytes('inputs.npy', _header(b'128, 128, 1', b'128, 1, 128')),
                    'from byte 0 on'),
  'in Fortran order': (_bytes('inputs.npy', _header(b'False', b' True')), 'byte 0 on'),
  'truncated': (_bytes('inputs.npy', lambda data: data[:-7]),
                '{}/inputs.npy: has 655,481 bytes, 655,488 were written'),
  'longer': (_bytes('labels.npy', lambda data: data + b'0'), 'has 289 bytes, 288 were'),
  'empty': (_bytes('labels.npy', lambda data: b''), 'has 0 bytes, 288 were written'),
  'missing': (lambda folder: (folder / 'labels.npy').unlink(),
              '{}/labels.npy: is missing'),
  'a folder for it': (_folder_for('labels.npy'),
                      '{}/labels.npy: cannot be read: Is a directory'),
  'a link to another': (_link, '{}/inputs.npy: has 655,488 bytes'),
  'a dangling link': (_dangling, '{}/inputs.npy: is missing'),
  'a pipe': (_pipe, '{}/inputs.npy: cannot be read: Not a file'),
  'swapped files': (_swapped, '{}/inputs.npy: has 288 bytes, 655,488 were written'),
  'no manifest': (lambda folder: (folder / 'manifest.json').unlink(),
                  '{}/manifest.json: is missing, as with caches of older versions'),
  'another manifest': (_bytes('manifest.json', lambda data: data.replace(b'3', b'4')),
                       '{}/manifest.json: is not what was written'),
  'a truncated manifest': (_bytes('manifest.json', lambda data: data[:99]),
                           '{}/manifest.json: is not what was written'),
  'a folder for the manifest': (_folder_for('manifest.json'),
                                '{}/manifest.json: cannot be read: Is a directory'),
  'a file for the folder': (_as_file, '{}: is not a folder'),
  'the manifest of another kind': (_manifest_swapped, '{}/manifest.json: is not what'),
  'an empty folder': (_empty, '{}/manifest.json: is missing'),
  'a dangling link for the folder': (_dangling_folder, '{}: is not a folder'),
  'the folder of another split': (_of_another_name,
                                  '{}/manifest.json: it was made for dogs'),
}


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize('case', WRONG)
def test_what_is_wrong_is_said_and_made_anew(opener, case, known):
  if known:
    remembered(opener)
  else:
    opener()
  mutate, why = WRONG[case]
  if case == 'a link to another':
    why = '{}/inputs.npy: the 262,144 bytes from byte 0 on'
  mutate(opener.place.folder)
  right(opener()[0])
  assert opener.made == 2 and len(opener.said) == 2
  folder = str(opener.place.folder)
  assert opener.said[1].startswith('decoding anew, since ')
  assert why.replace('{}', folder) in opener.said[1]
  right(opener()[0])
  assert opener.made == 2
  left = {p.name for p in opener.place.folder.parent.iterdir()}
  assert left - {'pets'} == set()


@pytest.mark.parametrize(('changes', 'why'), [
  ({'rules': 'others'}, 'it was made by other rules (rules, now others)'),
  ({'digest': 'another'}, 'the data has changed since it was made')])
def test_what_was_made_from_something_else_is_made_anew(opener, changes, why):
  opener()
  opener(**changes)
  assert opener.made == 2 and why in opener.said[1]
  opener(**changes)
  assert opener.made == 2


def test_a_change_where_the_digest_does_not_look(opener):
  """Of large data only parts are digested; a checksum of all of it is kept."""
  source, = opener.place.sources
  opener.place = dataclasses.replace(opener.place, sampled=True)
  remembered(opener)
  before = source.stat()
  for content, made in ((b'the data', 1), (b'The data', 2)):
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    opener.place = dataclasses.replace(
      opener.place, sources={source: decoded.stamp(source)})
    opener()
    assert opener.made == made
  assert 'the data has changed since it was made' in opener.said[1]


def test_a_digest_is_known_while_nothing_changes(opener):
  place = opener.place
  remembered(opener)
  assert decoded.known_digest(place.folder, place.sources) == 'digest'
  source, = place.sources
  for stamp in [(1, *place.sources[source][1:]),
                (*place.sources[source][:3], place.sources[source][3] + 1)]:
    assert decoded.known_digest(place.folder, {source: stamp}) is None
  seen = place.folder / 'seen.json'
  seen.write_bytes(seen.read_bytes().replace(b'[', b'[1', 1))
  assert decoded.known_digest(place.folder, place.sources) is None
  right(opener()[0])
  assert opener.made == 1


def test_what_changed_just_now_is_not_relied_on(opener):
  """Two changes within a tick of the clock of a file system have the same times."""
  soon = time.time_ns() + 10**9
  for stamps in ({'inputs': (1, 2, 3, soon)}, {'inputs': (1, 2, 3, 7 * 10**9)}):
    opener()
    (opener.place.folder / 'seen.json').unlink(missing_ok=True)
    decoded._see(opener.place.folder, '', stamps, {})
    assert not (opener.place.folder / 'seen.json').exists()


def test_all_parts_are_compared_in_time_where_stamps_do_not_tell(opener, monkeypatch):
  """What rots on a disk leaves its times as they are."""
  monkeypatch.setattr(decoded, '_SAMPLED', 1)
  remembered(opener)
  monkeypatch.setattr(decoded, '_seen', lambda folder, manifest, seen=decoded._seen: {
    'manifest': manifest, 'sources': decoded._named(opener.place.sources),
    'arrays': {name: [*decoded.stamp(folder / f'{name}.npy')]
               for name in ('inputs', 'labels')}})
  _in_place(opener.place.folder)
  for _ in range(100):  # a third of the parts at a time: 2e-18
    opener()
  assert opener.made == 2


def test_whoever_has_it_mapped_keeps_it(opener):
  columns, _ = opener()
  (opener.place.folder / 'manifest.json').unlink()
  opener()
  assert opener.made == 2
  right(columns)


def test_another_process_was_quicker(opener):
  """Its arrays are taken, and stay where they are."""
  other = Opener(opener.place)
  make = opener._make

  def slow(writer):
    make(writer)
    other()

  opener._make = slow
  right(opener()[0])
  assert opener.made == other.made == 1
  inode = (opener.place.folder / 'inputs.npy').stat().st_ino
  opener()
  assert (opener.place.folder / 'inputs.npy').stat().st_ino == inode


@pytest.mark.parametrize('failing', ['write', 'fsync', 'rename', 'mkdtemp'])
def test_a_full_disk_is_one_line_and_nothing_is_left(opener, monkeypatch, failing):
  def full(*args, **keywords):
    raise OSError(28, 'No space left on device')

  where = {'write': decoded._File, 'mkdtemp': scratch.tempfile}.get(failing, os)
  monkeypatch.setattr(where, failing, full)
  with pytest.raises(UserError, match=r'--cache_dir: cannot write decoded data to .*: '
                     'No space left on device; make room there, or name another'):
    opener()
  assert not list(opener.place.folder.parent.iterdir())


def test_a_limit_on_the_size_of_files(opener):
  """A disk that is full in earnest: files may not grow."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
  try:
    with pytest.raises(UserError, match=r'inputs\.npy: File too large; make room'):
      opener()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, old)
  assert not list(opener.place.folder.parent.iterdir())


def test_a_cache_that_can_only_be_read(opener, monkeypatch):
  """Is as good, until something there is wrong."""
  opener()
  (opener.place.folder / 'seen.json').unlink(missing_ok=True)
  _age(*opener.place.folder.iterdir())

  def refused(*args, **keywords):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(scratch.tempfile, 'mkdtemp', refused)
  monkeypatch.setattr(decoded, '_sign', refused)
  right(opener()[0])
  _labels_moved(opener.place.folder)
  with pytest.raises(UserError, match=r'--cache_dir: cannot write decoded data to .*: '
                     'Permission denied; name another folder by --cache_dir; it is to '
                     r'be made anew, since .*labels\.npy: the 262,144 bytes from'):
    opener()
  assert 'labels.npy: the ' in opener.said[-1]


@pytest.mark.parametrize('error', [UserError('no'), KeyboardInterrupt()])
def test_nothing_is_left_of_what_fails(opener, error):
  def fail(writer):
    writer.write({'inputs': INPUTS[:3]}, LENGTH)
    raise error

  opener._make = fail
  with pytest.raises(type(error)):
    opener()
  assert not list(opener.place.folder.parent.iterdir())


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


def test_what_is_swept_is_said_in_one_line(tmp_path):
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
from bigmodels.data import decoded

def make(writer):
  writer.write({'inputs': np.zeros((100, 1000), np.uint8)}, 1000)
  print('writing', flush=True)
  sys.stdin.read()

place = decoded.Place(pathlib.Path(sys.argv[1]) / 'pets', '', '', {})
decoded.kept(place, make, what='decoding', say=lambda line: None)
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


def test_everything_is_examined(opener, tmp_path):
  root = opener.place.folder.parent
  assert decoded.examine(root) == decoded.Examined(0, 0, (), ())
  opener()
  found = decoded.examine(root)
  assert found == decoded.Examined(2, 655_488 + 288, (), ())
  (root / 'old').mkdir()
  np.save(root / 'old' / 'inputs.npy', INPUTS)
  np.save(root / 'old-labels.npy', LABELS)
  assert decoded.examine(root).older == ('old', 'old-labels.npy')


@pytest.mark.parametrize('case', [
  case for case in WRONG if case not in ('no manifest', 'an empty folder')])
def test_what_is_wrong_is_found_when_everything_is_examined(opener, case):
  opener()
  mutate, why = WRONG[case]
  mutate(opener.place.folder)
  found = decoded.examine(opener.place.folder.parent)
  if case != 'a link to another':
    assert why.replace('{}', str(opener.place.folder)) in ' '.join(found.wrong)
  assert found.wrong and not found.older


def test_the_manifest_is_json(opener):
  opener()
  line, _ = (opener.place.folder / 'manifest.json').read_text().splitlines()
  manifest = json.loads(line)
  assert len(manifest['arrays']['inputs']['crc32']) == 3
  assert pathlib.Path(manifest['name']).name == 'pets'
