"""Colours, sizes, axes and names that all plots share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

BLUE, ORANGE, GREY = '#3b7dd8', '#d9622b', '#8c959f'
DASHED = {'color': GREY, 'linewidth': 0.8, 'linestyle': (0, (4, 3))}  # references
# Inches: a third, a half, two thirds and all of the width of the report.
NARROW, HALF, WIDE, FULL = 3.09, 4.85, 6.61, 10.14
POINTS = 2000  # maximum number drawn


def figure(width: float, height: float, layout: str | None = 'constrained'
           ) -> 'Figure':
  """Creates a figure.

  Args:
    width: width in inches.
    height: height in inches.
    layout: layout engine of matplotlib.
  """
  from matplotlib.figure import Figure

  return Figure(figsize=(width, height), layout=layout)


def panel(width: float, height: float) -> 'tuple[Figure, Axes]':
  """Creates a figure with one panel, and its axes; see `figure`."""
  created = figure(width, height)
  return created, styled(created.subplots())


def styled(axes: 'Axes') -> 'Axes':
  """Applies the style of the report to axes, and returns them."""
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_linewidth(0.6)
  axes.tick_params(labelsize=8, length=3, width=0.6)
  axes.xaxis.label.set_fontsize(8.5)
  axes.yaxis.label.set_fontsize(8.5)
  return axes


def subtitle(axes: 'Axes', *lines: str) -> None:
  """Writes lines above axes, left-aligned; empty ones are skipped."""
  axes.set_title('\n'.join(filter(None, lines)), fontsize=8.5, loc='left',
                 parse_math=False)


def legend(of: Any, handles: Sequence[Any], names: Sequence[str], **options: Any
           ) -> None:
  """Draws a legend of names that come from data, as they are.

  Matplotlib would leave out names that begin with `_`, and typeset those with two `$`.

  Args:
    of: axes or a figure.
    handles: what is named.
    names: one for each.
    **options: of matplotlib.
  """
  drawn = of.legend(handles, [*map(str, range(len(names)))], frameon=False, **options)
  for text, name in zip(drawn.get_texts(), names, strict=True):
    text.set(text=name, parse_math=False)


def mask_colours() -> np.ndarray:
  """Returns a colour for each class of a mask, uint8 `[256, 3]`; the first is black.

  They are those of Pascal VOC: the bits of a number, from the lowest, are in turn the
  highest bits of red, green and blue.
  """
  numbers, colours = np.arange(256), np.zeros((256, 3), np.uint8)
  for bit in range(8):
    for channel in range(3):
      if 3 * bit + channel < 8:
        colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)
                                ).astype(np.uint8)
  return colours


def finite_note(finite: int, total: int) -> str:
  """Returns a line about rows that are not finite, '' if all are."""
  return '' if finite == total else f'{finite:,} of {total:,} rows are finite'


def class_names(classes: Sequence[str] | None, count: int) -> list[str]:
  """Returns `count` names; missing names are numbers."""
  given = [' '.join(str(name).split()) for name in classes or ()][:count]
  return given + [str(i) for i in range(len(given), count)]


def shorten(name: str, longest: int) -> str:
  """Cuts a name in the middle, as similar names tend to differ at their ends."""
  half = longest // 2
  return name if len(name) <= longest else f'{name[:half]}…{name[1 - half:]}'
