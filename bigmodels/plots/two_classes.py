"""Curves of scores of two classes, over all thresholds."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bigmodels.plots import style

if TYPE_CHECKING:
  from matplotlib.figure import Figure


class Scored(NamedTuple):
  """Examples of two classes with scores; both classes have weight.

  Attributes:
    labels: 0 or 1, `[n]`.
    scores: high for class 1, `[n]`.
    weights: weights of the examples, `[n]`.
    positive: name of class 1.
    threshold: the smallest score that is taken for class 1, which is marked, or None.
  """

  labels: np.ndarray
  scores: np.ndarray
  weights: np.ndarray
  positive: str
  threshold: float | None


def roc(given: Scored) -> 'Figure':
  """Draws the true positive rate against the false positive rate."""
  cuts, hits, alarms = _cumulative(given)
  true, false = hits / hits[-1], alarms / alarms[-1]
  area = np.trapezoid(true, false)
  axes, figure = _unit_square('false positive rate', 'true positive rate')
  axes.plot([0, 1], [0, 1], **style.DASHED)
  _curve(axes, false, true)
  _mark(axes, false, true, cuts, given.threshold)
  style.subtitle(
    axes, f'AUC {area:.4f}, positive: {style.shorten(given.positive, 18)}')
  return figure


def precision_recall(given: Scored) -> 'Figure':
  """Draws precision against recall."""
  cuts, hits, alarms = _cumulative(given)
  found = hits + alarms
  precision = np.divide(hits, found, out=np.ones(len(found)), where=found > 0)
  recall = hits / hits[-1]
  area = np.diff(recall) @ precision[1:]
  prevalence = np.average(given.labels, weights=given.weights)
  axes, figure = _unit_square('recall', 'precision')
  axes.plot([0, 1], [prevalence] * 2, **style.DASHED)
  _curve(axes, recall, precision, steps=True)
  _mark(axes, recall, precision, cuts, given.threshold)
  style.subtitle(axes, f'average precision {area:.4f}',
                 f'dashed: {prevalence:.4f}, at random',
                 f'positive: {style.shorten(given.positive, 18)}')
  return figure


def decision_curve(given: Scored) -> 'Figure':
  """Draws the net benefit of acting on class 1 by its probability, the score.

  Beside it are those of acting on everyone and on no one. Vickers and Elkin, *Decision
  Curve Analysis*, 2006; see `net_benefit`.
  """
  cuts = np.linspace(0, 0.99, 199)
  ours, everyone = (
    net_benefit(given.labels, probabilities, cuts, given.weights)
    for probabilities in (given.scores, np.ones(len(given.labels))))
  figure, axes = style.panel(style.NARROW, style.NARROW)
  top = np.average(given.labels, weights=given.weights)
  axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.05 * top), xlabel='threshold probability',
           ylabel='net benefit')
  axes.plot(cuts, everyone, color=style.GREY, linewidth=1.2, label='act on all')
  axes.plot([0, 1], [0, 0], **style.DASHED, label='act on none')
  axes.plot(cuts, ours, color=style.BLUE, linewidth=1.8, label='act by the model')
  if given.threshold is not None:
    axes.axvline(given.threshold, color=style.ORANGE, linewidth=0.8,
                 label=f'threshold {given.threshold:.3f}')
  axes.legend(fontsize=7.5, frameon=False, loc='upper right')
  style.subtitle(axes, f'positive: {style.shorten(given.positive, 18)}')
  return figure


def net_benefit(labels: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray,
                weights: np.ndarray | None = None) -> np.ndarray:
  """Computes the net benefit of acting on class 1 from each threshold on.

  It is (true positives - false positives * t / (1 - t)) / n at the threshold t: whoever
  acts from a probability of t on takes a false positive to cost t / (1 - t) of what a
  true positive is worth. Vickers and Elkin, *Decision Curve Analysis*, 2006.

  Args:
    labels: 0 or 1, `[n]`.
    probabilities: of class 1, `[n]`. All 1 is to act on everyone, at every threshold.
    thresholds: >= 0 and < 1, `[k]`.
    weights: weights of the examples, `[n]`; None for 1.

  Returns:
    float64 `[k]`, in true positives for each example.
  """
  weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
  order = np.argsort(probabilities, kind='stable')
  at = np.searchsorted(np.float64(probabilities)[order], thresholds, 'left')
  true, false = (np.append(np.cumsum((weights * (labels == c))[order][::-1])[::-1], 0)
                 for c in (1, 0))
  return (true[at] - false[at] * thresholds / (1 - thresholds)) / weights.sum()


def _cumulative(given):
  """Distinct scores from infinity down, and the weight of each class from there on."""
  labels, scores, weights = given.labels, given.scores, given.weights
  order = np.argsort(-scores, kind='stable')
  ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
  hits, alarms = (np.append(0.0, np.cumsum((weights * (labels == c))[order])[ends])
                  for c in (1, 0))
  return np.append(np.inf, scores[order][ends]), hits, alarms


def _unit_square(x, y):
  figure, axes = style.panel(style.NARROW, style.NARROW)
  axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect='equal',
           xlabel=x, ylabel=y)
  return axes, figure


def _curve(axes, x, y, steps=False):
  keep = np.unique(np.linspace(0, len(x) - 1, style.POINTS).round().astype(int))
  axes.plot(x[keep], y[keep], color=style.BLUE, linewidth=1.8,
            drawstyle='steps-pre' if steps else 'default')
  axes.fill_between(x[keep], y[keep], color=style.BLUE, alpha=0.12, linewidth=0,
                    step='pre' if steps else None)


def _mark(axes, x, y, cuts, threshold):
  """Marks the point `[n]` at a threshold; the cuts `[n]` fall, from infinity on."""
  if threshold is None:
    return
  at = np.count_nonzero(cuts >= threshold) - 1
  axes.plot([x[at]], [y[at]], 'o', color=style.ORANGE, markersize=6)
  axes.annotate(f'threshold {threshold:.3f}', (x[at], y[at]), (0, -12), fontsize=8,
                textcoords='offset points', ha='right' if x[at] > 0.5 else 'left',
                va='top')
