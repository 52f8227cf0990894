"""Metrics of generated images, in the feature space of a network."""

import numpy as np


def generation(features: dict[str, np.ndarray], neighbours: int = 3
               ) -> dict[str, float]:
  """Compares the features of generated images with those of real ones.

  Args:
    features: `generated`, `real` and `train`, each `[n, width]`: features of generated
      images, of real images that were not trained on, and of training images.
    neighbours: see `precision_recall`.

  Returns:
    Name -> number: `frechet` from generated to training images; `frechet_real` from
    the other real images to training images, the score of a perfect generator with the
    same number of images; `precision` and `recall` of generated against real images.

  Raises:
    ValueError: if there are at most `neighbours` real or generated images.
  """
  precision, recall = precision_recall(
    features['real'], features['generated'], neighbours)
  return {'frechet': frechet(features['generated'], features['train']),
          'frechet_real': frechet(features['real'], features['train']),
          'precision': precision, 'recall': recall}


def frechet(first: np.ndarray, second: np.ndarray) -> float:
  """Computes the squared Fréchet distance of two sets of features.

  FID (Heusel et al., *GANs Trained by a Two Time-Scale Update Rule*, 2017), for the
  given features: the distance of Gaussians with the same mean and covariance,
  `|m - n|^2 + trace(A + B - 2 (A B)^(1/2))` (Dowson and Landau, 1982). It scales with
  the features, so it cannot be compared across networks.

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
  distance = np.sum((first.mean(0) - second.mean(0)) ** 2)
  return float(max(distance + np.trace(a) + np.trace(b) - 2 * shared, 0.0))


def precision_recall(real: np.ndarray, generated: np.ndarray, neighbours: int = 3
                     ) -> tuple[float, float]:
  """Computes the fraction of generated features among the real ones, and vice versa.

  A point is among a set if its distance to a point of the set is at most the distance
  of that point to its k-th nearest neighbour in the set (Kynkäänniemi et al., *Improved
  Precision and Recall Metric for Assessing Generative Models*, 2019).

  Args:
    real: `[n, width]`.
    generated: `[m, width]`.
    neighbours: k.

  Returns:
    Precision and recall, both from 0 to 1.

  Raises:
    ValueError: if a set has at most k points.
  """
  from sklearn.metrics import pairwise_distances_chunked
  from sklearn.neighbors import NearestNeighbors

  if min(len(real), len(generated)) <= neighbours:
    raise ValueError(f'neighbours: must be less than the {len(real)} real and '
                     f'{len(generated)} generated points, got {neighbours}')

  def among(points, others):
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points)
    radius = nearest.kneighbors()[0][:, -1]
    inside = [(chunk <= radius).any(1)
              for chunk in pairwise_distances_chunked(others, points)]
    return float(np.concatenate(inside).mean())

  return among(real, generated), among(generated, real)
