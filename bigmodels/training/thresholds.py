"""The threshold of a run: chosen after training, and kept in its `result.json`."""

from collections.abc import Callable, Mapping
from typing import Any

from bigmodels.core.errors import UserError
from bigmodels.training.build import Built
from bigmodels.training.compile import Programs
from bigmodels.training.evaluation import evaluate


def split_of(built: Built) -> str | None:
  """The split that the threshold is chosen on; None if it is not chosen.

  It is the split of the monitor, or else 'validation'; never one of training or test
  rows, as a score there would say nothing. Only a threshold that needs no labels may be
  chosen on training rows.

  Raises:
    UserError: if there is no such split.
  """
  decision = built.task.threshold
  if decision is None or not isinstance(decision.by, str):
    return None
  return validation_of(built, f'threshold={decision.by}', labelled=decision.labelled)


def validation_of(built: Built, setting: str, *, labelled: bool = True) -> str:
  """The split that something is chosen on after training.

  Args:
    built: the experiment.
    setting: what asks for it, for the error.
    labelled: whether labels are read; if not, it may be of training rows.

  Raises:
    UserError: if there is no such split.
  """
  monitor, evals = built.experiment.monitor, built.experiment.evals
  never = ('train', 'test') if labelled else ('test',)
  for name in (*([monitor.metric.partition('/')[0]] if monitor else []), 'validation',
               *([] if labelled else evals)):
    if name in evals and name.partition('_')[0] not in never:
      return name
  raise UserError(
    f'{setting}: is chosen on the split of the monitor or on one called '
    f'validation{"" if labelled else " or train_again"}, never on rows of '
    f'{" or ".join(n.replace("train", "training") for n in never)}; evals has '
    f'{", ".join(evals) or "none"}. Add a validation split, or set a number')


def choose(built: Built, programs: Programs, state: Any, step: int | None,
           say: Callable[[str], None], temperature: float | None = None
           ) -> dict[str, Any] | None:
  """The threshold, and how it was chosen, for `result.json`; None without a threshold.

  A function of the parameters and the split, so that a run that is killed before it is
  written finds the same again.

  Args:
    built: the experiment.
    programs: compiled from it.
    state: of the best checkpoint.
    step: of that.
    say: prints a line.
    temperature: of the run's probabilities, or None.
  """
  decision, name = built.task.threshold, split_of(built)
  if decision is None:
    return None
  if name is None:
    return {'value': decision.by, 'by': 'setting'}
  found = decision.choose(evaluate(
    built, programs, name, state, temperature=temperature)[1])
  if found is None:
    why = 'which does not have both classes' if decision.labelled else (
      'where not all scores are finite')
    say(f'threshold={decision.by}: cannot be chosen on {name}, {why}; '
        f'{decision.otherwise}')
    return None
  value, score = found
  say(f'threshold {value:.4g}, by {decision.by} on {name}: {score:.4f}')
  return {'value': value, 'by': decision.by, 'split': name, 'score': score,
          'step': step}


def kept(built: Built, result: Mapping[str, Any] | None, step: int,
         say: Callable[[str], None]) -> float | None:
  """The threshold of a run that is opened, or None if there is none.

  Args:
    built: the experiment.
    result: what `records.read_result` gives.
    step: of the opened checkpoint.
    say: prints a line if a threshold cannot be used.
  """
  decision = built.task.threshold
  if decision is None or not isinstance(decision.by, str):
    return decision and decision.by
  found = (result or {}).get('threshold')
  if found is None:
    why = 'could not be chosen' if result and result['status'] == 'finished' else (
      'is chosen when the run finishes')
    say(f'threshold={decision.by}: {why}; {decision.otherwise}')
    return None
  if found['step'] != step:
    say(f'the threshold in result.json was chosen at step {found["step"]}, this is '
        f'step {step}: it is not used, and {decision.otherwise}')
    return None
  return found['value']
