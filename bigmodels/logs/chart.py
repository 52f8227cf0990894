"""Curves as SVG text, without a drawing library: for pages with many runs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 480, 270  # of a chart, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 8, 38
_MOST = 400  # points of a line
_DECADES = 50.0  # a linear axis would hide a larger range


class Line(NamedTuple):
  """A curve.

  Attributes:
    name: shown when the pointer is over it.
    points: step -> value; those that are not finite are left out.
    color: of CSS.
    group: class of its element.
  """

  name: str
  points: Mapping[int, float]
  color: str
  group: str


def chart(lines: Sequence[Line], label: str) -> str:
  """Draws curves over the steps.

  Args:
    lines: the curves.
    label: what is drawn, for screen readers.
  """
  curves = [(line, thin(sorted((s, v) for s, v in line.points.items()
                               if math.isfinite(v)))) for line in lines]
  values = sorted(v for _, points in curves for _, v in points)
  steps = [s for _, points in curves for s, _ in points]
  if not values:
    return ''
  high = values[int(0.95 * (len(values) - 1))]
  log = values[0] > 0 and high > _DECADES * values[0]
  scale = math.log10 if log else float
  low, top = scale(values[0]), scale(values[-1])
  margin = 0.04 * (top - low) or abs(top) * 0.1 or 1.0
  low, top, last = low - margin, top + margin, max(steps) or 1

  def x(step):
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * step / last

  def y(value):
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (top - scale(value)) / (top - low)

  parts = []
  ticks = decades(low, top) if log else nice(low, top)
  for value in ticks:
    at = f'{y(value):.1f}'
    parts.append(f'<path d="M{_LEFT} {at}H{WIDTH - _RIGHT}" class="grid"/>'
                 f'<text x="{_LEFT - 6}" y="{at}" dy=".32em" text-anchor="end">'
                 f'{value:.6g}</text>')
  for step in nice(0, last, whole=True):
    parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - _BOTTOM + 16}" '
                 f'text-anchor="middle">{step:,.0f}</text>')
  parts.append(f'<text x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 4}" '
               'text-anchor="middle">step</text>')
  for line, points in curves:
    if points:
      where = [f'{x(s):.1f} {y(v):.1f}' for s, v in points]
      dot = '' if len(where) > 1 else 'h.01'
      parts.append(
        f'<path class="{line.group}" stroke="{line.color}" d="M{"L".join(where)}{dot}">'
        f'<title>{escape(line.name)}</title></path>')
  return (f'<svg role="img" aria-label="{escape(label)}" '
          f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
          f'class="chart">{"".join(parts)}</svg>')


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
  """Averages sections of a curve that has more points than a screen can show."""
  if len(points) <= _MOST:
    return list(points)
  edges = [len(points) * i // _MOST for i in range(_MOST + 1)]
  sections = [points[a:b] for a, b in itertools.pairwise(edges)]
  return [tuple(math.fsum(p[i] for p in section) / len(section) for i in (0, 1))
          for section in sections]


def nice(low: float, high: float, *, whole: bool = False) -> list[float]:
  """Up to eight round numbers in a range: multiples of 1, 2 or 5 times a power of ten.

  Args:
    low, high: the range.
    whole: whether they must be whole numbers.
  """
  rough = (high - low) / 7
  power = 10.0 ** math.floor(math.log10(rough))
  width = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
  width = max(1.0, round(width)) if whole else width
  first, last = math.ceil(low / width), math.floor(high / width + 1e-9)
  return [round(width * i, 12) for i in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
  """Ticks of a logarithmic axis: powers of ten, with halves if there are few.

  Args:
    low, high: the range, as decimal logarithms.
  """
  powers = range(math.floor(low), math.ceil(high) + 1)
  factors = (1,) if high - low > 3 else (1, 2, 5)
  step = max(1, len(powers) // 8)
  return [f * 10.0 ** p for p in powers[::step] for f in factors
          if low <= math.log10(f) + p <= high]
