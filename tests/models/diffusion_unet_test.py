"""Tests of models.diffusion_unet: shapes, what it depends on, first values."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import DiffusionUnet

SMALL = DiffusionUnet(classes=3, width=8, multipliers=(1, 2), blocks=1, attention=(1,),
                      groups=4, heads=2, zero_init=False, dropout=0.5)
IMAGES = np.random.default_rng(0).normal(size=(4, 7, 5, 3)).astype(np.float32)
LABELS, TIMES = jnp.array([0, 1, 0, 3]), jnp.array([0.1, 0.1, 0.9, 0.1])


@pytest.fixture(scope='module')
def variables():
  return jax.jit(partial(SMALL.init, train=False))(
    jax.random.PRNGKey(0), IMAGES, LABELS, TIMES)


@pytest.fixture(scope='module')
def answer(variables):
  return jax.jit(lambda images, labels, times: SMALL.apply(
    variables, images, labels, times, train=False))


def test_images_of_odd_sides(answer):
  found = answer(IMAGES, LABELS, TIMES)
  assert found.shape == IMAGES.shape and np.isfinite(found).all()


def test_time_and_class_matter_and_other_images_do_not(answer):
  same = np.broadcast_to(IMAGES[:1], IMAGES.shape)
  found = np.asarray(answer(same, LABELS, TIMES))
  for other in (1, 2, 3):  # another class, another time, no class
    assert np.abs(found[other] - found[0]).max() > 1e-3
  changed = np.array(IMAGES)
  changed[1:] = 5.0
  np.testing.assert_allclose(answer(changed, LABELS, TIMES)[0],
                             answer(IMAGES, LABELS, TIMES)[0], atol=1e-5)


def test_patches_are_channels():
  """Of images whose patches are arranged by hand, it is the network without patches."""
  model = SMALL.clone(patch=2)
  images = IMAGES[:, :6, :4]
  cut = np.concatenate([images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
  variables = model.init(jax.random.PRNGKey(0), images, LABELS, TIMES, train=False)
  found = model.apply(variables, images, LABELS, TIMES, train=False)
  expected = SMALL.apply(variables, cut, LABELS, TIMES, train=False)
  assert found.shape == images.shape
  for i in (0, 1):
    for j in (0, 1):
      first = 3 * (2 * i + j)
      np.testing.assert_allclose(found[:, i::2, j::2], expected[..., first:first + 3],
                                 rtol=1e-6)
  with pytest.raises(ValueError, match='patch: must divide the sides of the images, 7'):
    model.init(jax.random.PRNGKey(0), IMAGES, LABELS, TIMES, train=False)


def test_every_pixel_depends_on_all(answer):
  """By attention at the lowest resolution, and its residual connection."""
  slope = jax.jit(jax.grad(lambda x: answer(x, LABELS, TIMES)[0, 3, 2].sum()))(IMAGES)
  assert (np.abs(slope[0]).sum(-1) > 0).all() and not slope[1:].any()


def test_dropout_in_training_only(variables):
  def call(key, train):
    return SMALL.apply(variables, IMAGES, LABELS, TIMES, train=train,
                       rngs={'dropout': key})
  call = jax.jit(call, static_argnums=1)
  (one, same), (other, again) = ([call(jax.random.PRNGKey(i), train)
                                  for train in (True, False)] for i in (0, 1))
  assert np.abs(one - other).max() > 1e-3
  np.testing.assert_array_equal(same, again)


def test_it_begins_with_zeros():
  model = SMALL.clone(zero_init=True, blocks=1, attention=())
  variables = jax.jit(partial(model.init, train=False))(
    jax.random.PRNGKey(0), IMAGES, LABELS, TIMES)
  found = model.apply(variables, IMAGES, LABELS, TIMES, train=False)
  assert not found.any()


@pytest.mark.parametrize('settings, message', [
  ({'width': 10}, 'width: must be even, and a multiple of the groups and heads, 8 and'),
  ({'multipliers': (1, 0)}, 'multipliers: must be >= 1'),
  ({'attention': (3,)}, 'attention: must be 0 to 2, the resolutions, got 3'),
  ({'classes': -1}, 'classes: must be >= 0, got -1'),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1')])
def test_settings_out_of_range(settings, message):
  with pytest.raises(ValueError, match=message):
    DiffusionUnet(**settings)


def test_images_of_integers():
  with pytest.raises(ValueError, match='Unet needs images of floats, got int32'):
    jax.eval_shape(partial(SMALL.init, train=False), jax.random.PRNGKey(0),
                   jnp.zeros((1, 8, 8, 1), int), LABELS[:1], TIMES[:1])
