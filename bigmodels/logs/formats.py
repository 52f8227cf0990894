"""Numbers and durations as text, for people."""

import math
import numbers


def number(value: float | None) -> str:
  """A number with about four digits; None is NaN."""
  value = math.nan if value is None else value
  if not math.isfinite(value):
    return str(value).replace('nan', 'NaN')
  if isinstance(value, numbers.Integral) or 1000 <= abs(value) < 1e9:
    return f'{value:,.0f}'
  return f'{value:.4f}' if value == 0 or 1e-3 <= abs(value) < 10 else f'{value:.4g}'


def large(count: int) -> str:
  """A count, such as 14.2 M."""
  if count < 1e6:
    return f'{count:,}'
  unit, name = next(x for x in ((1e12, 'T'), (1e9, 'B'), (1e6, 'M')) if count >= x[0])
  return f'{count / unit:.3g} {name}'


def duration(seconds: float) -> str:
  """A duration in two units at most: 4.2 s, 3 min 12 s, 2 h 05 min."""
  if round(seconds) < 60:
    return f'{seconds:.2g} s' if seconds < 10 else f'{seconds:.0f} s'
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if not hours:
    return f'{minutes} min {seconds:02} s'
  return f'{hours} h {minutes:02} min'
