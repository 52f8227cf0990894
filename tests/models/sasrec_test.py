"""Tests of models.SasRec: causality, padding, and users that share a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import SasRec

MODEL = SasRec(30, length=8, depth=2, width=12, heads=2, unroll=True)
INPUTS = np.random.default_rng(0).integers(0, 30, (2, 8))


@pytest.fixture(scope='module')
def params():
  found = MODEL.init(jax.random.key(0), INPUTS, INPUTS[..., None], train=False)
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32),
                      found)


def states(params, inputs, **options):
  return np.asarray(MODEL.apply(params, inputs, train=False, method='encode',
                                **options))


def test_no_state_depends_on_a_later_item(params):
  """The gradient of each state by the vectors of later items is zero."""
  def of_vectors(vectors, position):
    changed = jax.tree.map(lambda x: x, params)
    changed['params']['items']['embedding'] = vectors
    return MODEL.apply(changed, jnp.arange(8)[None], train=False,
                       method='encode')[0, position].sum() ** 2

  vectors = params['params']['items']['embedding']
  for position in range(8):
    gradient = np.abs(jax.grad(of_vectors)(vectors, position)).sum(1)
    assert (gradient[: position + 1] > 0).all()
    assert (gradient[position + 1 :] == 0).all()


def test_padding_changes_nothing(params):
  whole = states(params, INPUTS[:, :5])
  padded = np.concatenate([INPUTS[:, :5], INPUTS[:, :3] + 1], 1)
  segments = np.array([[1] * 5 + [0] * 3] * 2)
  np.testing.assert_allclose(states(params, padded, segments=segments)[:, :5], whole,
                             atol=1e-5)


def test_users_who_share_a_row_do_not_meet(params):
  segments = np.array([[1, 1, 1, 2, 2, 2, 2, 0]] * 2)
  found = states(params, INPUTS, segments=segments)
  np.testing.assert_allclose(found[:, :3], states(params, INPUTS[:, :3]), atol=1e-5)
  np.testing.assert_allclose(found[:, 3:7], states(params, INPUTS[:, 3:7]), atol=1e-5)


def test_scores_are_products_with_the_vectors_of_the_items(params):
  items = np.random.default_rng(2).integers(0, 30, (2, 8, 3))
  found = MODEL.apply(params, INPUTS, items, train=False)
  vectors = np.asarray(params['params']['items']['embedding'])[items]
  expected = np.einsum('blw,blkw->blk', states(params, INPUTS), vectors)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  every = MODEL.apply(params, INPUTS, jnp.arange(30), train=False)
  np.testing.assert_allclose(np.take_along_axis(np.asarray(every), items, 2), found,
                             rtol=1e-4, atol=1e-5)


def test_settings_out_of_range_are_refused(params):
  with pytest.raises(ValueError, match='heads: must divide the width, 50, got 3'):
    SasRec(5, heads=3)
  with pytest.raises(ValueError, match='a sequence of 9 items is longer'):
    MODEL.apply(params, np.zeros((1, 9), int), jnp.arange(3), train=False)
