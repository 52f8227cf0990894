"""Learning-rate schedules in fractions of the run.

Each takes `steps`, the length of the run, and returns an optax schedule (step -> rate).
An experiment omits `steps`: the run supplies it, so that the schedule adapts to the
number of epochs and the batch size. A fixed rate is a number. For a rate that adapts to
evaluations see `optim.reduce_on_plateau`. Any optax schedule works as well.
"""

from collections.abc import Sequence

import optax


def step(steps: int, *, peak: float, at: Sequence[float] = (0.5, 0.75),
         factor: float = 0.1, warmup: float = 0.0) -> optax.Schedule:
  """Returns a rate that is multiplied by a factor at fractions of the run.

  Args:
    steps: length of the run.
    peak: the initial rate.
    at: fractions of the run, from 0 to 1.
    factor: multiplies the rate at each of them, >= 0.
    warmup: fraction of the run over which the rate first rises linearly to `peak`
      (Goyal et al., *Accurate, Large Minibatch SGD*, 2017).

  Raises:
    ValueError: if a rate or a fraction is out of range, or one of `at` is within the
      warm-up.
  """
  _check_rates(peak=peak, factor=factor)
  rise = _steps(warmup, steps, 'warmup')
  boundaries: dict[int, float] = {}
  for fraction in at:
    boundary = _steps(fraction, steps, 'at')
    if boundary < rise:
      raise ValueError(f'at: must be fractions >= warmup, {warmup}, got {fraction}')
    boundaries[boundary - rise] = boundaries.get(boundary - rise, 1.0) * factor
  return _after_warmup(
    rise, peak, optax.piecewise_constant_schedule(peak, boundaries))


def exponential(steps: int, *, peak: float, end: float) -> optax.Schedule:
  """Returns a rate that decays by a constant factor every step.

  Args:
    steps: length of the run.
    peak: the first rate, > 0.
    end: the last rate, > 0.

  Raises:
    ValueError: if a rate is out of range.
  """
  _check_rates(peak=peak, end=end)
  if not (peak > 0 and end > 0):
    raise ValueError(f'exponential: peak and end must be > 0, got {peak} and {end}')
  return optax.exponential_decay(peak, max(1, steps), end / peak)


def warmup_cosine(steps: int, *, peak: float, warmup: float = 0.05,
                  end: float = 0.0) -> optax.Schedule:
  """Returns a rate that rises linearly, then falls along half a cosine.

  Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, 2017,
  without restarts; see `step` for the warm-up.

  Args:
    steps: length of the run.
    peak: the highest rate.
    warmup: fraction of the run over which the rate rises; 0 for no warm-up.
    end: the last rate.

  Raises:
    ValueError: if a rate or the fraction is out of range.
  """
  _check_rates(peak=peak, end=end)
  rise = _steps(warmup, steps, 'warmup')
  fall = optax.cosine_decay_schedule(
    peak, max(1, steps - rise), alpha=end / peak if peak else 0.0)
  return _after_warmup(rise, peak, fall)


def warmup_linear(steps: int, *, peak: float, warmup: float = 0.05,
                  end: float = 0.0) -> optax.Schedule:
  """Returns a rate that rises linearly, then falls linearly.

  The schedule of BERT (Devlin et al., 2019).

  Args:
    steps: length of the run.
    peak: the highest rate.
    warmup: fraction of the run over which the rate rises.
    end: the last rate.

  Raises:
    ValueError: if a rate or the fraction is out of range.
  """
  _check_rates(peak=peak, end=end)
  rise = _steps(warmup, steps, 'warmup')
  fall = optax.linear_schedule(peak, end, max(1, steps - rise))
  return _after_warmup(rise, peak, fall)


def one_cycle(steps: int, *, peak: float, warmup: float = 0.3, start: float = 0.04,
              end: float = 4e-6) -> optax.Schedule:
  """Returns a rate that rises along half a cosine, then falls along one.

  Smith and Topin, *Super-Convergence*, 2019; the defaults are those of PyTorch's
  `OneCycleLR`. The momentum stays as it is.

  Args:
    steps: length of the run.
    peak: the highest rate.
    warmup: fraction of the run over which the rate rises.
    start: the first rate, as a fraction of `peak`.
    end: the last rate, as a fraction of `peak`.

  Raises:
    ValueError: if a rate or fraction is out of range.
  """
  _check_rates(peak=peak, start=start, end=end)
  rise = max(0, _steps(warmup, steps, 'warmup') - 1)  # the peak is its last step

  def half(count, first, last):  # of a cosine
    wave = optax.cosine_decay_schedule(1.0, max(1, count))
    return lambda step: peak * (last + (first - last) * wave(step))

  return optax.join_schedules(
    [half(rise, start, 1.0), half(steps - 1 - rise, 1.0, end)], [rise])


def warm_restarts(steps: int, *, peak: float, cycles: int = 3, growth: float = 2.0,
                  end: float = 0.0) -> optax.Schedule:
  """Returns a rate that falls along half a cosine several times.

  Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, 2017.

  Args:
    steps: length of the run.
    peak: the first rate of each cycle.
    cycles: number of cycles, 1 to `steps`.
    growth: length of a cycle, in lengths of the one before it; > 0.
    end: the last rate of each cycle.

  Raises:
    ValueError: if a number is out of range.
  """
  _check_rates(peak=peak, end=end)
  if not 1 <= cycles <= max(1, steps):
    raise ValueError(f'cycles: must be 1 to {max(1, steps)}, the steps of the run, got '
                     f'{cycles}')
  if not 0 < growth < float('inf'):
    raise ValueError(f'growth: must be finite and > 0, got {growth}')
  whole = sum(growth ** i for i in range(cycles))
  ends = [round(steps * sum(growth ** i for i in range(n + 1)) / whole)
          for n in range(cycles)]
  return optax.join_schedules(
    [optax.cosine_decay_schedule(peak, max(1, last - first),
                                 alpha=end / peak if peak else 0.0)
     for first, last in zip([0, *ends], ends, strict=False)], ends[:-1])


def _steps(fraction: float, steps: int, name: str) -> int:
  if not 0 <= fraction <= 1:
    raise ValueError(f'{name}: must be a fraction of the run, 0 to 1, got {fraction}')
  return round(fraction * steps)


def _check_rates(**rates: float) -> None:
  for name, rate in rates.items():
    if not 0 <= rate < float('inf'):  # false for NaN too
      raise ValueError(f'{name}: must be finite and >= 0, got {rate}')


def _after_warmup(rise: int, peak: float, schedule: optax.Schedule) -> optax.Schedule:
  if not rise:
    return schedule
  # From peak / rise, not 0: a first step of rate 0 would be wasted.
  up = optax.linear_schedule(peak / rise, peak, rise - 1) if rise > 1 else (
    optax.constant_schedule(peak))
  return optax.join_schedules([up, schedule], [rise])
