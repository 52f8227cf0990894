"""Metrics of synthesized speech: distances of spectrograms, and attention."""

import numpy as np


def mel_cepstral_distortion(made: np.ndarray, true: np.ndarray, *, power: float = 1.0,
                            count: int = 13) -> float:
  """The distance of two spectrograms along their best alignment, in decibels.

  Kubichek, *Mel-cepstral distance measure for objective speech quality assessment*,
  1993, with dynamic time warping: 10 / ln 10 * sqrt(2 * sum of squared differences) of
  the cepstra 1 to `count` of log magnitudes, which do not depend on loudness; the mean
  over the steps of the path that has the smallest sum. Cepstra here are those of the
  mel filters, so values of other filters, or of other cepstra, differ.

  Args:
    made: log mel spectrogram, `[frames, bins]`.
    true: the one to compare with, `[other frames, bins]`.
    power: exponent of the magnitudes in both; see `spectra.Mel`.
    count: number of cepstra.

  Raises:
    ValueError: for a spectrogram without frames, or too few bins.
  """
  bins = true.shape[1]
  if not len(made) or not len(true):
    raise ValueError('a spectrogram must have at least one frame')
  if not 1 <= count < bins:
    raise ValueError(f'count: must be 1 to {bins - 1}, below the bins, got {count}')
  angles = np.pi / bins * (np.arange(bins) + 0.5)[:, None] * np.arange(1, count + 1)
  first, second = (np.asarray(each, np.float64) / power @ np.cos(angles) * 2 / bins
                   for each in (made, true))
  square = (np.sum(first**2, 1)[:, None] + np.sum(second**2, 1)
            - 2 * first @ second.T)
  distances = 10 / np.log(10) * np.sqrt(2 * np.maximum(square, 0))
  return float(np.mean([distances[step] for step in warped(distances)]))


def warped(distances: np.ndarray) -> list[tuple[int, int]]:
  """The path through distances `[n, m]` with the smallest sum.

  Sakoe and Chiba, *Dynamic programming algorithm optimization for spoken word
  recognition*, 1978, without slope constraints: it leads from the first pair to the
  last, by steps of one in either or both.
  """
  rows, columns = distances.shape
  total = np.full((rows + 1, columns + 1), np.inf)
  total[0, 0] = 0
  for diagonal in range(rows + columns - 1):  # whose cells depend on the two before
    i = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
    j = diagonal - i
    total[i + 1, j + 1] = distances[i, j] + np.minimum(
      total[i, j], np.minimum(total[i, j + 1], total[i + 1, j]))
  path, i, j = [], rows, columns
  while i and j:
    path.append((i - 1, j - 1))
    i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda at: total[at])
  return path[::-1]


def attention(alignment: np.ndarray) -> dict[str, float]:
  """How well one example's attention is an alignment.

  Args:
    alignment: weights `[steps, characters]`, without padding.

  Returns:
    `focus`, the mean over steps of the largest weight (the focus rate of Ren et al.,
    *FastSpeech*, 2019); `diagonal`, the weight within a fifth of the diagonal;
    `monotonic`, the fraction of steps whose character is that of the step before, or
    one of the next three; and `reached`, whether the last two characters were the
    largest weight of a step.
  """
  steps, characters = alignment.shape
  at = alignment.argmax(1)
  moves = np.diff(at)
  along = (np.arange(characters) + 0.5) / characters
  near = np.abs(along - (np.arange(steps)[:, None] + 0.5) / steps) <= 0.2
  return {
    'focus': float(alignment.max(1).mean()),
    'diagonal': float((alignment * near).sum() / max(alignment.sum(), 1e-12)),
    'monotonic': float(np.mean((moves >= 0) & (moves <= 3))) if steps > 1 else 1.0,
    'reached': float(at.max() >= characters - 2)}
