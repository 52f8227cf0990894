"""Statistics of a training split: means, deviations, and whitening filters.

They are computed on the host, in float64. They are plain JSON, and stored with a run.
"""

import collections
import math
from collections.abc import Sequence

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.batches import fits
from bigmodels.data.columns import check_finite
from bigmodels.data.sources import Columns, Dataset, intact


def channel_statistics(dataset: Dataset) -> tuple[list[float], list[float]]:
  """Returns the mean and standard deviation of every channel of the inputs.

  They are taken over all axes but the last. A channel that never changes gets a
  deviation of 1, so that it becomes 0.

  Args:
    dataset: the training split, with `inputs` `[length, ..., channels]`.

  Raises:
    UserError: if there are no inputs, the split is too large to be resident, or an
      input is not finite.
  """
  if not fits(dataset):
    raise UserError('mean and std of a split this large are not computed before '
                    'training: set them in the experiment')
  inputs, rows = _column('inputs', 'mean and std', dataset)
  if inputs.dtype == np.uint8:
    return _byte_statistics(inputs, rows)
  parts = np.array_split(rows, max(1, min(len(rows), inputs.nbytes // 2**24)))
  axes = tuple(range(inputs.ndim - 1))
  total = np.zeros(inputs.shape[-1])
  squares = np.zeros(inputs.shape[-1])
  count = len(rows) * math.prod(inputs.shape[1:-1])
  for part in parts:
    total += inputs[part].astype(np.float64).sum(axes)
  mean = total / count
  for part in parts:
    centred = inputs[part].astype(np.float64) - mean
    squares += (centred**2).sum(axes)
  std = np.sqrt(squares / count)
  return mean.tolist(), deviations(mean, std)


def _byte_statistics(inputs: np.ndarray, rows: np.ndarray
                     ) -> tuple[list[float], list[float]]:
  """`channel_statistics` from a histogram of bytes, ten times as fast."""
  counts = np.zeros((inputs.shape[-1], 256), np.int64)
  # `bincount` makes eight bytes of each; those of a part should stay in the cache.
  for part in np.array_split(rows, max(1, min(len(rows), inputs.nbytes // 2**20))):
    values = inputs[part].reshape(-1, inputs.shape[-1])
    for channel, of_channel in enumerate(counts):
      of_channel += np.bincount(values[:, channel], minlength=256)
  values, total = np.arange(256.0), counts.sum(1)
  mean = counts @ values / total
  std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / total)
  return mean.tolist(), deviations(mean, std)


def target_statistics(dataset: Dataset) -> tuple[list[float], list[float]]:
  """Returns the mean and standard deviation of every target, as `channel_statistics`.

  Args:
    dataset: the training split, with `labels` `[length, ...]` that are numbers.

  Raises:
    UserError: if there are no labels, they are classes, or one is not finite.
  """
  if dataset.classes is not None:
    raise UserError('the task needs numeric labels, this data has classes: '
                    f'{listed(dataset.classes)}; labels of an array are numbers where '
                    'they are floats, labels.astype(float)')
  labels, rows = _column('labels', 'target_mean and target_std', dataset)
  labels = np.asarray(labels, np.float64)[rows].reshape(len(rows), -1)
  mean, std = labels.mean(0), labels.std(0)
  return mean.tolist(), deviations(mean, std)


def class_counts(dataset: Dataset) -> dict[str, float]:
  """Returns the number of examples of every class, by its name or number.

  Of labels that are fractions of the classes, the fractions are added. If only the
  shapes of a split are known, every class has one example.

  Args:
    dataset: the training split, with `labels` `[length]`, class indices, or float
      `[length, classes]`.

  Raises:
    UserError: if the labels are not classes, or cannot be read before training.
  """
  if dataset.shapes_only and dataset.classes is not None:
    return dict.fromkeys(dataset.classes, 1)
  if dataset.labels is not None:
    labels = dataset.labels()
    labels = labels[labels >= 0]
  elif fits(dataset):
    columns = dataset.load()
    _check_column('labels', 'counts of classes', columns)
    labels = columns['labels'][intact(columns)]
  else:
    raise UserError('classes of a split this large are not counted before training: '
                    'give what is computed from their counts, such as class_weights, '
                    'as numbers')
  if dataset.classes is not None and labels.ndim == 1:
    counts = np.bincount(labels, minlength=len(dataset.classes))
    return dict(zip(dataset.classes, counts.tolist(), strict=True))
  if dataset.classes is None and labels.ndim == 2:
    counts = labels.sum(0, dtype=np.float64).tolist()
    return {str(index): count for index, count in enumerate(counts)}
  raise UserError('counts of classes need labels [length] that are classes, or float '
                  f'[length, classes], got {labels.dtype} {labels.shape}')


def ngram_counts(dataset: Dataset, order: int) -> dict[str, int]:
  """Returns how often each sequence of tokens occurs in the labels, by its tokens.

  Labels are preceded by `order - 1` zeros, and followed by one.

  Args:
    dataset: the training split, with `labels` `[length, tokens]`, 0 for padding.
    order: largest number of tokens of a sequence.

  Returns:
    Tokens, as '3 1 4' -> count.

  Raises:
    UserError: if there are no such labels, or the split is too large to be resident.
  """
  if not fits(dataset):
    raise UserError('n-grams of a split this large are not counted before training')
  columns = dataset.load()
  _check_column('labels', 'n-grams', columns)
  labels = np.asarray(columns['labels'])[intact(columns)]
  if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
    raise UserError('n-grams need labels [length, tokens] of integers, got '
                    f'{labels.dtype} {labels.shape}')
  counts: collections.Counter[str] = collections.Counter()
  for row in labels:
    tokens = [*[0] * (order - 1), *row[row > 0].tolist(), 0]
    for end in range(order, len(tokens) + 1):
      for size in range(1, order + 1):
        counts[' '.join(map(str, tokens[end - size : end]))] += 1
  return dict(sorted(counts.items()))


def whitening(dataset: Dataset, mean: Sequence[float], std: Sequence[float], *,
              window: int = 2, images: int = 5000) -> list:
  """Returns filters that whiten standardized patches: unit variances, no correlation.

  They are the eigenvectors of the covariance of the patches, divided by the square
  roots of their eigenvalues, and their negatives (Jordan, *94% on CIFAR-10 in 3.29
  seconds on a single GPU*, 2024).

  Args:
    dataset: the training split, with `inputs` `[length, height, width, channels]`.
    mean, std: arguments of `transforms.standardize`, `[channels]`.
    window: height and width of a patch.
    images: number of images to read, from the beginning of the split.

  Returns:
    `[window, window, channels, 2 * window * window * channels]`, nested lists.

  Raises:
    UserError: if there are no inputs.
  """
  rows = np.arange(min(images, dataset.length))
  columns = dataset.load() if fits(dataset) else dataset.read(rows)
  _check_column('inputs', 'filters of whitening', columns)
  inputs = (columns['inputs'][rows].astype(np.float64) - mean) / std
  patches = np.lib.stride_tricks.sliding_window_view(inputs, (window, window), (1, 2))
  patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, window**2 * inputs.shape[3])
  variances, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
  filters = vectors / np.sqrt(variances + 5e-4)
  filters = np.concatenate([filters, -filters], 1)
  return filters.reshape(window, window, inputs.shape[3], -1).tolist()


def deviations(mean: np.ndarray, std: np.ndarray) -> list[float]:
  """Returns deviations `[n]` to divide by: 1 for constants, up to rounding.

  Args:
    mean, std: `[n]`.
  """
  changes = std > np.finfo(np.float32).eps * np.abs(mean)
  return np.where(changes, std, 1.0).tolist()


def check_train(dataset: Dataset, columns: Columns) -> None:
  """Refuses columns of the training split that are not finite, before fitting.

  Raises:
    UserError: naming the first such value, its column and its row.
  """
  rows = np.full(dataset.length, -1)
  rows[intact(columns)] = intact(columns)
  check_finite('train', columns, rows, dataset.describe)


def _column(name: str, what: str, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
  """A column `[length, ...]` that is finite, and the rows that could be decoded."""
  columns = dataset.load()
  _check_column(name, what, columns)
  check_train(dataset, columns)
  return columns[name], intact(columns)


def _check_column(name: str, what: str, columns: Columns) -> None:
  if name not in columns:
    raise UserError(f'train: {what} are computed from the column {name!r}, which is '
                    f'missing; the data has {listed(columns)}')
