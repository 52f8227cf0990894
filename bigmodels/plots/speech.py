"""Plots of transcripts: the worst of them, errors by length, spectrograms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Inputs, Table

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_WORST = 12  # transcripts in the table
_DRAWN = 3  # spectrograms
_BARS = 8


def speech(errors: np.ndarray, lengths: np.ndarray, texts: Sequence[str],
           references: Sequence[str], filled: np.ndarray, inputs: Inputs
           ) -> 'dict[str, Figure | Table]':
  """Draws the transcripts with most errors, error rates by length, and spectrograms.

  Args:
    errors: wrong words of each transcript, int `[n]`.
    lengths: words of each reference, int `[n]`.
    texts: `n` transcripts.
    references: `n` references.
    filled: fraction of each input that is not padding, `[n]`.
    inputs: rows -> sounds `[k, samples]` or features `[k, frames, features]`.

  Returns:
    Title -> figure or table.
  """
  order = np.lexsort((np.arange(len(errors)), -errors / np.maximum(lengths, 1),
                      -errors))
  worst = order[:_WORST]
  words = inputs.words(worst) if inputs.words else [{} for _ in worst]
  rows = [(each.get('recording', str(row)), references[row], texts[row],
           f'{errors[row]} of {lengths[row]}')
          for row, each in zip(worst.tolist(), words, strict=True)]
  found = {'Worst transcripts': Table(
    ('recording', 'reference', 'transcript', 'wrong words'), rows)}
  if lengths.any():
    found['Errors by length'] = _by_length(errors, lengths)
  chosen = np.unique(order[np.linspace(0, len(order) - 1, _DRAWN).astype(int)])
  found['Spectrograms'] = _spectrograms(chosen, texts, references, filled, inputs)
  return found


def _by_length(errors: np.ndarray, lengths: np.ndarray) -> 'Figure':
  """The word error rate of references of similar lengths."""
  edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _BARS + 1)).astype(int))
  bins = np.clip(np.searchsorted(edges, lengths, 'right') - 1, 0, max(
    len(edges) - 2, 0))
  names, rates, counts = [], [], []
  for index in range(max(len(edges) - 1, 1)):
    inside = bins == index
    if not inside.any():
      continue
    low, high = lengths[inside].min(), lengths[inside].max()
    names.append(f'{low}' if low == high else f'{low}-{high}')
    rates.append(errors[inside].sum() / max(lengths[inside].sum(), 1))
    counts.append(int(inside.sum()))
  figure, axes = style.panel(style.HALF, 3.2)
  bars = axes.bar(names, rates, color=style.BLUE)
  axes.bar_label(bars, [f'{count:,}' for count in counts], fontsize=7.5)
  axes.axhline(errors.sum() / lengths.sum(), **style.DASHED)
  axes.set(xlabel='words of the reference', ylabel='word error rate')
  style.subtitle(axes, 'numbers: transcripts; line: all of them')
  return figure


def _spectrograms(rows: np.ndarray, texts: Sequence[str], references: Sequence[str],
                  filled: np.ndarray, inputs: Inputs) -> 'Figure':
  """The spectrograms of sounds, or features as they are read, over time."""
  values = np.asarray(inputs(rows), np.float32)
  words = inputs.words(rows) if inputs.words else [{} for _ in rows]
  figure = style.figure(style.FULL, 2.1 * len(rows))
  panels = np.atleast_1d(figure.subplots(len(rows)))
  for axes, row, value, word in zip(panels, rows, values, words, strict=True):
    value = value[: max(2, round(float(filled[row]) * len(value)))]
    style.styled(axes)
    seconds = float(word.get('seconds', len(value)))
    if value.ndim == 1:
      rate = len(value) / seconds
      size = int(2 ** np.clip(np.round(np.log2(rate * 0.032)), 5, 10))
      power = _power(value, size)
      extent = (0, seconds, 0, rate / 2)
    else:
      power, extent = value.reshape(len(value), -1).T, (0, seconds, 0, value[0].size)
    low, high = np.percentile(power[np.isfinite(power)], (5, 99.5))
    axes.imshow(power, origin='lower', aspect='auto', extent=extent, cmap='magma',
                vmin=low, vmax=max(high, low + 1e-6), rasterized=True)
    unit = 's' if 'seconds' in word else 'steps'
    axes.set(xlabel=f'time, {unit}', ylabel='Hz' if value.ndim == 1 else 'feature')
    style.subtitle(axes, f'{word.get("recording", row)}: '
                   f'{style.shorten(references[row], 100)}',
                   f'transcript: {style.shorten(texts[row], 100)}')
  return figure


def _power(samples: np.ndarray, size: int) -> np.ndarray:
  """The logarithm of the power spectrogram, `[frequencies, frames]`."""
  padded = np.pad(samples, (0, max(0, size - len(samples))))
  frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]
  power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
  return np.log10(power.T + 1e-10)
