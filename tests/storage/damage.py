"""Changes to the files of a run."""

import json
import pathlib

from bigmodels.storage.workdir import Workdir


def edit(path: pathlib.Path, change) -> None:
  """Replaces the JSON in a file by what a function makes of it."""
  found = json.loads(path.read_text())
  changed = change(found)
  path.write_text(json.dumps(found if changed is None else changed))


def manifest_of(run: Workdir, step: int) -> pathlib.Path:
  """The manifest of a checkpoint."""
  return run.checkpoints / str(step) / 'progress' / 'metadata'
