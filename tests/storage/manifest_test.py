"""Tests of the manifests of checkpoints: any change is found, and the field named."""

import json

import pytest

from bigmodels.storage import manifest
from bigmodels.storage.checkpoint import Checkpoints
from bigmodels.storage.manifest import Damaged
from tests.storage.damage import edit, manifest_of

CHANGES = [
  (lambda r: r['progress'].update(step=20), r'progress\.step is not as it was saved'),
  (lambda r: r['progress'].update(done='steps' if r['progress']['done'] is None else (
    None)), r'progress\.done is not'),
  (lambda r: r['progress'].update(best=0.0), r'progress\.best is not'),
  (lambda r: r['progress'].update(best_step=11), r'progress\.best_step is not'),
  (lambda r: r['progress'].update(waited=1), r'progress\.waited is not'),
  (lambda r: r['progress'].update(evaluations=True), r'progress\.evaluations is not'),
  (lambda r: r['progress'].update(records='7'), r'progress\.records is not'),
  (lambda r: r['progress']['metrics'].update({'test/accuracy': 1.0}),
   r'progress\.metrics is not'),
  (lambda r: r['progress'].update(Step=r['progress'].pop('step')),
   r'progress\.step, progress\.Step is not'),
  (lambda r: r['progress'].pop('seconds') and None, r'progress\.seconds is not'),
  (lambda r: r['progress'].update(new=1), r'progress\.new is not'),
  (lambda r: r.update(progress=[1]), 'progress'),
  (lambda r: r.update(progress=None), 'progress'),
  (lambda r: r.update(step=40), 'step is not as it was saved'),
  (lambda r: r.update(arrays=r['arrays'] ^ 1), 'arrays is not'),
  (lambda r: r.update(arrays=str(r['arrays'])), 'arrays is not'),
  (lambda r: r['seal'].update({'config.txt: seed': '4'}),
   'seal.config.txt: seed is not'),
  (lambda r: r['seal'].pop('data.json: inputs') and None,
   'seal.data.json: inputs is not'),
  (lambda r: r['digests'].update({'progress.step': '0' * 16}),
   r'progress\.step is not'),
  (lambda r: r['digests'].clear(), 'step, scheduled, progress'),
  (lambda r: r.update(digests=[]), 'must have the fields'),
  (lambda r: r.update(digest='0' * 16), 'its digest is not'),
  (lambda r: r.pop('digest') and None, 'must have the fields'),
  (lambda r: r.pop('step') and None, 'must have the fields'),
  (lambda r: [r], 'must have the fields'), (lambda r: 'text', 'must have the fields'),
  (lambda r: 3, 'must have the fields'), (lambda r: {}, 'must have the fields'),
  (lambda r: {**r['progress'], 'fingerprint': r['arrays']}, 'of an older version')]


@pytest.mark.parametrize(('change', 'message'), CHANGES)
def test_a_changed_manifest_is_damage_and_the_field_is_named(run, change, message):
  edit(manifest_of(run, 30), change)
  assert set(manifest.read_all(run.checkpoints, run.seal())) == {22}
  checkpoints = Checkpoints(run.checkpoints, 2, run.seal(), read_only=True)
  try:
    with pytest.raises(Damaged, match=message) as error:
      checkpoints.restore(30)
    assert '30/progress/metadata' in str(error.value)
    assert checkpoints.restore(22)[1]['step'] == 22
  finally:
    checkpoints.release()


@pytest.mark.parametrize('data', [
  b'', b'{', b'\xff\xfe', b'null', b'[' * 100_000, b'{"step": NaN}', b'\0' * 100,
  b'{}{}', b'"\\ud800"', b'1e999'])
def test_bytes_that_are_no_manifest_are_damage(run, data):
  manifest_of(run, 30).write_bytes(data)
  assert set(manifest.read_all(run.checkpoints, run.seal())) == {22}


def test_every_byte_that_changes_the_manifest_is_noticed(run):
  """What parses to the same JSON is the same; all else is damage."""
  path = manifest_of(run, 30)
  before = path.read_bytes()
  expected = json.loads(before)
  for position in range(0, len(before), max(1, len(before) // 300)):
    changed = bytearray(before)
    changed[position] ^= 1 << position % 8
    path.write_bytes(changed)
    try:
      same = json.loads(bytes(changed).decode()) == expected
    except ValueError:
      same = False
    assert (30 in manifest.read_all(run.checkpoints, run.seal())) == same, position
