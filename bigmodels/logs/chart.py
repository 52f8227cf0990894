"""Curves as SVG text: a drawing library would take longer than a small run trains."""

import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import NamedTuple

WIDTH = 466  # of a chart, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 8, 38
_MOST = 400  # points of a line
_DECADES = 50.0  # a linear axis would hide a larger range


class Line(NamedTuple):
  """A curve.

  Attributes:
    name: shown when the pointer is over it.
    points: step -> value; a line has a gap where a value is not finite.
    color: of CSS.
    group: class of its element.
    width: of the line, in pixels.
    marked: whether each point has a dot.
    band: step -> lowest and highest value, such as of several runs; shaded.
  """

  name: str
  points: Mapping[int, float]
  color: str
  group: str = ''
  width: float = 1.4
  marked: bool = False
  band: Mapping[int, tuple[float, float]] = MappingProxyType({})


def chart(lines: Sequence[Line], label: str, *, best: float | None = None,
          width: int = WIDTH) -> str:
  """Draws curves over the steps.

  Args:
    lines: the curves.
    label: what is drawn, for screen readers.
    best: step of the best checkpoint, marked with a line.
    width: in pixels.

  Returns:
    an `<svg>` element, '' if there is no finite value.
  """
  height = round(0.32 * width + 105)
  curves = [(line, thin(sorted(line.points.items()))) for line in lines]
  bands = [(line, [(s, *v) for s, v in sorted(line.band.items()) if all(
    map(math.isfinite, v))]) for line in lines]
  values = sorted(v for _, points in (*curves, *bands) for _, *found in points
                  for v in found if math.isfinite(v))
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
    return _LEFT + (width - _LEFT - _RIGHT) * step / last

  def y(value):
    return _TOP + (height - _TOP - _BOTTOM) * (top - scale(value)) / (top - low)

  parts = []
  ticks = decades(low, top) if log else nice(low, top)
  for value in ticks:
    at = f'{y(value):.1f}'
    parts.append(f'<path d="M{_LEFT} {at}H{width - _RIGHT}" class="grid"/>'
                 f'<text x="{_LEFT - 6}" y="{at}" dy=".32em" text-anchor="end">'
                 f'{value:.6g}</text>')
  for step in nice(0, last, whole=True):
    parts.append(f'<text x="{x(step):.1f}" y="{height - _BOTTOM + 16}" '
                 f'text-anchor="middle">{step:,.0f}</text>')
  parts.append(f'<text x="{(width + _LEFT) / 2}" y="{height - 4}" '
               'text-anchor="middle">step</text>')
  if best is not None:
    parts.append(f'<path d="M{x(best):.1f} {_TOP}V{height - _BOTTOM}" class="mark"/>')
  for line, points in bands:
    points = thin(points)
    edges = [f'{x(s):.1f} {y(v):.1f}' for s, v, _ in points]
    edges += [f'{x(s):.1f} {y(v):.1f}' for s, _, v in reversed(points)]
    if edges:
      parts.append(f'<path class="{line.group}" fill="{line.color}" opacity="0.2" '
                   f'd="M{"L".join(edges)}Z"/>')
  for line, points in curves:
    parts += _drawn(line, [(x(s), y(v)) if math.isfinite(v) else None
                           for s, v in points])
  return (f'<svg role="img" aria-label="{escape(label)}" '
          f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
          f'class="chart">{"".join(parts)}</svg>')


def _drawn(line: Line, places: Sequence[tuple[float, float] | None]) -> list[str]:
  """The elements of a line; None is a gap."""
  path, gap = [], True
  for place in places:
    if place is not None:
      path.append(f'{"M" if gap else "L"}{place[0]:.1f} {place[1]:.1f}')
    gap = place is None
  if not path:
    return []
  look = f'class="{line.group}" stroke="{line.color}"'
  found = [f'<path {look} stroke-width="{line.width}" d="{"".join(path)}">'
           f'<title>{escape(line.name)}</title></path>']
  if line.marked or len(path) == 1:  # a path of no length, with round ends, is a dot
    dots = ''.join(f'M{step[1:]}h0' for step in path)
    found.append(f'<path {look} stroke-width="4.5" d="{dots}"/>')
  return found


def thin(points: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
  """Averages sections of a curve that has more points than a screen can show.

  A section with a value that is not finite is NaN.
  """
  if len(points) <= _MOST:
    return list(points)
  edges = [len(points) * i // _MOST for i in range(_MOST + 1)]
  sections = [points[a:b] for a, b in itertools.pairwise(edges)]
  return [tuple(sum(values) / len(values) for values in zip(*section, strict=True))
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
