"""The temperature of a run: fitted after training, and kept in its `result.json`."""

from collections.abc import Callable, Mapping
from typing import Any

from bigmodels.metrics.calibration import LARGEST
from bigmodels.training import thresholds
from bigmodels.training.build import Built
from bigmodels.training.compile import Programs
from bigmodels.training.evaluation import evaluate


def split_of(built: Built) -> str | None:
  """The split that the temperature is fitted on; None if it is not fitted.

  Raises:
    UserError: if there is no split of validation; see `thresholds.validation_of`.
  """
  if built.task.calibration is None:
    return None
  return thresholds.validation_of(built, 'temperature=fit')


def fit(built: Built, programs: Programs, state: Any, step: int | None,
        say: Callable[[str], None]) -> dict[str, Any] | None:
  """The temperature, and how it was fitted, for `result.json`; None without one.

  Args:
    built: the experiment.
    programs: compiled from it.
    state: of the best checkpoint.
    step: of that.
    say: prints a line.
  """
  name = split_of(built)
  if name is None:
    return None
  value = built.task.calibration.fit(evaluate(built, programs, name, state)[1])
  if value is None:
    say(f'temperature=fit: cannot be fitted on {name}, where not all probabilities are '
        'finite; they stay as they are')
    return None
  at_limit = max(value, 1 / value) > 0.999 * LARGEST
  say(f'temperature {value:.4g}, fitted on {name}{", a limit of the search" * at_limit}'
      f': probabilities are {"less" if value > 1 else "more"} sure')
  return {'value': value, 'by': 'log_loss', 'split': name, 'step': step}


def kept(built: Built, result: Mapping[str, Any] | None, step: int,
         say: Callable[[str], None]) -> float | None:
  """The temperature of a run that is opened, or None if there is none.

  Args:
    built: the experiment.
    result: what `records.read_result` gives.
    step: of the opened checkpoint.
    say: prints a line if a temperature cannot be used.
  """
  if built.task.calibration is None:
    return None
  found = (result or {}).get('temperature')
  if found is None:
    why = 'could not be fitted' if result and result['status'] == 'finished' else (
      'is fitted when the run finishes')
    say(f'temperature=fit: {why}; probabilities are not calibrated')
    return None
  if found['step'] != step:
    say(f'the temperature in result.json was fitted at step {found["step"]}, this is '
        f'step {step}: it is not used, and probabilities are not calibrated')
    return None
  return found['value']
