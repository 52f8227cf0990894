"""A finished run that goes on: `--extend=20epochs`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from bigmodels.config import Duration
from bigmodels.config.resolving import Resolved, edit, typed_names
from bigmodels.core import console
from bigmodels.core.errors import UserError
from bigmodels.learners import State
from bigmodels.optim.measured import applied, unmeasured
from bigmodels.storage import extension
from bigmodels.storage.workdir import Workdir
from bigmodels.training.build import Built
from bigmodels.training.progress import TrainingProgress


def check(extend: str, workdir: str | None) -> None:
  """Checks `--extend` before anything is made.

  Raises:
    UserError: for another text than such as '20epochs', or without a run.
  """
  _parsed(extend)
  if workdir is None or not Workdir(workdir).config.is_file():
    raise UserError(f'--extend={extend}: needs the --workdir of a finished run' + (
      '' if workdir is None else f', there is no run in {workdir}'))


def _parsed(extend: str) -> tuple[float, str]:
  """The amount, and 'epochs' or 'steps'."""
  found = re.fullmatch(r'(\d+(?:\.\d+)?) ?(epoch|step)s?', extend)
  if not found or not float(found[1]) or (found[2] == 'step' and '.' in found[1]):
    raise UserError(f'--extend={extend}: must be a number of epochs or steps > 0, such '
                    'as 20epochs or 5000steps')
  return float(found[1]), f'{found[2]}s'


def longer(resolved: Resolved, workdir: Workdir, finished: Mapping[str, Any] | None,
           extend: str) -> Resolved:
  """The experiment with a longer duration.

  The duration stays in its unit if that is the unit of `extend` and the run was not
  stopped early; else it is in steps.

  Args:
    resolved: the experiment of a run.
    workdir: of the run.
    finished: its result; None if it is not finished.
    extend: what is added to the steps that it has taken, such as '20epochs'.

  Raises:
    UserError: for a run that is not finished, or a duration that cannot be.
  """
  amount, unit = _parsed(extend)
  if finished is None:
    raise UserError(f'--extend={extend}: the run in {workdir.path} is not finished; to '
                    f'resume: {console.COMMAND} --workdir={workdir.path}')
  before = getattr(resolved.experiment.duration, unit)
  if before is None or finished['stopped_by'] != 'steps':
    if unit == 'epochs':
      amount *= finished['step'] / finished['epochs']
    unit, before = 'steps', finished['step']
    amount = max(1, round(amount))
  total = before + amount
  total = int(total) if total == int(total) else total
  texts = {f'duration.{name}': repr(total) if name == unit else 'None'
           for name in ('steps', 'epochs')}
  return edit(resolved, texts, typed_names(resolved.source), '--extend: ')


def text(duration: Duration) -> str:
  """A duration in words, such as '40 epochs'."""
  return next(f'{amount:,.12g} {unit}'
              for unit, amount in vars(duration).items() if amount)


def reopen(progress: TrainingProgress, kept: Mapping[str, Any]) -> None:
  """Lets a run go on from the step at which it was extended.

  The patience counter is reset.

  Args:
    progress: as it was restored.
    kept: name -> JSON in `data.json` of the run.
  """
  if progress.done and progress.step in extension.steps(kept)[-1:]:
    progress.done, progress.waited = None, 0


def rates(built: Built, state: State, steps: int) -> Iterator[str]:
  """Lines about the learning rates of a run that was extended.

  Args:
    built: the run, with its new length.
    state: at the end of the former one.
    steps: the former length.
  """
  opt_state = unmeasured(state.opt_state)
  before, now = (
    {name: _mean(applied(rate, opt_state, opt_state))
     for name, rate in built.learning_rates(length).items()}
    for length in (steps, built.steps))
  yield (f'schedules are now those of {built.steps:,} steps, where they were of '
         f'{steps:,}')
  for name, rate in now.items():
    if rate is None:
      continue
    yield f'{name}: stays at {rate:.3g}' if rate == before[name] else (
      f'{name}: was {before[name]:.3g} at the end, goes on at {rate:.3g}')


def _mean(rate: jax.Array | None) -> float | None:
  """A learning rate, the mean over members of a run of several."""
  return None if rate is None else float(np.mean(rate))
