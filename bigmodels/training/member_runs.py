"""The runs of several seeds, or of the folds of a cross-validation.

Each is a run as any other, with its own workdir, config, checkpoints, log and result.
Those of seeds train in one program, see `training.members`; those of folds one after
another.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bigmodels.config import config_file, trust
from bigmodels.config.resolving import Resolved
from bigmodels.core.errors import UserError, listed
from bigmodels.logs.writers import Writers
from bigmodels.storage.checkpoint import Checkpoints
from bigmodels.storage.workdir import Workdir
from bigmodels.training.progress import TrainingProgress

NOT_FINITE = 'not finite'  # the status of a run that diverged


class MemberRun(NamedTuple):
  """One of several runs, or a single run.

  Attributes:
    name: such as 'seed 3' or 'fold 0'; '' for a single run.
    resolved: its experiment.
    workdir: of the run.
  """

  name: str
  resolved: Resolved
  workdir: Workdir


@dataclasses.dataclass
class Member:
  """The part of a run that it shares with no other run of its population.

  Attributes:
    run: its name, experiment and workdir.
    progress: on the host.
    checkpoints: where it is saved, with the run's part of the carry.
    writers: of its log.
    finished: whether it is done and saved, while others of its population go on.
  """

  run: MemberRun
  progress: TrainingProgress
  checkpoints: Checkpoints
  writers: Writers
  finished: bool = False


def runs_of(resolved: Resolved, workdir: Workdir) -> list[MemberRun]:
  """Returns the runs that an experiment trains, one for each of its seeds or folds.

  Args:
    resolved: the experiment.
    workdir: in which each run of several has a folder.

  Raises:
    UserError: if the knob `seed`, or `fold`, sets more than that.
  """
  experiment = resolved.experiment
  if experiment.seeds > 1:
    return _each(resolved, workdir, 'seed', experiment.every_seed, {'seeds': '1'})
  if experiment.folds > 1 and experiment.fold is None:
    return _each(resolved, workdir, 'fold', range(experiment.folds), {})
  return [MemberRun('', resolved, workdir)]


def _each(resolved: Resolved, workdir: Workdir, field: str, values: Sequence[int],
          overrides: Mapping[str, str]) -> list[MemberRun]:
  """The runs of an experiment with each value of a field."""
  runs, text = [], config_file.to_text(resolved)
  for value in values:
    own = config_file.from_text(
      text, str(workdir.config), {field: str(value), **overrides},
      copy=workdir.source if workdir.source.is_dir() else None,
      trusted=trust.Trust(everything=True))  # it is what was resolved
    runs.append(MemberRun(f'{field} {value}', own, workdir.member(field, value)))
  before, now = (run.resolved.values() for run in (runs[0], runs[-1]))
  other = [name for name in before if before[name] != now[name]
           and name not in (field, f'knob.{field}')]
  if other:
    raise UserError(f'--{field}s={len(values)}: the runs must differ in their {field}s '
                    f'alone; the knob `{field}` also sets {listed(other)}')
  return runs


def diverged(run: MemberRun) -> bool:
  """Returns whether a value of the run was not finite, so that it ended there.

  Raises:
    UserError: if its result cannot be read.
  """
  result = run.workdir.read_json(run.workdir.result, {})
  return result.get('status') == NOT_FINITE


def together(records: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
  """Returns the values of all members as lists; those of a single run as they are.

  Args:
    records: flat name -> value, of each member; None for one that has ended, in whose
      place there is None.
  """
  if len(records) == 1:
    return dict(records[0])
  names = dict.fromkeys(name for each in records for name in each or ())
  return {name: [(each or {}).get(name) for each in records] for name in names}
