"""Tests of models.SasRec: causality, padding, and users that share a row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import SasRec

MODEL = SasRec(30, length=8, depth=2, width=12, heads=2, unroll=True)
INPUTS = np.random.default_rng(0).integers(0, 30, (2, 8))


@pytest.fixture(scope='module')
def params():
  found = jax.eval_shape(lambda: MODEL.init(
    jax.random.key(0), INPUTS, INPUTS[..., None], train=False))
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: rng.normal(0.0, 0.3, x.shape).astype(x.dtype), found)


@jax.jit
def encode(params, inputs, segments=None):
  return MODEL.apply(params, inputs, segments=segments, train=False, method='encode')


def states(params, inputs, segments=None):
  return np.asarray(encode(params, inputs, segments))


def test_no_state_depends_on_a_later_item(params):
  """The gradient of each state by the vectors of later items is zero."""
  @jax.jit
  @jax.grad
  def gradient(params, position):
    return encode(params, jnp.arange(8)[None])[0, position, 0]

  for position in range(8):
    found = gradient(params, position)['params']['items']['embedding']
    by_item = np.abs(np.asarray(found)).sum(1)
    assert (by_item[: position + 1] > 0).all()
    assert (by_item[position + 1 :] == 0).all()


def test_padding_changes_nothing(params):
  whole = states(params, INPUTS[:, :5])
  padded = np.concatenate([INPUTS[:, :5], INPUTS[:, :3] + 1], 1)
  segments = np.array([[1] * 5 + [0] * 3] * 2)
  np.testing.assert_allclose(states(params, padded, segments)[:, :5], whole,
                             atol=1e-5)


def test_users_who_share_a_row_do_not_meet(params):
  segments = np.array([[1, 1, 1, 2, 2, 2, 2, 0]] * 2)
  found = states(params, INPUTS, segments)
  np.testing.assert_allclose(found[:, :3], states(params, INPUTS[:, :3]), atol=1e-5)
  np.testing.assert_allclose(found[:, 3:7], states(params, INPUTS[:, 3:7]), atol=1e-5)


def test_scores_are_products_with_the_vectors_of_the_items(params):
  items = np.random.default_rng(2).integers(0, 30, (2, 8, 3))
  apply = jax.jit(functools.partial(MODEL.apply, train=False))
  found = apply(params, INPUTS, items)
  vectors = np.asarray(params['params']['items']['embedding'])[items]
  expected = np.einsum('blw,blkw->blk', states(params, INPUTS), vectors)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  every = apply(params, INPUTS, np.arange(30))
  np.testing.assert_allclose(np.take_along_axis(np.asarray(every), items, 2), found,
                             rtol=1e-4, atol=1e-5)


def test_settings_out_of_range_are_refused(params):
  with pytest.raises(ValueError, match='heads: must divide the width, 50, got 3'):
    SasRec(5, heads=3)
  with pytest.raises(ValueError, match='a sequence of 9 items is longer'):
    MODEL.apply(params, np.zeros((1, 9), int), jnp.arange(3), train=False)
