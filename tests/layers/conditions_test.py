"""Tests of bigmodels.layers.conditions: what the encoding of time and class tells."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.conditions import conditions


class Encoded(nn.Module):
  classes: int

  @nn.compact
  def __call__(self, times, labels):
    return conditions(times, labels, self.classes, 8, 16, jnp.float32)


TIMES, LABELS = jnp.array([0.2, 0.201, 0.2]), jnp.array([0, 0, 2])


@pytest.mark.parametrize('classes', [0, 2])
def test_close_times_differ_and_so_do_classes(classes):
  model = Encoded(classes)
  found = np.asarray(jax.jit(lambda key: model.init_with_output(key, TIMES, LABELS)[0])(
    jax.random.PRNGKey(0)))
  assert found.shape == (3, 16)
  assert np.abs(found[1] - found[0]).max() > 1e-2  # a step of DDPM's 1,000
  assert (np.abs(found[2] - found[0]).max() > 1e-2) == bool(classes)
