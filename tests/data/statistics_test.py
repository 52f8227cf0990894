"""Tests of bigmodels.data.statistics against NumPy over the whole array."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import sources, statistics

DATA = sources.in_memory({'inputs': np.ones((10, 4, 3, 2), np.uint8)}, None)


def of_inputs(inputs):
  return statistics.channel_statistics(sources.in_memory({'inputs': inputs}, None))


@pytest.mark.parametrize('shape', [(50, 3), (9, 5, 4, 3)])
@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float64'])
def test_channel_statistics_equal_numpy(shape, dtype):
  inputs = np.random.default_rng(0).uniform(0, 256, shape).astype(dtype)
  mean, std = of_inputs(inputs)
  axes = tuple(range(len(shape) - 1))
  np.testing.assert_allclose(mean, inputs.mean(axes, np.float64), rtol=1e-12)
  np.testing.assert_allclose(std, inputs.std(axes, np.float64), rtol=1e-12)


def test_channel_statistics_leave_out_what_is_corrupt():
  inputs = np.random.default_rng(0).uniform(1, 9, (20, 3, 3, 2))
  columns = {'inputs': inputs.copy(), 'corrupt': np.isin(np.arange(20), [0, 3, 19])}
  columns['inputs'][columns['corrupt']] = 0
  mean, std = statistics.channel_statistics(sources.in_memory(columns, None))
  left = np.delete(inputs, [0, 3, 19], 0)
  np.testing.assert_allclose(mean, left.mean((0, 1, 2)), rtol=1e-12)
  np.testing.assert_allclose(std, left.std((0, 1, 2)), rtol=1e-12)


def test_channel_statistics_far_from_zero_are_exact():
  inputs = 1e6 + np.random.default_rng(0).normal(size=(1000, 2))
  np.testing.assert_allclose(of_inputs(inputs)[1], inputs.std(0), rtol=1e-12)


@pytest.mark.parametrize('dtype, length', [('uint8', 2**23), ('float32', 2**21)])
def test_channel_statistics_in_several_parts(dtype, length):
  levels = np.arange(3, dtype=dtype)[:, None, None] ** 2
  inputs = np.broadcast_to(levels, (3, length, 2))  # 48 MiB, three parts
  mean, std = of_inputs(np.ascontiguousarray(inputs))
  np.testing.assert_allclose(mean, [5 / 3] * 2, rtol=1e-12)
  np.testing.assert_allclose(std, [np.std([0, 1, 4])] * 2, rtol=1e-9)


def test_channel_statistics_of_few_large_rows():
  assert of_inputs(np.full((1, 2**25, 1), 3, np.uint8)) == ([3.0], [1.0])


@pytest.mark.parametrize('value, dtype', [
  (7, 'uint8'), (0.1, 'float32'),
  (0.1, 'float64'),
])
def test_a_channel_that_never_changes_has_a_deviation_of_1(value, dtype):
  inputs = np.stack([np.full(1000, value), np.arange(1000) % 2], -1).astype(dtype)
  assert of_inputs(inputs)[1] == [1.0, 0.5]


def test_statistics_of_a_split_too_large_are_asked_of_the_user():
  for nbytes in (None, 2**40):
    with pytest.raises(UserError, match='set them in the experiment'):
      statistics.channel_statistics(DATA._replace(nbytes=nbytes))


def test_whitened_patches_have_unit_variances_and_no_correlation():
  rng = np.random.default_rng(0)
  mixed = rng.normal(size=(40, 9, 7, 3)) @ rng.normal(size=(3, 3))
  mean, std = mixed.mean((0, 1, 2)), mixed.std((0, 1, 2))
  kernel = np.array(statistics.whitening(
    sources.in_memory({'inputs': mixed}, None), mean.tolist(), std.tolist()))
  assert kernel.shape == (2, 2, 3, 24)
  np.testing.assert_array_equal(kernel[..., :12], -kernel[..., 12:])
  images = (mixed - mean) / std
  y = sum(images[:, i : i + 8, j : j + 6] @ kernel[i, j, :, :12]
          for i in range(2) for j in range(2)).reshape(-1, 12)
  np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=5e-3)

# Of 1, 3, 5 the mean is 3, and the deviation the root of (4 + 0 + 4) / 3.
@pytest.mark.parametrize('labels, mean, std', [
  ([1, 3, 5], [3.0], [(8 / 3) ** 0.5]),
  ([[1, 7], [3, 7], [5, 7]], [3.0, 7.0], [(8 / 3) ** 0.5, 1.0]),
  ([[[1], [3]], [[3], [3]], [[5], [3]]], [3.0, 3.0], [(8 / 3) ** 0.5, 1.0]),
])
def test_target_statistics(labels, mean, std):
  columns = {'labels': np.array(labels, np.float32), 'corrupt': np.zeros(3, bool)}
  found = statistics.target_statistics(sources.in_memory(columns, None))
  np.testing.assert_allclose(found, (mean, std), rtol=1e-12)
  spoilt = {'labels': np.concatenate([columns['labels'], columns['labels'][:1] + 99]),
            'corrupt': np.array([False] * 3 + [True])}
  assert statistics.target_statistics(sources.in_memory(spoilt, None)) == found


def test_statistics_of_columns_that_are_not_there():
  users = sources.in_memory({'user': np.arange(3), 'item': np.arange(3)}, None)
  for message, fit in (
    ('mean and std are computed from', statistics.channel_statistics),
    ('target_mean and target_std are computed from', statistics.target_statistics),
    ('filters of whitening are computed from',
     lambda data: statistics.whitening(data, 0.0, 1.0))):
    with pytest.raises(UserError, match=rf"^train: {message} the column '\w+', which "
                       'is missing; the data has user, item$'):
      fit(users)


def test_targets_that_are_classes_or_not_finite():
  labels = {'labels': np.array([1, np.nan, 3], np.float32)}
  with pytest.raises(UserError, match=r'^train: labels\[1\] is nan'):
    statistics.target_statistics(sources.in_memory(labels, None))
  with pytest.raises(UserError, match='needs numeric labels, this data has class'):
    statistics.target_statistics(sources.in_memory(labels, ('cat', 'dog')))
