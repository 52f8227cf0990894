"""Eigenfaces on the pairs of `lfw_facenet`: principal components, plain and whitened.

  python benchmarks/faces.py --data_dir=DIR      # DIR: lfw/

The components are fitted to the pictures of the people of training (Turk and Pentland,
*Eigenfaces for recognition*, 1991), in grey, less their mean. Similarities
are cosines. The threshold is the best one for the pairs of training, `pairs_train.csv`.

Prints one line of JSON: accuracy and area under the ROC curve of `pairs_test.csv`.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigmodels import data, metrics  # noqa: E402
from bigmodels.data.sources import Columns, DataContext  # noqa: E402


def opened(split: str, context: DataContext) -> Columns:
  """The pictures of a split, and its official pairs."""
  faces = data.ImageFolder('lfw/index.csv', label_column='person', divide='classes',
                           channels=1)
  columns = data.Pairs(faces.split(split), f'lfw/pairs_{split}.csv').open(
    context).load()
  inputs = columns['inputs'].reshape(len(columns['inputs']), -1)
  return {'inputs': inputs.astype(np.float32), 'labels': columns['labels'],
          'partners': columns['partners'], 'row': np.arange(len(inputs))}


def scores(train: Columns, test: Columns, components: int, *, whiten: bool
           ) -> dict[str, float]:
  """Accuracy and area of the test pairs."""
  from sklearn.decomposition import PCA

  fitted = PCA(components, whiten=whiten, svd_solver='randomized', random_state=0).fit(
    train['inputs'])

  def embedded(split):
    found = fitted.transform(split['inputs']).astype(np.float64)
    return {**split, 'embeddings': found / np.linalg.norm(found, axis=1, keepdims=True)}

  threshold, _ = metrics.best_similarity(embedded(train))
  found = embedded(test)
  return {'accuracy': metrics.verified(found, threshold)['accuracy'],
          'roc_auc': metrics.verification(found)['roc_auc']}


def main() -> None:
  """Prints the scores."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--components', type=int, default=200)
  given = parser.parse_args()
  cache = pathlib.Path('~/.cache/bigmodels').expanduser()
  context = DataContext(given.data_dir, cache, {}, say=lambda line: None)
  train, test = opened('train', context), opened('test', context)
  print(json.dumps({name: {key: round(value, 4) for key, value in scores(
    train, test, given.components, whiten=whiten).items()}
    for name, whiten in (('components', False), ('whitened', True))}))


if __name__ == '__main__':
  main()
