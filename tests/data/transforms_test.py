"""Tests of bigmodels.data.transforms against NumPy and scipy.ndimage."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from bigmodels.data import transforms

KEY = jax.random.key(0)
RANDOM = {
  'flip': transforms.flip,
  'shift': partial(transforms.shift, pixels=2),
  'crop': partial(transforms.crop, size=5),
  'rotate': partial(transforms.rotate, degrees=30.0),
  'scale': partial(transforms.scale, low=0.5, high=2.0),
  'noise': partial(transforms.noise, std=0.5),
}
GEOMETRIC = [name for name in RANDOM if name != 'noise']


def pixels(n=1, height=7, width=6, channels=2, dtype=np.uint8, seed=0):
  images = np.random.default_rng(seed).integers(1, 256, (n, height, width, channels))
  return images.astype(dtype)


def batch(images):
  n = len(images)
  mask = (np.arange(n) < n - 1).astype(np.float32)
  return {'inputs': images, 'labels': np.arange(n, dtype=np.int32), 'mask': mask}


def apply(transform, images, key=KEY, **keywords):
  transform = jax.jit(partial(transform, **keywords))
  return np.asarray(transform(batch(images), key)['inputs'])


def which(image, candidates):
  """Names of the candidates that an image equals."""
  return [name for name, c in candidates.items() if np.array_equal(image, c)]


@pytest.mark.parametrize('name', RANDOM)
def test_a_key_decides_and_only_inputs_change(name):
  transform = jax.jit(RANDOM[name])
  before = batch(pixels(16))
  after = transform(before, KEY)
  again, other = transform(before, KEY), transform(before, jax.random.key(1))
  np.testing.assert_array_equal(after['inputs'], again['inputs'])
  assert not np.array_equal(after['inputs'], other['inputs'])
  assert set(after) == set(before)
  for column in ('labels', 'mask'):
    np.testing.assert_array_equal(after[column], before[column])


@pytest.mark.parametrize('name', GEOMETRIC)
@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'bfloat16'])
def test_dtype_is_kept(name, dtype):
  images = jnp.asarray(pixels(2)).astype(dtype)
  assert jax.eval_shape(RANDOM[name], batch(images), KEY)['inputs'].dtype == dtype


@pytest.mark.parametrize('name', GEOMETRIC)
def test_every_example_has_its_own_draw(name):
  results = apply(RANDOM[name], np.repeat(pixels(), 32, 0))
  assert len({result.tobytes() for result in results}) > 1


def test_standardize_is_per_channel_in_float32():
  images, mean, std = pixels(3), [10.0, 100.0], [2.0, 5.0]
  result = apply(transforms.standardize, images, mean=mean, std=std)
  assert result.dtype == np.float32
  np.testing.assert_allclose(result, (images - np.array(mean)) / std, rtol=1e-6)


def test_flip_mirrors_half_of_the_examples():
  image = pixels()[0]
  results = apply(transforms.flip, np.stack([image] * 200))
  found = [which(r, {'same': image, 'mirrored': image[:, ::-1]}) for r in results]
  assert all(len(names) == 1 for names in found)
  assert 70 < found.count(['mirrored']) < 130  # 4 deviations


def test_flip_twice_with_one_key_is_nothing():
  once = apply(transforms.flip, pixels(20))
  assert not np.array_equal(once, pixels(20))
  np.testing.assert_array_equal(apply(transforms.flip, once), pixels(20))


@pytest.mark.parametrize('probability, step', [(0.0, 1), (1.0, -1)])
def test_flip_probability(probability, step):
  result = apply(transforms.flip, pixels(20), probability=probability)
  np.testing.assert_array_equal(result, pixels(20)[:, :, ::step])


def test_shift_is_pad_and_crop_at_every_offset():
  image = pixels()[0]
  height, width, _ = image.shape
  padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
  candidates = {(i, j): padded[i : i + height, j : j + width]
                for i in range(3) for j in range(3)}
  found = [which(r, candidates)
           for r in apply(transforms.shift, np.stack([image] * 300), pixels=1)]
  assert all(len(names) == 1 for names in found)
  counts = [found.count([name]) for name in candidates]
  assert stats.chisquare(counts).pvalue > 1e-3


def test_shift_by_0_is_nothing():
  np.testing.assert_array_equal(
    apply(transforms.shift, pixels(3), pixels=0), pixels(3))


def test_crop_is_a_window_anywhere():
  image = pixels(height=5, width=6)[0]
  candidates = {(i, j): image[i : i + 4, j : j + 4] for i in range(2) for j in range(3)}
  found = [which(r, candidates)
           for r in apply(transforms.crop, np.stack([image] * 300), size=4)]
  assert all(len(names) == 1 for names in found)
  counts = [found.count([name]) for name in candidates]
  assert stats.chisquare(counts).pvalue > 1e-3


def test_crop_of_all_is_nothing_and_of_more_is_refused():
  images = pixels(2, height=6, width=6)
  np.testing.assert_array_equal(apply(transforms.crop, images, size=6), images)
  with pytest.raises(ValueError, match='size 7 is larger than images of 6 x 6'):
    apply(transforms.crop, images, size=7)


# An image whose two channels hold the row and the column of every pixel, from the
# centre, shows where each output pixel came from; that gives the draw.


def ramp(n, size=9):
  places = np.stack(np.mgrid[:size, :size], -1) - (size - 1) / 2
  return np.stack([places.astype(np.float32)] * n)


def origins(transform, n, key=KEY, **keywords):
  """The `[n, 2, 2]` matrices, output place to input place."""
  result = apply(transform, ramp(n), key, **keywords)
  down = (result[:, 6, 4] - result[:, 2, 4]) / 4  # two pixels either side
  right = (result[:, 4, 6] - result[:, 4, 2]) / 4
  return np.stack([down, right], -1)


def angles(n, key=KEY, *, degrees):
  matrices = origins(transforms.rotate, n, key, degrees=degrees)
  return np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))


def reference(image, matrix):
  """scipy's bilinear look-up, with zeros all around."""
  centre = (np.array(image.shape[:2]) - 1) / 2
  return np.stack([
    ndimage.affine_transform(plane.astype(np.float64), matrix,
                             centre - matrix @ centre, order=1, mode='grid-constant')
    for plane in np.moveaxis(image, -1, 0)], -1)


