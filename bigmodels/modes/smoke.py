"""--mode=smoke: runs everything of an experiment once, small, before a long run."""

import dataclasses
import tempfile
import time

from bigmodels.cli.request import Request
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.core.stopwatch import Stopwatch
from bigmodels.hardware import devices
from bigmodels.modes.train import train
from bigmodels.storage.workdir import Workdir
from bigmodels.training import member_runs, opening
from bigmodels.training.stop import Stop


def run(request: Request, *, steps: int = 4, batches: int = 2) -> None:
  """Trains a few steps in a temporary workdir, evaluates, saves, reports and reopens.

  The batch size is that of the run, so that memory is as well; schedules are those of
  the few steps. Exits with 2 at the first error that a user can correct.

  Args:
    request: the flags of every mode.
    steps: number of training steps.
    batches: number of batches of each split that are evaluated.

  Raises:
    UserError: for the first error that the run would have.
  """
  for name, value in (('steps', steps), ('batches', batches)):
    if value < 1:
      raise UserError(f'--{name}={value}: must be >= 1')
  watch = Stopwatch()
  resolved = request.resolve()
  resolved = resolved._replace(experiment=_small(resolved.experiment, steps))
  with (request.joined(alone='smoke') as group, Stop() as stop,
        tempfile.TemporaryDirectory(prefix='smoke-') as folder):
    for note in resolved.notes:
      group.say(note)
    device = devices.require_backend(request.require_backend)
    workdir = Workdir(folder)
    train(request, resolved, workdir, device, group, stop, watch, batches=batches)
    if stop.name:
      raise UserError(f'--mode=smoke: stopped by {stop.name}')
    # Restores and verifies the checkpoint, as `bigmodels.load` does.
    first = member_runs.runs_of(resolved, workdir)[0]
    opening.open_run(first.workdir, request.layout(resolved.experiment), opening.Access(
      request.data_dir, request.cache_dir, request.trust, lambda line: None),
      resolved=first.resolved).built.close()
  splits = ', '.join(resolved.experiment.evals) or 'no split'
  seconds = time.perf_counter() - watch.begin
  print(f'smoke test passed in {seconds:.0f} s: {steps} steps, '
        f'checkpoints, evaluation of {splits} on at most {batches} batches, results, '
        'report, and the run opened again; nothing is kept')


def _small(experiment: Experiment, steps: int) -> Experiment:
  half = Duration(steps=max(1, steps // 2))
  monitor = experiment.monitor and dataclasses.replace(
    experiment.monitor, patience=None)
  return dataclasses.replace(
    experiment, duration=Duration(steps=steps), evaluate_every=half,
    checkpoint_every=half, log_every=Duration(steps=1), monitor=monitor)
