"""Plots of a language model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Inputs

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def language(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
             classes: Sequence[str] | None, *, example: str = 'text',
             unit: str = 'token') -> 'dict[str, Figure]':
  """Draws a histogram of the loss of the texts.

  Args:
    outputs: `nats`, the summed loss of each text, and `tokens`, its number of tokens;
      both `[n]`.
    inputs: not used.
    classes: not used.
    example, unit: what an example is called, and what the loss is counted in.

  Returns:
    Title -> figure; empty if no text has tokens and a finite loss.
  """
  nats, tokens = (np.asarray(outputs[k], np.float64) for k in ('nats', 'tokens'))
  rows = np.isfinite(nats) & (tokens > 0)
  if not rows.any():
    return {}
  each = nats[rows] / tokens[rows]
  figure, axes = style.panel(style.HALF, 3.2)
  axes.hist(each, bins=min(60, max(10, len(each) // 10)), color=style.BLUE)
  mean = nats[rows].sum() / tokens[rows].sum()
  axes.axvline(mean, color=style.ORANGE, linewidth=1.2)
  axes.set_xlabel(f'loss of a {example}, nats per {unit}')
  axes.set_ylabel(f'{example}s')
  style.subtitle(axes, f'the line: {mean:.3f}, the mean over all {unit}s',
                 style.finite_note(rows.sum(), len(rows)))
  return {f'Loss of each {example}': figure}
