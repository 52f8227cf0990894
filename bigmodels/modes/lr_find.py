"""--mode=lr_find: a learning-rate range test."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
import optax

from bigmodels.cli.request import Request
from bigmodels.config import Duration, tree
from bigmodels.config.resolving import Resolved
from bigmodels.core import paths
from bigmodels.core.errors import UserError, nearest
from bigmodels.hardware import devices
from bigmodels.plots import style
from bigmodels.storage.stored_data import StoredData
from bigmodels.storage.workdir import Workdir
from bigmodels.training import build, initialize, opening
from bigmodels.training.compile import compile_traced, trace
from bigmodels.training.evaluation import values_of
from bigmodels.training.pace import Votes

_SMOOTHING = 0.9  # of the loss: weight of the past
_DIVERGED = 4  # times the lowest loss
_NOISY = 10  # steps over which a slope is measured, and that are left out at first


def run(request: Request, *, steps: int = 100, low: float = 1e-7, high: float = 10.0,
        rate: str | None = None, output: str | None = None) -> None:
  """Trains with a learning rate that grows by a constant factor, and plots the loss.

  Smith, *Cyclical Learning Rates for Training Neural Networks*, 2017. It stops when the
  smoothed loss is above 4 times its lowest value, or is not finite.

  Args:
    request: the flags of every mode.
    steps: number of training steps.
    low: the first learning rate.
    high: the last one.
    rate: path of the learning rate in the config, such as optimizer.1.learning_rate,
      where the optimizer has several.
    output: file of the plot, .svg, .png or .pdf; lr_find.svg in the workdir, or here
      without one, if left out.

  Raises:
    UserError: for an optimizer that takes no learning rate, or values out of range.
  """
  if steps < 30:
    raise UserError(f'--steps={steps}: must be >= 30')
  if not 0 < low < high < math.inf:
    raise UserError(f'--low={low} --high={high}: must be 0 < low < high')
  target = paths.expanded(request.workdir or '.', strict=True) / 'lr_find.svg'
  if output is not None:
    target = paths.output(output, ('.svg', '.png', '.pdf'))
  devices.require_backend(request.require_backend)
  resolved = request.resolve()
  for note in resolved.notes:
    print(note)
  path = _path(resolved, rate)
  schedule = optax.exponential_decay(low, steps - 1, high / low)
  experiment = dataclasses.replace(
    tree.replaced(resolved.experiment, path, schedule), evals={}, monitor=None,
    average=None, seeds=1, duration=Duration(steps=steps), log_every=Duration(steps=1))
  stored = StoredData(None, {})
  if request.workdir and Workdir(request.workdir).config.is_file():
    stored = Workdir(request.workdir).stored_data()
  context = opening.Access(
    request.data_dir, request.cache_dir, request.trust).context(stored)
  built = build.build(experiment, request.layout(experiment), context)
  try:
    rates, losses = _tested(built, schedule, steps)
  finally:
    built.close()
  if len(losses) < 3:
    raise UserError(f'--mode=lr_find: {len(losses)} of {steps} steps have a finite '
                    'loss; a lower --low may help')
  smooth = smoothed(losses)
  found = suggestions(rates, smooth)
  _plot(target, rates, losses, smooth, found)
  print(f'{len(losses)} of {steps} steps, from a rate of {rates[0]:.1e} to '
        f'{rates[-1]:.1e}; the loss was lowest, {smooth.min():.4g}, at '
        f'{rates[smooth.argmin()]:.1e}')
  flag = _flag(resolved, path)
  for rule, value in found.items():
    print(f'{rule}: {flag}={value:.1e}')
  if not found:
    print('the loss never fell, so no rate is suggested')
  print(f'plot: {target}')


def smoothed(losses: Sequence[float]) -> np.ndarray:
  """The exponential moving average of losses `[n]`, without bias towards its start."""
  found, total = [], 0.0
  for count, loss in enumerate(losses, 1):
    total = _SMOOTHING * total + (1 - _SMOOTHING) * loss
    found.append(total / (1 - _SMOOTHING**count))
  return np.array(found)


def suggestions(rates: Sequence[float], losses: np.ndarray) -> dict[str, float]:
  """Rule -> learning rate; none if the loss never falls.

  Args:
    rates: learning rates `[n]`, ascending.
    losses: smoothed losses `[n]`.
  """
  lowest = int(np.argmin(losses))
  if lowest <= _NOISY:  # the first means are of few losses
    return {}
  logs, middle = np.log(rates), np.arange(_NOISY, lowest + 1)
  left = middle - _NOISY // 2
  right = np.minimum(middle + _NOISY // 2, len(losses) - 1)
  slopes = (losses[right] - losses[left]) / (logs[right] - logs[left])
  return {'where the loss falls fastest': float(rates[middle[int(np.argmin(slopes))]]),
          'a tenth of where it is lowest': float(rates[lowest] / 10)}


def _tested(built: build.Built, schedule: optax.Schedule, steps: int
            ) -> tuple[list[float], list[float]]:
  """The rates and losses of the steps, until the loss diverges."""
  programs = compile_traced(trace(built.learner, built.train, {}, built.layout))
  carry = programs.init(built.layout.replicate(
    np.asarray(jax.random.PRNGKey(built.experiment.seed))))
  if built.experiment.init_from:
    carry = initialize.start(built, carry)
  rates, losses = [], []
  for step in range(steps):
    carry, _ = programs.advance(
      carry, built.train.host_batch(step, 1), 1, True, Votes())
    window, fault = jax.device_get((carry.window, carry.fault))
    if fault[0] >= 0:
      break
    loss = values_of(window).get('loss')
    if loss is None:  # such as while an agent fills its memory
      continue
    rates.append(float(schedule(step)))
    losses.append(float(np.mean(loss)))
    smooth = smoothed(losses)
    lowest = smooth.min()
    if len(losses) > 5 and smooth[-1] > lowest + (_DIVERGED - 1) * abs(lowest):
      break
  return rates, losses


def _path(resolved: Resolved, chosen: str | None) -> str:
  """The path of the learning rate that is tested."""
  found = [f'optimizer.{path}' for path, rate in tree.named(
    resolved.experiment.optimizer, 'learning_rate') if rate is not None]
  if not found:
    raise UserError(
      f'--mode=lr_find: the optimizer of {resolved.name} has no argument '
      'learning_rate, as optax.adam has')
  if chosen is not None and chosen not in found:
    raise UserError(f'--rate={chosen}: no such learning rate{nearest(chosen, found)}')
  if chosen is None and len(found) > 1:
    raise UserError(f'--mode=lr_find: the optimizer of {resolved.name} has several '
                    f'learning rates; choose one: --rate={" or --rate=".join(found)}')
  return chosen or found[0]


def _flag(resolved: Resolved, path: str) -> str:
  """The flag that sets the learning rate, or the peak of its schedule."""
  value = dict(tree.named(resolved.experiment.optimizer, 'learning_rate'))[
    path.removeprefix('optimizer.')]
  peak = dict(tree.named(value, 'peak')).get('peak')
  knobs = resolved.knobs
  if 'learning_rate' in knobs and knobs['learning_rate'] in (value, peak):
    return '--config.learning_rate'
  return f'--config.{path}' + '.peak' * (peak is not None)


def _plot(path: pathlib.Path, rates: Sequence[float], losses: Sequence[float],
          smooth: np.ndarray, found: dict[str, float]) -> None:
  figure, axes = style.panel(style.WIDE, 3.6)
  axes.plot(rates, losses, color=style.GREY, linewidth=0.7, alpha=0.6, label='loss')
  axes.plot(rates, smooth, color=style.BLUE, label='smoothed')
  for color, (rule, rate) in zip((style.ORANGE, 'black'), found.items(), strict=False):
    axes.axvline(rate, color=color, linewidth=0.8, linestyle=(0, (2, 2)),
                 label=f'{rule}: {rate:.1e}')
  first, lowest = smooth[0], smooth.min()
  margin = 0.1 * abs(first - lowest) + 1e-9
  axes.set(xscale='log', xlabel='learning rate', ylabel='training loss',
           ylim=(lowest - margin, max(first, smooth.min()) + 3 * margin))
  axes.legend(fontsize=8, frameon=False)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)  # a new workdir
    figure.savefig(path)
  except OSError as error:
    raise UserError(f'--output={path}: {error.strerror}') from None
