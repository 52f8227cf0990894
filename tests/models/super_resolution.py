"""What the tests of networks that enlarge images share."""

import jax
import jax.numpy as jnp
import numpy as np


def random(model, seed=0):
  """Parameters of NumPy's, biases and statistics too, which need no compilation."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(lambda: model.init(
    jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.ones((1, 8, 8), bool), train=False))
  found = jax.tree.map(lambda x: np.asarray(rng.normal(size=x.shape) * (
    1 / np.prod(x.shape[:-1]) if x.ndim > 1 else 0.01) ** 0.5, np.float32), shapes)
  return {name: jax.tree.map(lambda x: 0.5 + abs(x), each)
          if name == 'batch_stats' else each for name, each in found.items()}


def enlarged(model, variables, images, inside=None):
  inside = np.ones(images.shape[:3], bool) if inside is None else inside
  return jax.jit(lambda x, y: model.apply(variables, x, y, train=False))(images, inside)


def check_padding_changes_nothing(model):
  """Whatever lies around an image, it is enlarged as without it."""
  rng, variables = np.random.default_rng(1), random(model)
  image = rng.uniform(size=(1, 9, 11, 1)).astype(np.float32)
  margin = ((0, 0), (2, 5), (4, 3))
  padded = np.pad(image, (*margin, (0, 0)), constant_values=0.7)
  inside = np.pad(np.ones((1, 9, 11), bool), margin)
  scale, whole = model.scale, enlarged(model, variables, image)
  found, plain = enlarged(  # both in one program
    model, variables, np.concatenate([padded, padded]),
    np.concatenate([inside, np.ones_like(inside)]))[
      :, 2 * scale : 11 * scale, 4 * scale : 15 * scale]
  np.testing.assert_allclose(found, whole[0], atol=2e-5)
  assert not np.allclose(plain, whole[0], atol=1e-2)


def read_by(model, at):
  """The rows of the input that a row of the output reads, by the gradient."""
  variables, size = random(model), 2 * model.radius + 9
  inside = jnp.ones((1, size, size), bool)

  def pixel(x):
    found = model.apply(variables, x, inside, train=False)
    return found[0, at + size // 2 * model.scale, size // 2 * model.scale, 0]

  gradient = jax.jit(jax.grad(pixel))(
    np.random.default_rng(0).uniform(size=(1, size, size, 1)).astype(np.float32))
  rows = np.flatnonzero(np.abs(gradient[0, :, :, 0]).max(1))
  return size // 2 - rows.min(), rows.max() - size // 2
