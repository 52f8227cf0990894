"""Tests of bigmodels.models.dit: published counts, shapes, what it depends on."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Dit

SMALL = Dit(classes=3, depth=2, width=16, heads=2, zero_init=False)
IMAGES = np.random.default_rng(0).normal(size=(3, 6, 4, 1)).astype(np.float32)
LABELS, TIMES = jnp.array([0, 0, 3]), jnp.array([0.1, 0.9, 0.1])


def initialized(model):
  return jax.jit(partial(model.init, train=False))(
    jax.random.PRNGKey(0), IMAGES, LABELS, TIMES)


@pytest.mark.parametrize('model, millions', [
  (Dit, 33), (partial(Dit, width=768, heads=12), 130)])
def test_as_many_parameters_as_published(model, millions):
  """S/2 and B/2 on latents of ImageNet; theirs predict a variance, too."""
  shapes = jax.eval_shape(partial(model(classes=1000).init, train=False),
                          jax.random.PRNGKey(0), jnp.zeros((1, 32, 32, 4)),
                          jnp.zeros(1, int), jnp.zeros(1))
  count = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
  assert count / 1e6 == pytest.approx(millions, rel=0.02)


def test_time_and_class_matter_and_every_pixel_depends_on_all():
  variables = initialized(SMALL)
  answer = jax.jit(lambda x: SMALL.apply(variables, x, LABELS, TIMES, train=False))
  found = np.asarray(answer(np.broadcast_to(IMAGES[:1], IMAGES.shape)))
  assert found.shape == IMAGES.shape
  for other in (1, 2):
    assert np.abs(found[other] - found[0]).max() > 1e-3
  slope = jax.jit(jax.grad(lambda x: answer(x)[0, 3, 2].sum()))(IMAGES)
  assert (np.abs(slope[0]) > 0).all() and not slope[1:].any()


def test_it_begins_with_zeros():
  model = SMALL.clone(zero_init=True)
  assert not model.apply(initialized(model), IMAGES, LABELS, TIMES, train=False).any()


@pytest.mark.parametrize('settings, message', [
  ({'heads': 5}, 'heads: must divide the width, 384, got 5'),
  ({'width': 18, 'heads': 2}, 'width: must be a multiple of 4, got 18'),
  ({'classes': -1}, 'classes: must be >= 0, got -1')])
def test_settings_out_of_range(settings, message):
  with pytest.raises(ValueError, match=message):
    Dit(**settings)


def test_patches_that_do_not_fit():
  with pytest.raises(ValueError, match='patch: must divide the sides of images, 6x4, '):
    jax.eval_shape(partial(SMALL.clone(patch=4).init, train=False),
                   jax.random.PRNGKey(0), IMAGES, LABELS, TIMES)
