"""A cache entry with arrays of known values, and every way to damage it."""

import dataclasses
import os
import shutil
import time

import numpy as np

from bigmodels.data.cached import array_cache, manifests

LENGTH = 40
INPUTS = (np.arange(LENGTH * 16_384, dtype=np.uint32) * 2_654_435_761 >> 24).astype(
  np.uint8).reshape(LENGTH, 128, 128, 1)  # 640 KiB: three parts
LABELS = np.arange(LENGTH, dtype=np.int32) % 7


def age(*paths):
  """Waits until the stamps of files can be relied on."""
  while any(time.time_ns() - path.stat().st_ctime_ns < 2 * manifests.TICK
            for path in paths):
    time.sleep(0.005)


def entry_in(folder):
  """An entry of a cache in a folder, made from one file of data."""
  source = folder / 'source'
  source.write_bytes(b'the data')
  age(source)
  return array_cache.Entry(folder / 'decoded' / 'pets', 'rules', 'digest',
                           {source: manifests.stamp(source)})


class Opener:
  """Opens an entry; counts how often it was made, and keeps what was printed."""

  def __init__(self, entry):
    self.entry, self.made, self.said = entry, 0, []

  def __call__(self, **changes):
    return array_cache.cached(dataclasses.replace(self.entry, **changes), self._make,
                              what='decoding', say=self.said.append)

  def _make(self, writer):
    self.made += 1
    for start in range(0, LENGTH, 16):
      rows = slice(start, start + 16)
      writer.write({'inputs': INPUTS[rows], 'labels': LABELS[rows]}, LENGTH)
    writer.note('3 images scaled')


def remembered(opener):
  """Opens it until its stamps are remembered."""
  for _ in range(5):
    opener()
    if array_cache.known_digest(opener.entry.folder, opener.entry.sources):
      return
    age(*opener.entry.folder.iterdir())
  raise AssertionError('never remembered')


def _bytes(name, change):
  """Changes the bytes of a file."""
  def mutate(folder):
    data = bytearray((folder / name).read_bytes())
    changed = change(data)
    (folder / name).write_bytes(data if changed is None else changed)
  return mutate


def _flip(byte):
  def change(data):
    data[byte] ^= 16
  return change


def _header(old, new):
  return lambda data: bytes(data).replace(old, new)


def labels_moved(folder):
  np.save(folder / 'labels.npy', np.roll(LABELS, 1))


def in_place(folder):
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
  """A signed file with other content."""
  content = {'manifest': '', 'sources': {}}
  manifests.write(folder / 'manifest.json', 'seen.json', content)


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
  other = Opener(array_cache.Entry(folder.with_name('dogs'), 'rules', 'digest', {}))
  other()
  shutil.rmtree(folder)
  folder.with_name('dogs').rename(folder)


# name -> what is done to the folder, and the reason that is printed. {}: the folder.
DAMAGE = {
  'a flipped bit': (_bytes('inputs.npy', _flip(300_000)), (
    '{}/inputs.npy: the 262,144 bytes from byte 262,144 on differ from what was ')),
  'a flipped bit of the last part': (_bytes('inputs.npy', _flip(-1)), '524,288 on'),
  'a flipped bit in place': (in_place, '262,144 on'),
  'labels moved by one': (labels_moved, '{}/labels.npy: the 262,144 bytes from byte '
                          '0 on'),
  'labels, times kept': (_same_times(labels_moved), '{}/labels.npy: the'),
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
