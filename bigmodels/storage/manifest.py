"""The manifest of a checkpoint: JSON beside its arrays that shows any change.

It holds the step, the progress of the run, the seal of the run, the fingerprint of the
arrays, and a digest of every field and of the whole.
"""

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.storage import seal as seals
from bigmodels.storage.seal import Seal


class Damaged(Exception):
  """A checkpoint that is not as it was written, and why."""


# What Orbax and we have in the folder of a checkpoint.
_PARTS = {'carry', 'progress', '_CHECKPOINT_METADATA', 'commit_success.txt'}
_FIELDS = ('step', 'scheduled', 'progress', 'seal', 'arrays')


def make(*, step: int, scheduled: bool, progress: Mapping[str, Any], seal: Seal,
         arrays: int) -> dict[str, Any]:
  """The manifest of a checkpoint.

  Args:
    step: of the checkpoint.
    scheduled: whether every run of the experiment saves this step.
    progress: JSON of the run.
    seal: of the run.
    arrays: fingerprint of the arrays.
  """
  manifest = {'step': step, 'scheduled': scheduled, 'progress': dict(progress),
              'seal': seal, 'arrays': arrays}
  return {**manifest, 'digests': _digests(manifest),
          'digest': digests.of_json(manifest)}


def read(folder: pathlib.Path, step: int) -> dict[str, Any]:
  """The manifest of a checkpoint, without its digests.

  Args:
    folder: of the checkpoints.
    step: of the checkpoint.

  Raises:
    Damaged: if it is not as it was saved; names the file and the fields.
  """
  path = folder / str(step) / 'progress' / 'metadata'
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError) as error:
    raise Damaged(f'{path} cannot be read: {error}') from error
  fields = {*_FIELDS, 'digests', 'digest'}
  if not isinstance(found, dict) or found.keys() != fields or not isinstance(
    found['digests'], dict):
    older = isinstance(found, dict) and 'fingerprint' in found
    raise Damaged(f'{path} ' + (
      'is of an older version of bigmodels, which had no seal' if older else
      f'must have the fields {", ".join(sorted(fields))}'))
  manifest = {name: found[name] for name in _FIELDS}
  before, now = found['digests'], _digests(manifest)
  wrong = [name for name in dict.fromkeys([*before, *now])
           if before.get(name) != now.get(name)]
  if wrong or found['digest'] != digests.of_json(manifest):
    raise Damaged(f'{path}: {", ".join(wrong[:5]) or "its digest"} is not as it was '
                  'saved')
  if manifest['step'] != step:
    raise Damaged(f'{path} is of step {manifest["step"]}')
  return manifest


def _digests(manifest: Mapping[str, Any]) -> dict[str, str]:
  """The digest of every field, those of a dict by names such as `progress.step`."""
  found = {}
  for name, value in manifest.items():
    parts = {f'{name}.{key}': part for key, part in value.items()} if isinstance(
      value, dict) else {name: value}
    found |= {path: digests.of_json(part) for path, part in parts.items()}
  return found


def read_all(folder: pathlib.Path, seal: Seal, earlier: Sequence[Seal] = ()
             ) -> dict[int, dict[str, Any]]:
  """Step -> manifest, of the checkpoints in a folder whose manifest is whole.

  Args:
    folder: of the checkpoints; it need not exist.
    seal: of the run.
    earlier: seals that it had before it was extended.

  Raises:
    UserError: if there are checkpoints, but none of a run with this seal; or if there
      is something else than a folder.
  """
  if folder.is_symlink() and not folder.exists():
    raise UserError(f'{folder} is a link to {os.readlink(folder)}, which is not there')
  if folder.exists() and not folder.is_dir():
    raise UserError(f'{folder} must be a folder of checkpoints, and is a file')
  found = {}
  for path in folder.glob('*'):
    if re.fullmatch(r'\d+', path.name):
      with contextlib.suppress(Damaged):
        found[int(path.name)] = read(folder, int(path.name))
  if found and all(manifest['seal'] not in (seal, *earlier)
                   for manifest in found.values()):
    step = max(found)
    raise UserError(
      f'{folder.parent} is not as it was when the checkpoint of step {step} was saved: '
      f'{seals.differences(found[step]["seal"], seal)}; restore that, or begin with '
      'another --workdir')
  return found


def half_removed(folder: pathlib.Path) -> list[pathlib.Path]:
  """The checkpoints that a run was removing when it was killed.

  Their manifest is gone, and nothing is there but parts of a checkpoint.

  Args:
    folder: of the checkpoints; it need not exist.
  """
  return [
    path for path in folder.glob('*')
    if re.fullmatch(r'0|[1-9]\d*', path.name) and path.is_dir()
    and not path.is_symlink() and not (path / 'progress' / 'metadata').exists()
    and {part.name for part in path.iterdir()} <= _PARTS]
