"""What comes with the parameters of another run: what was fitted to its data.

Parameters mean nothing without the tokenizer, columns and classes they were trained
with.
"""

import pathlib
from typing import Any

from bigmodels.config import Experiment
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.storage import exported
from bigmodels.storage.compatibility import IncompatibleWeights
from bigmodels.storage.workdir import Workdir


def take(experiment: Experiment, context: DataContext) -> None:
  """Takes what was fitted with the parameters of `init_from`, and prints it.

  A run that already has its own keeps them.

  Args:
    experiment: `init_from` may be None, or no run.
    context: of this run; what it keeps is extended.

  Raises:
    UserError: if the other run is not as it was left.
  """
  if experiment.init_from is None:
    return
  # The columns of some parameters say nothing of the others.
  inherited = getattr(experiment.train.source, 'inherited', None) if (
    experiment.init_pattern == '.*') else None
  fitted = inherited is None or bool(inherited(context.kept)[0])
  if 'tokenizer' in context.kept and fitted:
    return
  path = pathlib.Path(experiment.init_from)
  try:
    kept = kept_of(path)
  except IncompatibleWeights as error:
    raise UserError(f'--config.init_from={path}: {error}') from error
  if 'tokenizer' in kept and 'tokenizer' not in context.kept:
    context.kept['tokenizer'] = kept['tokenizer']
    context.say(f'also using the tokenizer of {path} (--config.init_from)')
  if not fitted:
    found, line = inherited(kept)
    context.kept |= found
    if line:
      context.note(f'{path} (--config.init_from): {line}')


def kept_of(path: str | pathlib.Path) -> dict[str, Any]:
  """What a run, or an exported one, keeps of its data; empty of other parameters.

  Args:
    path: of its workdir, or of where it was exported to.

  Raises:
    UserError: if it is not as it was left.
    IncompatibleWeights: if it is an exported run whose record cannot be read.
  """
  workdir = Workdir(path)
  if is_run(workdir):
    return workdir.stored_data().kept
  record = exported.record(workdir.path)
  return {} if record is None else record['kept']


def is_run(workdir: Workdir) -> bool:
  """Whether a run has written to a folder."""
  return workdir.config.is_file() or workdir.checkpoints.is_dir()
