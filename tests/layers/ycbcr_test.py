"""Tests of layers.ycbcr against the values that the standard gives."""

import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers import ycbcr


# ITU-R BT.601 with 8 bits: the corners of the cube of colours, rounded.
@pytest.mark.parametrize('rgb, expected', [
  ((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)),
  ((255, 0, 0), (81, 90, 240)), ((0, 255, 0), (145, 54, 34)),
  ((0, 0, 255), (41, 240, 110))])
def test_known_colours(rgb, expected):
  found = ycbcr.from_rgb(np.array(rgb, np.float64))
  np.testing.assert_array_equal(np.round(found), expected)


def test_back_and_forth():
  rgb = np.random.default_rng(0).uniform(0, 255, (4, 5, 3))
  np.testing.assert_allclose(ycbcr.to_rgb(ycbcr.from_rgb(rgb)), rgb, atol=1e-10)
  traced = jnp.asarray(rgb, jnp.float32)
  np.testing.assert_allclose(ycbcr.to_rgb(ycbcr.from_rgb(traced)), rgb, atol=1e-3)
