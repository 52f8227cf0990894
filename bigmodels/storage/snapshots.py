"""Arrays that evaluations leave for the report, such as a few generated images."""

import io
import re
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from bigmodels.core import files
from bigmodels.storage.workdir import Workdir


def write(workdir: Workdir, step: int, split: str,
          arrays: Mapping[str, np.ndarray]) -> None:
  """Writes the snapshot of an evaluation, as a whole or not at all.

  Args:
    workdir: of the run.
    step: of the evaluation; one that is there is replaced by the same.
    split: that was evaluated.
    arrays: name -> `[...]`.
  """
  with workdir.writing():
    workdir.snapshots.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write(workdir.snapshots / f'{split}-{step}.npz', buffer.getvalue())


def read(workdir: Workdir, split: str, last: int, say: Callable[[str], None]
         ) -> dict[int, dict[str, np.ndarray]]:
  """Step -> snapshot of a split, name -> `[...]`, ascending.

  Args:
    workdir: of the run.
    split: that was evaluated.
    last: later steps are left out.
    say: prints a line for a snapshot that cannot be read, which is left out.
  """
  found = {}
  for path in workdir.snapshots.glob('*.npz'):
    match = re.fullmatch(rf'{re.escape(split)}-(\d+)\.npz', path.name)
    if match and int(match[1]) <= last:
      try:
        with np.load(path) as arrays:
          found[int(match[1])] = dict(arrays)
      except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        say(f'{path} cannot be read, and is left out of the report: {error}')
  return dict(sorted(found.items()))
