"""Tests of bigmodels.data.transforms.mixing: the papers' formulas, masks, parts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bigmodels.config import tree
from bigmodels.data import transforms
from bigmodels.parallel.random import slice_key

KEY = jax.random.PRNGKey(3)
MIXUP = partial(transforms.mixup, num_outputs=5)
CUTMIX = partial(transforms.cutmix, num_outputs=5)
RNG = np.random.default_rng(0)


def batch(n, size=8, masked=0, dtype=np.float32):
  images = RNG.integers(0, 256, (n, size, size, 3)).astype(dtype)
  return {'inputs': images, 'labels': RNG.integers(0, 5, n).astype(np.int32),
          'mask': (np.arange(n) < n - masked).astype(np.float32)}


def numbered(n, size=16):
  """Images of their own number alone, each its own class."""
  return {'inputs': np.arange(n, dtype=np.float32)[:, None, None, None] * np.ones(
            (size, size, 1), np.float32),
          'labels': np.arange(n, dtype=np.int32), 'mask': np.ones(n, np.float32)}


def apply(transform, data, key=KEY):
  return jax.tree.map(np.asarray, jax.jit(transform)(data, key))


def own_fraction(transform, n, key=KEY):
  """How much of each example stayed."""
  labels = apply(partial(transform, num_outputs=n), numbered(n), key)['labels']
  return labels[np.arange(n), np.arange(n)]


# --- mixup ----------------------------------------------------------------------


def test_mixup_is_a_mean_of_neighbours_and_of_their_labels():
  data = batch(6)
  fraction = own_fraction(transforms.mixup, 6)
  result = apply(MIXUP, data)
  other = np.array([1, 0, 3, 2, 5, 4])
  rows = np.eye(5)[data['labels']]
  wide = fraction[:, None, None, None]
  np.testing.assert_allclose(
    result['inputs'], wide * data['inputs'] + (1 - wide) * data['inputs'][other],
    atol=1e-3)
  assert result['labels'].dtype == np.float32
  np.testing.assert_allclose(
    result['labels'], fraction[:, None] * rows + (1 - fraction[:, None]) * rows[other],
    atol=1e-6)
  assert len(np.unique(fraction)) == 6


@pytest.mark.parametrize('alpha', [0.2, 1.0, 4.0])
def test_fractions_are_of_the_beta_distribution(alpha):
  fraction = own_fraction(partial(transforms.mixup, alpha=alpha), 1000)
  assert stats.kstest(fraction, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
  # Apart from each other, within a pair too.
  assert abs(stats.pearsonr(fraction[::2], fraction[1::2])[0]) < 0.15


def test_bytes_are_rounded():
  data = batch(6, dtype=np.uint8)
  exact = apply(MIXUP, {**data, 'inputs': data['inputs'].astype(np.float32)})
  result = apply(MIXUP, data)
  assert result['inputs'].dtype == np.uint8
  np.testing.assert_array_equal(result['inputs'], np.round(exact['inputs']))


def test_targets_that_are_numbers_are_mixed_as_they_are():
  data = batch(6)
  targets = RNG.normal(size=(6, 2)).astype(np.float32)
  fraction = own_fraction(transforms.mixup, 6)[:, None]
  expected = fraction * targets + (1 - fraction) * targets[[1, 0, 3, 2, 5, 4]]
  found = apply(MIXUP, {**data, 'labels': targets})['labels']
  np.testing.assert_allclose(found, expected, atol=1e-6)


# --- cutmix ---------------------------------------------------------------------


def test_cutmix_takes_a_rectangle_of_the_neighbour_and_as_much_of_its_label():
  n = 40
  result = apply(partial(transforms.cutmix, num_outputs=n), numbered(n))
  images, labels = result['inputs'][..., 0], result['labels']
  taken = images != np.arange(n)[:, None, None]
  for i in range(n):
    assert set(np.unique(images[i])) <= {i, i ^ 1}
    rows, columns = taken[i].any(1), taken[i].any(0)
    np.testing.assert_array_equal(taken[i], rows[:, None] & columns)
    assert np.abs(np.diff(rows.astype(int))).sum() <= 2  # in one piece
  fraction = taken.mean((1, 2))
  own = labels[np.arange(n), np.arange(n)]
  np.testing.assert_allclose(own, 1 - fraction, atol=1e-6)
  np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
  assert 0 < fraction.min() < 0.3 and fraction.max() > 0.5


def test_cutmix_draws_what_the_paper_does():
  kept = own_fraction(partial(transforms.cutmix, alpha=1.0), 600)
  side = np.sqrt(1 - RNG.uniform(size=4000))[:, None]
  centre = RNG.uniform(size=(4000, 2))
  low, high = np.maximum(centre - side / 2, 0), np.minimum(centre + side / 2, 1)
  expected = 1 - (high - low).prod(1)
  assert stats.ks_2samp(kept, expected).pvalue > 1e-3


def test_a_grid_of_pixels_rounds_the_fraction_no_more_than_it_must():
  data = numbered(60, size=4)
  result = apply(partial(transforms.cutmix, num_outputs=60), data)
  fraction = result['labels'][np.arange(60), np.arange(60)] * 16
  np.testing.assert_allclose(fraction, np.round(fraction), atol=1e-4)


# --- both -----------------------------------------------------------------------


BOTH = pytest.mark.parametrize('transform', [MIXUP, CUTMIX], ids=['mixup', 'cutmix'])


@BOTH
def test_a_batch_cut_into_even_parts_is_mixed_alike(transform):
  data = batch(12)
  whole = apply(transform, data)
  for part in range(3):
    here = slice(4 * part, 4 * part + 4)
    found = apply(
      transform, {k: v[here] for k, v in data.items()}, slice_key(KEY, part))
    jax.tree.map(lambda f, w, here=here: np.testing.assert_allclose(
      f, w[here], rtol=1e-6), found, whole)


@BOTH
@pytest.mark.parametrize('value', [0.0, np.nan])
def test_what_is_masked_is_mixed_with_nothing(transform, value):
  data = batch(6, masked=3)  # 3 is masked, its neighbour 2 is not
  clean = apply(transform, data)
  data['inputs'][3:] = value
  result = apply(transform, data)
  np.testing.assert_array_equal(result['inputs'][:3], clean['inputs'][:3])
  np.testing.assert_array_equal(result['inputs'][2], data['inputs'][2])
  np.testing.assert_array_equal(result['labels'][2], np.eye(5)[data['labels'][2]])
  assert not np.array_equal(result['inputs'][0], data['inputs'][0])


@BOTH
def test_the_last_of_an_odd_number_is_mixed_with_nothing(transform):
  data = batch(5)
  result = apply(transform, data)
  np.testing.assert_array_equal(result['inputs'][4], data['inputs'][4])
  np.testing.assert_array_equal(result['labels'][4], np.eye(5)[data['labels'][4]])


@BOTH
def test_some_examples_are_left_as_they_are(transform):
  data = batch(400, size=2)
  same = {}
  for probability in (0.0, 0.3):
    labels = apply(partial(transform, probability=probability, alpha=5.0), data)[
      'labels']
    other = data['labels'].reshape(-1, 2)[:, ::-1].ravel()
    differ = data['labels'] != other
    same[probability] = np.mean(labels[differ].max(1) == 1)
  assert same[0.0] == 1
  # A small image may lose none of its 4 pixels.
  assert 0.6 < same[0.3] < (0.8 if transform is MIXUP else 0.9)


@BOTH
def test_alpha_is_above_0(transform):
  with pytest.raises(ValueError, match='alpha: must be > 0, got 0'):
    transform(batch(4), KEY, alpha=0)


def test_one_after_the_other():
  result = apply(CUTMIX, apply(MIXUP, batch(6)))
  np.testing.assert_allclose(result['labels'].sum(1), 1, atol=1e-6)
  assert (result['labels'] > 0).sum(1).max() == 2


# --- one of several -------------------------------------------------------------


def test_one_of_two_for_every_example():
  def to(value):
    return lambda batch, key: {**batch, 'inputs': batch['inputs'] * 0 + value,
                               'labels': batch['labels'] * 0 + value}

  transform = partial(transforms.one_of, transforms=(to(1), to(2), to(3)))
  result = apply(transform, batch(300, size=2))
  np.testing.assert_array_equal(result['inputs'].min((1, 2, 3)), result['labels'])
  np.testing.assert_array_equal(result['inputs'].max((1, 2, 3)), result['labels'])
  counts = np.bincount(result['labels'])[1:]
  assert stats.chisquare(counts).pvalue > 1e-3


def test_the_run_supplies_the_number_of_classes():
  chain = (transforms.mixup, partial(transforms.one_of, transforms=(
    partial(transforms.mixup, alpha=0.3), transforms.cutmix)))
  data = batch(4)
  for transform in tree.complete(chain, {'num_outputs': lambda: 5}):
    data = transform(data, KEY)
  assert data['labels'].shape == (4, 5)


def test_one_of_refuses_what_does_not_fit_together():
  transform = partial(transforms.one_of, transforms=(MIXUP, transforms.flip))
  with pytest.raises(ValueError, match=r"'float32', \(4, 5\).*'int32', \(4,\)"):
    transform(jax.tree.map(jnp.asarray, batch(4)), KEY)


@pytest.mark.parametrize('transform', [MIXUP, CUTMIX])
def test_examples_without_labels_are_mixed_all_the_same(transform):
  data = batch(6)
  whole = apply(transform, data)
  result = apply(transform, {k: v for k, v in data.items() if k != 'labels'})
  assert {*result} == {'inputs', 'mask'}
  np.testing.assert_array_equal(result['inputs'], whole['inputs'])
