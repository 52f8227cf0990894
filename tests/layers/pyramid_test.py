"""Tests of layers.pyramid: what reaches a map, and bodies that do not fit."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import models
from bigmodels.layers.pyramid import FeaturePyramid, body_maps, enlarged


def test_enlarged_repeats_pixels():
  x = np.arange(6.0).reshape(1, 2, 3, 1)
  np.testing.assert_array_equal(
    enlarged(x, (4, 9))[0, ..., 0], np.kron(x[0, ..., 0], np.ones((2, 3))))


def test_every_map_depends_on_the_coarser_ones_alone():
  sides = (8, 4, 2)
  maps = [np.ones((1, n, n, 3), np.float32) for n in sides]
  pyramid = FeaturePyramid(4)
  variables = jax.jit(partial(pyramid.init, train=False))(jax.random.key(0), maps)
  apply = jax.jit(partial(pyramid.apply, variables, train=False))
  found = apply(maps)
  assert [x.shape for x in found] == [(1, n, n, 4) for n in sides]
  for other in range(3):
    changed = apply([x + (level == other) for level, x in enumerate(maps)])
    assert [bool((x != y).any()) for x, y in zip(found, changed, strict=True)] == [
      level <= other for level in range(3)]
  finest, = jax.eval_shape(
    partial(FeaturePyramid(4, 1).apply, variables, train=False), maps)
  assert finest.shape == (1, 8, 8, 4)


@pytest.mark.parametrize('body, strides', [
  (models.ResNet(None, depth=18, width=4), (4, 8, 16, 32)),
  (models.ResNet(None, depth=18, width=4, stem='cifar'), (1, 2, 4, 8)),
  (models.CifarResNet(None, depth=8, width=4), (1, 2, 4)),
  (models.MobileNetV1(None, multiplier=0.1), (4, 8, 16, 32)),
  (models.MobileNetV2(None, multiplier=0.1), (4, 8, 16, 32)),
  (models.MobileNetV2(None, multiplier=0.1, reduction=8), (2, 4, 8))])
def test_bodies_have_a_map_of_each_stride(body, strides):
  class Maps(nn.Module):
    body: nn.Module

    def __call__(self, x):
      return body_maps(self.body, x, strides, train=False)

  found = jax.eval_shape(
    lambda x: Maps(body).init_with_output(jax.random.key(0), x)[0],
    jax.ShapeDtypeStruct((1, 64, 32, 3), jnp.float32))
  assert [x.shape[1:3] for x in found] == [(64 // n, 32 // n) for n in strides]


def call(body, strides, shape=(1, 64, 32, 3)):
  return jax.eval_shape(
    lambda x: models.CenterNet(2, body, 4, strides).init(
      jax.random.key(0), x, train=False),
    jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize('body, strides, shape, message', [
  (models.CifarResNet(None, depth=8, width=4), (4, 8), (1, 64, 64, 3),
   'strides: CifarResNet has maps of the strides 1, 2, 4, got 8'),
  (models.CifarResNet(None, depth=8, width=4), (1, 2), (1, 64, 64, 3),
   'strides: must end with 4, that of the coarsest map of CifarResNet, got 2'),
  (models.CifarResNet(None, depth=8, width=4), (2, 4), (1, 64, 42, 3),
   'images must have sides that 4 divides, the largest stride, got 42 x 64'),
  (models.CifarResNet(3, depth=8, width=4), (2, 4), (1, 64, 64, 3),
   'body: CifarResNet must be without a head: num_outputs=None')])
def test_bodies_that_do_not_fit(body, strides, shape, message):
  with pytest.raises(ValueError, match=message):
    call(body, strides, shape)
