"""Learning-rate schedules, written in fractions of the run.

Each takes `steps`, the length of the run, and gives an optax schedule (step -> rate).
An experiment leaves `steps` out: the run supplies it, so a change of epochs or batch
size moves the schedule along. A fixed rate is a number. For a rate that adapts to
evaluations see `optim.reduce_on_plateau`. Any schedule of optax can be used as well.
"""

from collections.abc import Sequence

import optax


def _steps(fraction: float, steps: int, name: str) -> int:
  if not 0 <= fraction <= 1:
    raise ValueError(f'{name}: wants a fraction of the run, 0 to 1, got {fraction}')
  return round(fraction * steps)


def _check_rates(**rates: float) -> None:
  for name, rate in rates.items():
    if not 0 <= rate < float('inf'):  # nor is NaN
      raise ValueError(f'{name}: wants a rate, 0 or more, got {rate}')


def _after_warmup(rise: int, peak: float, schedule: optax.Schedule) -> optax.Schedule:
  if not rise:
    return schedule
  # From peak/rise, not 0: a first step that does nothing is a step lost.
  up = optax.linear_schedule(peak / rise, peak, rise - 1) if rise > 1 else (
    optax.constant_schedule(peak))
  return optax.join_schedules([up, schedule], [rise])


def step(steps: int, *, peak: float, at: Sequence[float] = (0.5, 0.75),
         factor: float = 0.1, warmup: float = 0.0) -> optax.Schedule:
  """`peak`, multiplied by `factor` at each of these fractions of the run.

  Over a fraction `warmup`, before the first of them, it rises linearly.
  """
  _check_rates(peak=peak, factor=factor)
  rise = _steps(warmup, steps, 'warmup')
  boundaries: dict[int, float] = {}
  for fraction in at:
    place = _steps(fraction, steps, 'at')
    if place < rise:
      raise ValueError(f'at: wants fractions from warmup={warmup} on, got {fraction}')
    boundaries[place - rise] = boundaries.get(place - rise, 1.0) * factor
  return _after_warmup(
    rise, peak, optax.piecewise_constant_schedule(peak, boundaries))


def exponential(steps: int, *, peak: float, end: float) -> optax.Schedule:
  """From `peak` to `end` by the same factor every step."""
  _check_rates(peak=peak, end=end)
  if not (peak > 0 and end > 0):
    raise ValueError(f'exponential: wants rates over 0, got {peak} and {end}')
  return optax.exponential_decay(peak, max(1, steps), end / peak)


def cosine(steps: int, *, peak: float, end: float = 0.0) -> optax.Schedule:
  """From `peak` to `end` along half a cosine (Loshchilov and Hutter, 2017)."""
  return warmup_cosine(steps, peak=peak, warmup=0.0, end=end)


def warmup_cosine(steps: int, *, peak: float, warmup: float = 0.05,
                  end: float = 0.0) -> optax.Schedule:
  """Linear from 0 to `peak` over a fraction `warmup`, then a cosine to `end`."""
  _check_rates(peak=peak, end=end)
  rise = _steps(warmup, steps, 'warmup')
  fall = optax.cosine_decay_schedule(
    peak, max(1, steps - rise), alpha=end / peak if peak else 0.0)
  return _after_warmup(rise, peak, fall)


def warmup_linear(steps: int, *, peak: float, warmup: float = 0.05,
                  end: float = 0.0) -> optax.Schedule:
  """Linear from 0 to `peak` over a fraction `warmup`, then linear to `end`."""
  _check_rates(peak=peak, end=end)
  rise = _steps(warmup, steps, 'warmup')
  fall = optax.linear_schedule(peak, end, max(1, steps - rise))
  return _after_warmup(rise, peak, fall)
