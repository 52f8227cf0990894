"""Plots of synthesized speech: players, spectrograms and alignments."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.sounds import Sound
from bigmodels.plots.table import Inputs, Table, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHOWN = 6  # texts with players
_SAMPLES = 360_000  # of all players, so that the page stays small
_DRAWN = 3  # texts with spectrograms and alignments


def synthesis(outputs: Mapping[str, np.ndarray], inputs: Inputs, texts: Sequence[str],
              mel, to_sounds: Callable[..., list[Sound]], each: int
              ) -> 'dict[str, Figure | Table]':
  """Shows texts with their recordings, copies of these, and what was made.

  Args:
    outputs: log mel spectrograms `made` and `true` `[n, frames, bins]`, with `lengths`
      and `true_lengths` `[n]`; `alignment` `[n, steps, characters]`; and `tokens` `[n,
      characters]`, 0 for padding.
    inputs: rows -> recordings `[k, samples]`, of integers or in [-1, 1].
    texts: `n` texts.
    mel: settings of the spectrograms.
    to_sounds: (spectrograms, lengths) -> sounds.
    each: frames of a step of the alignment.

  Returns:
    Title -> figure or table.
  """
  rows = spread(len(texts), _SHOWN)
  samples = 3 * np.cumsum(outputs['true_lengths'][rows]) * mel.hop
  rows = rows[: max(1, int((samples <= _SAMPLES).sum()))]
  real = np.asarray(inputs(rows))
  if np.issubdtype(real.dtype, np.integer):
    real = real / -np.iinfo(real.dtype).min
  lengths = outputs['true_lengths'][rows]
  recorded = [Sound(sound[: length * mel.hop], mel.rate) for sound, length in zip(
    real, lengths, strict=True)] if real.ndim == 2 else [''] * len(rows)
  copies = to_sounds(outputs['true'][rows], lengths)
  made = to_sounds(outputs['made'][rows], outputs['lengths'][rows])
  found = {'Spoken texts': Table(
    ('text', 'recording', 'its spectrogram by Griffin-Lim', 'synthesized'),
    [(texts[row], *sounds) for row, *sounds in zip(
      rows, recorded, copies, made, strict=True)])}
  drawn = spread(len(texts), _DRAWN)
  found['Spectrograms'] = _spectrograms(outputs, texts, drawn, mel)
  found['Attention'] = _alignments(outputs, texts, drawn, each)
  return found


def _spectrograms(outputs, texts, rows, mel) -> 'Figure':
  """Recorded and synthesized spectrograms, one below the other."""
  figure = style.figure(style.FULL, 2.6 * len(rows))
  panels = figure.subplots(len(rows), 2, squeeze=False)
  for row, pair in zip(rows, panels, strict=True):
    true = outputs['true'][row][: outputs['true_lengths'][row]]
    made = outputs['made'][row][: outputs['lengths'][row]]
    low, high = np.percentile(true, [1, 99.9]) if true.size else (0, 1)
    for axes, values, name in ((pair[0], true, 'recorded'),
                               (pair[1], made, 'synthesized')):
      style.styled(axes).imshow(
        values.T, origin='lower', aspect='auto', cmap='magma', vmin=low, vmax=high,
        extent=(0, max(1, len(values)) * mel.hop / mel.rate, 0, mel.bins))
      axes.set(ylabel='mel bin', xlabel='seconds')
      style.subtitle(axes, f'{name}: {style.shorten(texts[row], 56)}')
  return figure


def _alignments(outputs, texts, rows, each) -> 'Figure':
  """The characters that each step attends to."""
  figure = style.figure(style.FULL, 2.8)
  panels = figure.subplots(1, len(rows), squeeze=False)[0]
  for row, axes in zip(rows, panels, strict=True):
    count = np.count_nonzero(outputs['tokens'][row])
    values = outputs['alignment'][row][: outputs['lengths'][row] // each, :count]
    style.styled(axes).imshow(values.T, origin='lower', aspect='auto', cmap='viridis',
                              vmin=0, vmax=1, interpolation='nearest')
    axes.set(xlabel='step', ylabel='character')
    style.subtitle(axes, style.shorten(texts[row], 40))
  return figure
