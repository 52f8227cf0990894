"""Metrics of a whole split, on the host, from per-example outputs.

Definitions are scikit-learn's, so that numbers can be set beside other people's.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from bigmodels.metrics.metric import Mean, Metric  # noqa: F401

Outputs = dict[str, np.ndarray]


def classification(outputs: Outputs) -> dict[str, float]:
  """Accuracy, precision, recall, F1 (each class and macro) and the area under ROC.

  Args:
    outputs: `labels` `[n]`, `predictions` `[n]`, `probabilities` `[n, classes]`.

  Returns:
    name -> number; `f1/3` is that of class 3. The macro averages are over the classes
    that occur among labels or predictions; the number of any other class is 0, as is a
    ratio of nothing to nothing. AUC of more than two classes is the mean of one class
    against the rest; it is left out where a class has no example.
  """
  from sklearn import metrics

  labels, predictions = outputs['labels'], outputs['predictions']
  scores = outputs['probabilities'].astype(np.float64)
  classes = np.arange(scores.shape[-1])
  result = {'accuracy': float(np.mean(labels == predictions))}
  each = metrics.precision_recall_fscore_support(
    labels, predictions, labels=classes, zero_division=0)
  there = np.isin(classes, labels) | np.isin(classes, predictions)
  for name, values in zip(('precision', 'recall', 'f1'), each[:3], strict=True):
    result[name] = float(np.mean(values[there]))
    result |= {f'{name}/{c}': float(v) for c, v in zip(classes, values, strict=True)}
  if len(np.unique(labels)) == len(classes) and np.all(np.isfinite(scores)):
    # As scikit-learn's 'ovr', but it would scale rows to add up to 1: a float32 row
    # misses that by a rounding, and ties would be ties no more.
    ones = classes if len(classes) > 2 else [1]
    result['auc'] = float(np.mean([
      metrics.roc_auc_score(labels == c, scores[:, c]) for c in ones]))
  return result


def regression(outputs: Outputs) -> dict[str, float]:
  """MSE, MAE and R2, in the units of the targets.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`.

  Returns:
    name -> number. R2 is left out where a target never changes: scikit-learn's 0 or 1
    says nothing of the predictions then. All are NaN where anything is not finite.

  Raises:
    ValueError: for predictions of another shape.
  """
  from sklearn import metrics

  targets = outputs['targets'].astype(np.float64)
  predictions = outputs['predictions'].astype(np.float64)
  if targets.shape != predictions.shape:  # they would be broadcast
    raise ValueError(f'regression: targets are {targets.shape}, predictions '
                     f'{predictions.shape}')
  if not (np.all(np.isfinite(targets)) and np.all(np.isfinite(predictions))):
    return {'mse': float('nan'), 'mae': float('nan')}
  result = {
    'mse': float(metrics.mean_squared_error(targets, predictions)),
    'mae': float(metrics.mean_absolute_error(targets, predictions)),
  }
  if np.all(np.ptp(targets, axis=0) > 0):  # a deviation may be that of a rounding
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      result['r2'] = float(metrics.r2_score(targets, predictions))
  return result


def language(outputs: Outputs) -> dict[str, float]:
  """Perplexity: two to the bits, or e to the nats, that a token takes.

  Args:
    outputs: `nats` and `tokens`, both `[n]`, of each text.
  """
  tokens = float(outputs['tokens'].sum(dtype=np.float64))
  if not tokens:
    return {}
  nats = float(outputs['nats'].sum(dtype=np.float64))
  with np.errstate(over='ignore'):
    return {'perplexity': float(np.exp(nats / tokens))}


def generation(features: Outputs, neighbours: int = 3) -> dict[str, float]:
  """How generated images lie beside real ones in a space of features.

  Args:
    features: `generated`, `real`, `train`, each `[n, width]`: of generated images, of
      real ones that nothing was trained on, and of some of the training split.
    neighbours: see `precision_recall`.

  Returns:
    `frechet` of generated to training images; `frechet_real` of the other real ones to
    them, which is what a perfect generator gets from as many; `precision` and `recall`
    of the generated ones against the real ones.
  """
  precision, recall = precision_recall(
    features['real'], features['generated'], neighbours)
  return {'frechet': frechet(features['generated'], features['train']),
          'frechet_real': frechet(features['real'], features['train']),
          'precision': precision, 'recall': recall}


def frechet(first: np.ndarray, second: np.ndarray) -> float:
  """The Fréchet distance of two sets of features (Heusel et al., 2017), squared.

  That of the Gaussians of the same mean and covariance (Dowson and Landau, 1982):
  `|m - n|^2 + trace(A + B - 2 (A B)^(1/2))`. It is of the size of the features' own
  units, squared: figures of other networks' features cannot be set beside it.

  Args:
    first: `[n, width]`.
    second: `[m, width]`.
  """
  from scipy import linalg

  first, second = (np.asarray(x, np.float64) for x in (first, second))
  a, b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))
  values, vectors = linalg.eigh(a)
  root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
  # (A B)^(1/2) and (A^(1/2) B A^(1/2))^(1/2) have the same trace; this is symmetric.
  shared = np.sqrt(np.maximum(linalg.eigvalsh(root @ b @ root), 0)).sum()
  apart = np.sum((first.mean(0) - second.mean(0)) ** 2)
  return float(max(apart + np.trace(a) + np.trace(b) - 2 * shared, 0.0))


def precision_recall(real: np.ndarray, generated: np.ndarray, neighbours: int = 3
                     ) -> tuple[float, float]:
  """Share of generated features among the real ones, and the other way round.

  A point is among a set if it is nearer to one of its points than that one's k-th
  neighbour in the set is (Kynkaanniemi et al., 2019).

  Args:
    real: `[n, width]`.
    generated: `[m, width]`.
    neighbours: k.

  Raises:
    ValueError: for no more than k points.
  """
  from sklearn.metrics import pairwise_distances_chunked
  from sklearn.neighbors import NearestNeighbors

  if min(len(real), len(generated)) <= neighbours:
    raise ValueError(f'neighbours: wants fewer than the {len(real)} real and '
                     f'{len(generated)} generated points, got {neighbours}')

  def among(points, others):
    found = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors()[0][:, -1]
    inside = [(chunk <= found).any(1)
              for chunk in pairwise_distances_chunked(others, points)]
    return float(np.concatenate(inside).mean())

  return among(real, generated), among(generated, real)


def bleu(translations: Sequence[str], references: Sequence[str]) -> dict[str, float]:
  """BLEU of a corpus, 0 to 100, with a reference each (Papineni et al., 2002).

  By sacrebleu, with its own tokenization ('13a') of detokenised text, cased.
  """
  import sacrebleu

  return {'bleu': float(sacrebleu.corpus_bleu(translations, [references]).score)}
