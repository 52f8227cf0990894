"""Tests of models.CenterNet: its outputs and its prior.

It learns one batch by heart in detectors_test.py.
"""

import jax
import numpy as np
import pytest

from bigmodels import models
from tests.tasks.detecting import SHAPE

BODY = models.CifarResNet(None, depth=8, width=4)
MODEL = models.CenterNet(3, BODY, width=8, strides=(4,))


def test_shapes_and_the_prior():
  images = np.random.default_rng(0).normal(size=(2, *SHAPE, 1)).astype(np.float32)
  outputs, _ = jax.jit(lambda key: MODEL.init_with_output(key, images, train=False))(
    jax.random.key(0))
  assert {name: x.shape for name, x in outputs.items()} == {
    'centres': (2, 8, 10, 3), 'sizes': (2, 8, 10, 2), 'offsets': (2, 8, 10, 2)}
  assert np.mean(outputs['centres']) == pytest.approx(np.log(0.1 / 0.9), abs=0.5)
  # Features count from the beginning; otherwise rare classes are never found.
  assert np.std(outputs['centres']) > 0.1


def test_wrong_settings():
  with pytest.raises(ValueError, match=r'strides: must be >= 1, got \(0,\)'):
    models.CenterNet(3, BODY, strides=(0,))
