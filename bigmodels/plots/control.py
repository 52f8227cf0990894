"""Plots of the episodes of an agent."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.images import image_grid
from bigmodels.plots.table import Inputs

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def control(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
            classes: Sequence[str] | None, *, every: int = 1) -> 'dict[str, Figure]':
  """Draws the returns of the episodes, and the observations in three of them.

  Args:
    outputs: `return` and `length`, both `[n]`; `frames`, an observation every `every`
      steps, `[n, frames, ...]`.
    inputs: not used.
    classes: not used.
    every: number of steps between two frames.

  Returns:
    Title -> figure. Frames are shown if they are images `[height, width, 1 or 3]` or
    at most a dozen numbers.
  """
  returns = np.asarray(outputs['return'], np.float64)
  rows = np.isfinite(returns)
  if not rows.any():
    return {}
  ordered = np.sort(returns[rows])
  figure, axes = style.panel(style.HALF, 3.2)
  axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where='post',
            color=style.BLUE)
  axes.axvline(ordered.mean(), color=style.ORANGE, linewidth=1.2)
  axes.set_xlabel('return of an episode')
  axes.set_ylabel('fraction of episodes up to it')
  axes.set_ylim(0, 1.02)
  style.subtitle(axes, f'the line: {ordered.mean():.4g}, the mean of {len(ordered)} '
                 'episodes', style.finite_note(rows.sum(), len(rows)))
  result = {'Returns': figure}
  frames = outputs['frames']
  shown = np.flatnonzero(rows)[np.argsort(outputs['return'][rows], kind='stable')]
  shown = shown[[0, len(shown) // 2, -1]]
  ends = np.ceil(outputs['length'][shown] / every).astype(int)
  names = [f'{outputs["return"][i]:.4g}' for i in shown]
  if frames.ndim == 5 and frames.shape[-1] in (1, 3):
    # From the first frame of an episode to its last.
    positions = [np.linspace(0, max(end - 1, 0), 8).astype(int) for end in ends]
    result['Episodes'] = image_grid(
      [frames[i, at] for i, at in zip(shown, positions, strict=True)], names,
      white=255, width=style.WIDE,
      note='start to end of the worst, the median and the best, with their returns')
  elif frames.ndim == 3 and frames.shape[-1] <= 12:
    result['Episodes'] = _tracks(
      [frames[i, :end] for i, end in zip(shown, ends, strict=True)], names, every)
  return result


def _tracks(episodes, returns, every):
  """Draws the numbers observed in each episode, `[frames, numbers]`, over its steps."""
  figure = style.figure(style.FULL, 2.6)
  names = ('the worst', 'the median', 'the best')
  panels = figure.subplots(1, len(episodes), sharey=True)
  for axes, frames, name, value in zip(panels, episodes, names, returns, strict=True):
    style.styled(axes)
    for number, track in enumerate(frames.T):
      axes.plot(np.arange(len(track)) * every, track, linewidth=1, label=str(number))
    axes.set_xlabel('step')
    style.subtitle(axes, f'{name}: return {value}')
  panels[0].set_ylabel('observed')
  panels[-1].legend(fontsize=7, frameon=False, ncols=2)
  return figure
