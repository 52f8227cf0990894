"""Metrics of the classes of pixels, exact over a whole split."""

import jax
import jax.numpy as jnp
import numpy as np


def pixel_confusion(labels: jax.Array, predictions: jax.Array, counted: jax.Array,
                    classes: int) -> jax.Array:
  """Counts the pixels of each image by their label and prediction.

  Args:
    labels, predictions: class indices, int `[batch, height, width]`.
    counted: which pixels count, bool `[batch, height, width]`.
    classes: number of classes.

  Returns:
    int32 `[batch, classes, classes]`; rows are labels.
  """
  pairs = labels.astype(jnp.int32) * classes + predictions.astype(jnp.int32)
  pairs = jnp.where(counted, pairs, classes**2).reshape(len(labels), -1)
  counts = jax.vmap(lambda x: jnp.bincount(x, length=classes**2))(pairs)
  return counts.reshape(-1, classes, classes)


def segmentation(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes the metrics of a split from the pixels of all its images together.

  They are not means over batches or images: a large image counts more than a small one.

  - `mean_iou`: the mean of `iou/3` of class 3 and of the others: the intersection over
    union of its labels and its predictions (Jaccard index).
  - `mean_dice`: the same of `dice/3`, the Dice coefficient, 2 iou / (1 + iou).
  - `accuracy`: the fraction of pixels with the right class.

  Args:
    outputs: `confusion`, int `[n, classes, classes]`, the pixels of each image; rows
      are labels.

  Returns:
    Name -> number. A class that is neither in the labels nor predicted has none, and
    does not count in the means. Nothing without pixels.
  """
  counts = np.asarray(outputs['confusion'], np.int64).sum(0)
  right, both = np.diagonal(counts), counts.sum(0) + counts.sum(1)
  occurs = np.flatnonzero(both)
  if not len(occurs):
    return {}
  iou = right[occurs] / (both - right)[occurs]
  dice = 2 * right[occurs] / both[occurs]
  result = {'mean_iou': float(iou.mean()), 'mean_dice': float(dice.mean()),
            'accuracy': float(right.sum() / counts.sum())}
  for name, values in (('iou', iou), ('dice', dice)):
    result |= {f'{name}/{c}': value for c, value in zip(
      occurs.tolist(), values.tolist(), strict=True)}
  return result
