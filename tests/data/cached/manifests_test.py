"""Tests of bigmodels.data.cached.manifests: what is compared, and when."""

import dataclasses
import json
import os
import pathlib
import time

import pytest

from bigmodels.data.cached import array_cache, manifests
from tests.data.cached import damage
from tests.data.cached.damage import in_place, remembered


@pytest.fixture
def opener(tmp_path):
  return damage.Opener(damage.entry_in(tmp_path))


def right(columns):
  assert (columns['inputs'] == damage.INPUTS).all()
  assert (columns['labels'] == damage.LABELS).all()


def test_a_change_where_the_digest_does_not_look(opener):
  """Of large data only parts are digested; a checksum of all of it is kept."""
  source, = opener.entry.sources
  opener.entry = dataclasses.replace(opener.entry, sampled=True)
  remembered(opener)
  before = source.stat()
  for content, made in ((b'the data', 1), (b'The data', 2)):
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    opener.entry = dataclasses.replace(
      opener.entry, sources={source: manifests.stamp(source)})
    opener()
    assert opener.made == made
  assert 'the data has changed since it was made' in opener.said[1]


def test_a_digest_is_known_while_nothing_changes(opener):
  entry = opener.entry
  remembered(opener)
  assert array_cache.known_digest(entry.folder, entry.sources) == 'digest'
  source, = entry.sources
  for stamp in [(1, *entry.sources[source][1:]),
                (*entry.sources[source][:3], entry.sources[source][3] + 1)]:
    assert array_cache.known_digest(entry.folder, {source: stamp}) is None
  seen = entry.folder / 'seen.json'
  seen.write_bytes(seen.read_bytes().replace(b'[', b'[1', 1))
  assert array_cache.known_digest(entry.folder, entry.sources) is None
  right(opener()[0])
  assert opener.made == 1


def test_what_changed_just_now_is_not_relied_on(opener):
  """Two changes within a tick of the clock of a file system have the same times."""
  soon = time.time_ns() + 10**9
  for stamps in ({'inputs': (1, 2, 3, soon)}, {'inputs': (1, 2, 3, 7 * 10**9)}):
    opener()
    (opener.entry.folder / 'seen.json').unlink(missing_ok=True)
    manifests.remember(opener.entry.folder, '', stamps, {})
    assert not (opener.entry.folder / 'seen.json').exists()


def test_all_parts_are_compared_in_time_where_stamps_do_not_differ(opener, monkeypatch):
  """What rots on a disk leaves its times as they are."""
  monkeypatch.setattr(manifests, '_SAMPLED', 1)
  remembered(opener)
  monkeypatch.setattr(manifests, 'last_seen', lambda folder, manifest: {
    'manifest': manifest, 'sources': manifests.by_name(opener.entry.sources),
    'arrays': {name: [*manifests.stamp(folder / f'{name}.npy')]
               for name in ('inputs', 'labels')}})
  in_place(opener.entry.folder)
  for _ in range(100):  # a third of the parts at a time: 2e-18
    opener()
  assert opener.made == 2


def test_the_manifest_is_json(opener):
  opener()
  line, _ = (opener.entry.folder / 'manifest.json').read_text().splitlines()
  manifest = json.loads(line)
  assert len(manifest['arrays']['inputs']['crc32']) == 3
  assert pathlib.Path(manifest['name']).name == 'pets'
