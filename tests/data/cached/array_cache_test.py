"""Tests of bigmodels.data.cached.array_cache: arrays are as written, or made again."""

import os
import resource
import signal

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.cached import array_cache, manifests, scratch
from tests.data.cached import damage
from tests.data.cached.damage import (
  DAMAGE,
  INPUTS,
  LABELS,
  LENGTH,
  Opener,
  age,
  labels_moved,
  remembered,
)


@pytest.fixture
def opener(tmp_path):
  return damage.Opener(damage.entry_in(tmp_path))


def right(columns):
  assert columns.keys() == {'inputs', 'labels'}
  for name, expected in (('inputs', INPUTS), ('labels', LABELS)):
    assert columns[name].dtype == expected.dtype
    np.testing.assert_array_equal(columns[name], expected)


def test_what_is_kept_is_what_was_written(opener):
  for _ in range(3):
    columns, notes = opener()
    right(columns)
    assert isinstance(columns['inputs'], np.memmap) and notes == ['3 images scaled']
  assert opener.made == 1
  assert opener.said == [f'decoding (once; cached in {opener.entry.folder})']
  np.testing.assert_array_equal(np.load(opener.entry.folder / 'inputs.npy'), INPUTS)
  assert sorted(p.name for p in opener.entry.folder.parent.iterdir()) == ['pets']


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize('case', DAMAGE)
def test_what_is_damaged_is_named_and_made_again(opener, case, known):
  if known:
    remembered(opener)
  else:
    opener()
  mutate, why = DAMAGE[case]
  if case == 'a link to another':
    why = '{}/inputs.npy: the 262,144 bytes from byte 0 on'
  mutate(opener.entry.folder)
  right(opener()[0])
  assert opener.made == 2 and len(opener.said) == 2
  folder = str(opener.entry.folder)
  assert opener.said[1].startswith('decoding again, since ')
  assert why.replace('{}', folder) in opener.said[1]
  right(opener()[0])
  assert opener.made == 2
  left = {p.name for p in opener.entry.folder.parent.iterdir()}
  assert left - {'pets'} == set()


@pytest.mark.parametrize(('changes', 'why'), [
  ({'rules': 'others'}, 'it was made by other rules (rules, now others)'),
  ({'digest': 'another'}, 'the data has changed since it was made')])
def test_what_was_made_from_something_else_is_made_again(opener, changes, why):
  opener()
  opener(**changes)
  assert opener.made == 2 and why in opener.said[1]
  opener(**changes)
  assert opener.made == 2


def test_whoever_has_it_mapped_keeps_it(opener):
  columns, _ = opener()
  (opener.entry.folder / 'manifest.json').unlink()
  opener()
  assert opener.made == 2
  right(columns)


def test_another_process_was_faster(opener):
  """Its arrays are taken, and stay where they are."""
  other = Opener(opener.entry)
  make = opener._make

  def slow(writer):
    make(writer)
    other()

  opener._make = slow
  right(opener()[0])
  assert opener.made == other.made == 1
  inode = (opener.entry.folder / 'inputs.npy').stat().st_ino
  opener()
  assert (opener.entry.folder / 'inputs.npy').stat().st_ino == inode


@pytest.mark.parametrize('failing', ['write', 'fsync', 'rename', 'mkdtemp'])
def test_a_full_disk_is_one_line_and_nothing_is_left(opener, monkeypatch, failing):
  def full(*args, **keywords):
    raise OSError(28, 'No space left on device')

  where = {'write': array_cache._File, 'mkdtemp': scratch.tempfile}.get(failing, os)
  monkeypatch.setattr(where, failing, full)
  with pytest.raises(UserError, match=r'--cache_dir: cannot write decoded data to .*: '
                     'No space left on device; make room there, or set --cache_dir'):
    opener()
  assert not list(opener.entry.folder.parent.iterdir())


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
  assert not list(opener.entry.folder.parent.iterdir())


def test_a_cache_that_can_only_be_read(opener, monkeypatch):
  """Is as good, until something there is damaged."""
  opener()
  (opener.entry.folder / 'seen.json').unlink(missing_ok=True)
  age(*opener.entry.folder.iterdir())

  def refused(*args, **keywords):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(scratch.tempfile, 'mkdtemp', refused)
  monkeypatch.setattr(manifests, 'write', refused)
  right(opener()[0])
  labels_moved(opener.entry.folder)
  with pytest.raises(UserError, match=r'--cache_dir: cannot write decoded data to .*: '
                     'Permission denied; set --cache_dir to another folder; it '
                     r'must be made again, since .*labels\.npy: the 262,144 bytes'):
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
  assert not list(opener.entry.folder.parent.iterdir())


def test_everything_is_examined(opener, tmp_path):
  root = opener.entry.folder.parent
  assert array_cache.examine(root) == array_cache.Examined(0, 0, (), ())
  opener()
  found = array_cache.examine(root)
  assert found == array_cache.Examined(2, 655_488 + 288, (), ())
  (root / 'old').mkdir()
  np.save(root / 'old' / 'inputs.npy', INPUTS)
  np.save(root / 'old-labels.npy', LABELS)
  assert array_cache.examine(root).older == ('old', 'old-labels.npy')


@pytest.mark.parametrize('case', [
  case for case in DAMAGE if case not in ('no manifest', 'an empty folder')])
def test_what_is_damaged_is_found_when_everything_is_examined(opener, case):
  opener()
  mutate, why = DAMAGE[case]
  mutate(opener.entry.folder)
  found = array_cache.examine(opener.entry.folder.parent)
  if case != 'a link to another':
    assert why.replace('{}', str(opener.entry.folder)) in ' '.join(found.damaged)
  assert found.damaged and not found.older
