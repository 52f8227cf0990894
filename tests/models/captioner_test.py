"""Tests of bigmodels.models.captioner, whose image is a map as it is."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.models import Captioner
from tests.models.sequences import variables_of


class Pixels(nn.Module):
  """Images as they are: one map."""

  def __call__(self, images, *, train):
    return (images,)


MODEL = Captioner(Pixels(), vocabulary=7, depth=2, width=8, heads=2, dropout=0.0,
                  unroll=True)
IMAGES = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
CAPTIONS = np.array([[[1, 4, 6, 2, 3]], [[1, 5, 5, 4, 6]]])
LOGITS = jax.jit(lambda variables, images, captions: MODEL.apply(
  variables, images, captions, train=False))


def test_every_token_reads_every_pixel_of_its_own_image():
  variables = variables_of(MODEL, IMAGES, CAPTIONS)
  slopes = jax.jit(jax.jacobian(lambda x: LOGITS(variables, x, CAPTIONS)[:, 0].sum(-1)
                                ))(jnp.asarray(IMAGES))
  reached = np.abs(slopes).max(-1) > 1e-6  # [image, token, image, row, column]
  assert reached[0, :, 0].all() and reached[1, :, 1].all()
  assert not reached[0, :, 1].any() and not reached[1, :, 0].any()


def test_a_token_depends_on_those_before_it_alone():
  variables = variables_of(MODEL, IMAGES, CAPTIONS)
  found = LOGITS(variables, IMAGES, CAPTIONS)
  for place in range(5):
    other = CAPTIONS.copy()
    other[..., place] = 0
    differ = np.abs(LOGITS(variables, IMAGES, other) - found).max(-1) > 1e-6
    np.testing.assert_array_equal(
      differ, np.broadcast_to(np.arange(5) >= place, differ.shape))


def test_features_without_places_are_one_place():
  class Mean(nn.Module):
    def __call__(self, images, *, train):
      return images.mean((1, 2))

  features = IMAGES.mean((1, 2), keepdims=True)
  one, other = Captioner(Mean(), 7, 1, 8, 2, dropout=0.0), Captioner(
    Pixels(), 7, 1, 8, 2, dropout=0.0)
  variables = variables_of(other, features, CAPTIONS)
  np.testing.assert_allclose(
    one.apply(variables, IMAGES, CAPTIONS, train=False),
    other.apply(variables, features, CAPTIONS, train=False), rtol=1e-5, atol=1e-6)