def test_rotation_angles_are_uniform_in_the_range():
  found = angles(500, degrees=20.0)
  assert stats.kstest(found, stats.uniform(-20, 40).cdf).pvalue > 1e-3
  assert np.abs(found).max() <= 20.001


@pytest.mark.parametrize('shape', [(7, 7), (6, 9)])
def test_rotate_equals_scipy_at_the_angles_it_drew(shape):
  images = pixels(4, *shape, dtype=np.float32)
  matrices = origins(transforms.rotate, 4, degrees=35.0)
  np.testing.assert_allclose(
    matrices @ matrices.swapaxes(1, 2), np.stack([np.eye(2)] * 4), atol=1e-5)
  assert np.linalg.det(matrices) == pytest.approx(1, abs=1e-5)
  expected = [reference(i, m) for i, m in zip(images, matrices, strict=True)]
  result = apply(transforms.rotate, images, degrees=35.0)
  np.testing.assert_allclose(result, expected, atol=2e-3)


@pytest.mark.parametrize('size', [6, 7])
def test_rotate_by_90_degrees_is_rot90(size):
  share = angles(1, degrees=10.0)[0] / 10  # of the range, in this draw
  images = pixels(height=size, width=size)
  result = apply(transforms.rotate, images, degrees=90 / float(share))
  inner = slice(1, -1)  # rounding may put the outermost places outside
  turned = [np.rot90(images[0], k)[inner, inner] for k in (1, -1)]
  assert any(np.array_equal(result[0, inner, inner], t) for t in turned)


def test_rotate_by_0_is_nothing():
  np.testing.assert_array_equal(
    apply(transforms.rotate, pixels(2), degrees=0.0), pixels(2))


@pytest.mark.parametrize('factor', [0.5, 1.0, 1.7])
def test_scale_by_a_fixed_factor_equals_scipy(factor):
  images = pixels(2, dtype=np.float32)
  result = apply(transforms.scale, images, low=factor, high=factor)
  expected = [reference(image, np.eye(2) / factor) for image in images]
  np.testing.assert_allclose(result, expected, atol=2e-3)


def test_scale_factors_are_uniform_in_their_logarithm():
  matrices = origins(transforms.scale, 500, low=0.8, high=3.0)
  np.testing.assert_allclose(matrices[:, 0, 0], matrices[:, 1, 1], rtol=1e-4)
  np.testing.assert_allclose(matrices[:, 0, 1], 0, atol=1e-5)
  logs = -np.log(matrices[:, 0, 0])
  low, high = np.log(0.8), np.log(3)
  assert stats.kstest(logs, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize('low, high', [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_scale_refuses(low, high):
  with pytest.raises(ValueError, match='wants 0 < low <= high'):
    apply(transforms.scale, pixels(), low=low, high=high)


def test_resampled_integers_are_rounded_and_do_not_wrap_around():
  images = np.full((4, 8, 8, 1), 255, np.uint8)
  exact = apply(transforms.rotate, images.astype(np.float32), degrees=40.0)
  result = apply(transforms.rotate, images, degrees=40.0)
  np.testing.assert_array_equal(result, np.clip(np.round(exact), 0, 255))
  np.testing.assert_array_equal(result[:, 3:5, 3:5], 255)


def test_noise_is_gaussian_of_the_deviation():
  images = pixels(20, dtype=np.uint8)
  result = apply(transforms.noise, images, std=0.3)
  assert result.dtype == np.float32
  added = (result - images).ravel() / 0.3
  assert stats.kstest(added, 'norm').pvalue > 1e-3
  assert added.std() == pytest.approx(1, abs=0.07)  # 4 deviations
