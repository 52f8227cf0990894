"""Tests of bigmodels.losses.metric_learning: against loops over triplets and pairs."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import losses

N, WIDTH = 10, 3
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 0])  # class 3 has one example
MASK = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0])


def vectors(seed=0):
  found = np.random.default_rng(seed).normal(size=(N, WIDTH))
  return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def relations():
  """Anchor -> its positives, its negatives."""
  for a in np.flatnonzero(MASK):
    others = [i for i in np.flatnonzero(MASK) if i != a]
    yield a, [i for i in others if LABELS[i] == LABELS[a]], [
      i for i in others if LABELS[i] != LABELS[a]]


def by_hand(x, mining, margin, root):
  """The loss of each anchor that has triplets, by loops over them."""
  def d(i, j):
    squared = ((x[i].astype(np.float64) - x[j]) ** 2).sum()
    return np.sqrt(squared) if root else squared

  def cost(a, p, n):
    gap = d(a, p) - d(a, n)
    return np.log1p(np.exp(gap)) if margin is None else max(0.0, gap + margin)

  found = {}
  for a, positives, negatives in relations():
    if not positives or not negatives:
      continue
    if mining == 'all':
      triplets = [*itertools.product(positives, negatives)]
    elif mining == 'batch_hard':
      triplets = [(max(positives, key=lambda i: d(a, i)),
                   min(negatives, key=lambda i: d(a, i)))]
    else:
      triplets = []
      for p in positives:
        farther = [n for n in negatives if d(a, n) > d(a, p)]
        triplets.append((p, min(farther, key=lambda i: d(a, i)) if farther else
                         max(negatives, key=lambda i: d(a, i))))
    found[a] = np.mean([cost(a, p, n) for p, n in triplets])
  return found


def check(result, expected):
  values, counted = map(np.asarray, result)
  assert np.flatnonzero(counted).tolist() == sorted(expected)
  np.testing.assert_allclose(
    values[sorted(expected)], [expected[a] for a in sorted(expected)], atol=2e-6)
  assert not values[counted == 0].any()


@pytest.mark.parametrize(('margin', 'distance'), [
  (0.2, 'squared'), (0.7, 'euclidean'), (None, 'euclidean')])
@pytest.mark.parametrize('mining', ['all', 'semi_hard', 'batch_hard'])
def test_triplets_are_those_of_a_loop(mining, margin, distance):
  loss = jax.jit(partial(losses.triplet, margin=margin, mining=mining,
                         distance=distance))
  for seed in range(3):
    x = vectors(seed)
    check(loss(x, LABELS, MASK), by_hand(x, mining, margin, distance == 'euclidean'))


def test_semi_hard_takes_the_farthest_negative_where_none_is_farther():
  # On a line: anchor 0, positive 3, negatives 1 and 2.
  x = np.array([[0.0], [3.0], [1.0], [-2.0]], np.float32)
  values, counted = jax.jit(partial(losses.triplet, margin=0.5, distance='euclidean'))(
    x, np.array([0, 0, 1, 2]), np.ones(4))
  assert counted.tolist() == [1, 1, 0, 0]
  # d(0, 3) = 3 and the farthest negative is at 2; of 3, -2 is farther, at 5.
  np.testing.assert_allclose(values, [3 - 2 + 0.5, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize('mining', ['all', 'semi_hard', 'batch_hard'])
def test_gradients_of_triplets_are_numerical_ones(mining):
  x = vectors(4).astype(np.float64)

  def total(x):
    return losses.triplet(x, LABELS, MASK, margin=0.6, mining=mining)[0].sum()

  gradient = np.asarray(jax.jit(jax.grad(total))(jnp.float32(x)))

  def numerical(i, j, step=1e-5):
    moved = [sum(by_hand(x + sign * step * _at(i, j), mining, 0.6, False).values())
             for sign in (1, -1)]
    return (moved[0] - moved[1]) / (2 * step)

  for i, j in ((0, 0), (3, 2), (7, 1)):
    assert gradient[i, j] == pytest.approx(numerical(i, j), abs=1e-3)
  assert not gradient[9].any()  # masked


def _at(i, j):
  found = np.zeros((N, WIDTH))
  found[i, j] = 1
  return found


@pytest.mark.parametrize('mining', ['all', 'semi_hard', 'batch_hard'])
def test_equal_embeddings_have_finite_gradients(mining):
  gradient = jax.jit(jax.grad(lambda x: losses.triplet(
    x, LABELS, MASK, mining=mining, distance='euclidean')[0].sum()))(
      jnp.ones((N, WIDTH)))
  assert np.isfinite(gradient).all()


def test_supervised_contrastive_is_equation_2():
  x, temperature, expected = vectors().astype(np.float64), 0.3, {}
  for a, positives, negatives in relations():
    if positives:
      total = sum(np.exp(x[a] @ x[i] / temperature) for i in positives + negatives)
      expected[a] = -np.mean([np.log(np.exp(x[a] @ x[p] / temperature) / total)
                              for p in positives])
  loss = jax.jit(partial(losses.supervised_contrastive, temperature=temperature))
  check(loss(vectors(), LABELS, MASK), expected)


def test_arc_face_adds_the_margin_to_the_angle():
  margin, scale = 0.5, 8.0
  rng = np.random.default_rng(1)
  prototypes = 3 * rng.normal(size=(4, WIDTH)).astype(np.float32)
  x = vectors().astype(np.float64)
  x[0] = prototypes[0] / np.linalg.norm(prototypes[0])  # an angle of 0
  x[3] = -prototypes[1] / np.linalg.norm(prototypes[1])  # of pi: beyond pi - margin
  angles = np.arccos(np.clip(x @ (prototypes / np.linalg.norm(
    prototypes, axis=1, keepdims=True)).T, -1, 1))
  logits = np.cos(angles)
  for i, label in enumerate(LABELS):
    own = angles[i, label]
    logits[i, label] = np.cos(own + margin) if own < np.pi - margin else (
      np.cos(own) - margin * np.sin(margin))
  logits *= scale
  expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(N), LABELS]
  def loss(x, margin):
    return losses.arc_face(x, LABELS, MASK, prototypes, margin=margin, scale=scale)

  values, counted = jax.jit(partial(loss, margin=margin))(jnp.float32(x))
  np.testing.assert_allclose(values, np.where(MASK, expected, 0), atol=1e-3)
  np.testing.assert_array_equal(counted, MASK)
  plain, _ = jax.jit(partial(loss, margin=0.0))(jnp.float32(x))
  assert (np.asarray(plain) <= np.asarray(values) + 1e-6).all()
  gradient = jax.jit(jax.grad(lambda x: loss(x, margin)[0].sum()))(jnp.float32(x))
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize(('loss', 'settings', 'message'), [
  (losses.triplet, {'margin': -1}, 'margin: must be >= 0 and finite, or None'),
  (losses.triplet, {'margin': float('nan')}, 'margin: .*, got nan'),
  (losses.triplet, {'mining': 'hard'}, "mining: must be one of all, .* got 'hard'"),
  (losses.triplet, {'distance': 'cosine'}, 'distance: must be'),
  (losses.supervised_contrastive, {'temperature': 0}, 'temperature: must be > 0'),
  (losses.arc_face, {'margin': 4, 'prototypes': np.ones((4, 3))}, 'margin: must be'),
  (losses.arc_face, {'scale': 0, 'prototypes': np.ones((4, 3))}, 'scale: must be'),
  (losses.arc_face, {'scale': np.inf, 'prototypes': np.ones((4, 3))}, 'got inf')])
def test_settings_out_of_range(loss, settings, message):
  with pytest.raises(ValueError, match=message):
    loss(vectors(), LABELS, MASK, **settings)
