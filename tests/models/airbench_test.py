from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models.airbench import Airbench, identity

WHITENING = np.random.default_rng(0).normal(size=(2, 2, 3, 24)).tolist()
MODEL = Airbench(10, WHITENING)


def test_it_has_as_many_parameters_as_published_layers_have():
  shapes = jax.eval_shape(partial(MODEL.init, train=False), jax.random.key(0),
                          jnp.zeros((2, 32, 32, 3)))
  convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
  biases = 24 + 2 * (64 + 256 + 256)
  assert sum(p.size for p in jax.tree.leaves(shapes['params'])) == (
    convolutions + biases + 256 * 10)
  assert not any(path[-1].key == 'scale' for path, _ in
                 jax.tree.leaves_with_path(shapes['params']))


def test_convolutions_begin_as_the_identity_of_their_channels():
  kernel = identity(jax.random.key(0), (3, 3, 4, 6))
  x = np.random.default_rng(0).normal(size=(1, 5, 5, 4)).astype(np.float32)
  y = jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME',
                                   dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  np.testing.assert_allclose(y[..., :4], x, atol=1e-6)
  rest = np.asarray(kernel[..., 4:])
  assert np.abs(rest).max() <= 1 / 6 and rest.std() > 0.07  # 1 / 6 / sqrt(3) = 0.096


@pytest.mark.parametrize('activation', [
  partial(jax.nn.gelu, approximate=False), jax.nn.silu])
def test_the_first_layer_is_the_given_kernel_and_shape(activation):
  """Widths so small that the layers after the first can be followed by hand."""
  kernel = np.zeros((1, 1, 1, 2), np.float32)
  kernel[..., 0], kernel[..., 1] = 1, -1
  given = {} if activation is not jax.nn.silu else {'activation': activation}
  model = Airbench(3, kernel.tolist(), widths=(2,), **given)
  x = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
  variables = jax.jit(partial(model.init, train=False))(jax.random.key(1), x)
  found = jax.jit(partial(model.apply, train=False))(variables, x)

  # The identity, twice, and statistics of a mean 0 and a variance 1.
  y = jax.nn.gelu(np.concatenate([x, -x], -1), approximate=False)
  y = y.reshape(4, 4, 2, 4, 2, 2).max((2, 4))
  y = activation(activation(y))[:, :3, :3].max((1, 2))
  expected = y @ variables['params']['head']['kernel'] / 2
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('shape', [(2, 32, 32, 1), (2, 24, 32, 3), (2, 32, 32)])
def test_images_it_does_not_take(shape):
  with pytest.raises(ValueError, match=r'\[batch, height, width, 3\] of at least 25 x '
                                       r'25, got \(2, '):
    jax.eval_shape(partial(MODEL.init, train=False), jax.random.key(0),
                   jnp.zeros(shape))


def test_what_it_is_not_made_of():
  with pytest.raises(ValueError, match='needs images of floats, got uint8'):
    jax.eval_shape(partial(MODEL.init, train=False), jax.random.key(0),
                   jnp.zeros((2, 32, 32, 3), jnp.uint8))
  for field, value in {'num_outputs': 0, 'widths': (8, 0, 8), 'momentum': 2.0}.items():
    with pytest.raises(ValueError, match=f'{field}: must be'):
      MODEL.clone(**{field: value})
