"""Metrics of a whole split, on the host, from per-example outputs.

Definitions are scikit-learn's, so that numbers can be set beside other people's.
"""

import warnings
from collections.abc import Sequence

import numpy as np

Outputs = dict[str, np.ndarray]


def classification(outputs: Outputs) -> dict[str, float]:
  """Accuracy, precision, recall, F1 (each class and macro) and the area under ROC.

  Args:
    outputs: `labels` `[n]`, `predictions` `[n]`, `probabilities` `[n, classes]`.

  Returns:
    name -> number; `f1/3` is that of class 3. AUC of more than two classes is the mean
    of one class against the rest; it is left out where a class does not occur. A ratio
    of nothing to nothing is 0.
  """
  from sklearn import metrics

  labels, predictions = outputs['labels'], outputs['predictions']
  scores = outputs['probabilities'].astype(np.float64)
  classes = np.arange(scores.shape[-1])
  result = {'accuracy': float(np.mean(labels == predictions))}
  each = metrics.precision_recall_fscore_support(
    labels, predictions, labels=classes, zero_division=0)
  for name, values in zip(('precision', 'recall', 'f1'), each[:3], strict=True):
    result[name] = float(np.mean(values))
    result |= {f'{name}/{c}': float(v) for c, v in zip(classes, values, strict=True)}
  if len(np.unique(labels)) == len(classes) and np.all(np.isfinite(scores)):
    if len(classes) == 2:
      result['auc'] = float(metrics.roc_auc_score(labels, scores[:, 1]))
    else:
      scores /= scores.sum(-1, keepdims=True)  # float32 rows miss 1 by a rounding
      result['auc'] = float(metrics.roc_auc_score(
        labels, scores, labels=classes, multi_class='ovr'))
  return result


def regression(outputs: Outputs) -> dict[str, float]:
  """MSE, MAE and R2, in the units of the targets.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`.

  Returns:
    name -> number. R2 of targets that never change is not a number in any useful
    sense; it is left out.
  """
  from sklearn import metrics

  targets = outputs['targets'].astype(np.float64)
  predictions = outputs['predictions'].astype(np.float64)
  if not np.all(np.isfinite(predictions)):
    return {'mse': float('nan'), 'mae': float('nan')}
  result = {
    'mse': float(metrics.mean_squared_error(targets, predictions)),
    'mae': float(metrics.mean_absolute_error(targets, predictions)),
  }
  if len(targets) > 1 and np.all(targets.std(0) > 0):
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


def bleu(translations: Sequence[str], references: Sequence[str]) -> dict[str, float]:
  """BLEU of a corpus, 0 to 100, with a reference each (Papineni et al., 2002).

  By sacrebleu, with its own tokenization ('13a') of detokenised text, cased.
  """
  import sacrebleu

  return {'bleu': float(sacrebleu.corpus_bleu(translations, [references]).score)}
