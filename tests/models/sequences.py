"""What the models of sequences of features have in common, for their tests."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(4, 37, 6)).astype(np.float32)
LENGTHS = np.array([37, 20, 5, 1])


def variables_of(model, *inputs, seed=1):
  """As large as initial values, none of them zero."""
  shapes = jax.eval_shape(
    partial(model.init, train=False), jax.random.key(0), *inputs)
  rng = np.random.default_rng(seed)
  return jax.tree.map_with_path(
    lambda path, p: np.float32((path[-1].key == 'scale') + rng.normal(
      0, 0.3, p.shape)), shapes)


@partial(jax.jit, static_argnums=0)
def answer(model, variables, *inputs, lengths=None):
  return model.apply(variables, *inputs, lengths=lengths, train=False)


def check_padding(model, *more):
  """Neither the values of padding nor how much there is changes a real output."""
  variables = variables_of(model, FEATURES, *more)
  expected, sizes = answer(model, variables, FEATURES, *more, lengths=LENGTHS)[-2:]
  beyond = np.arange(37) >= LENGTHS[:, None]
  other = np.where(beyond[..., None], 50.0, FEATURES)
  longer = np.pad(FEATURES, ((0, 0), (0, 11), (0, 0)), constant_values=3.0)
  for inputs in (other, longer):
    found, same = answer(model, variables, inputs, *more, lengths=LENGTHS)[-2:]
    np.testing.assert_array_equal(same, sizes)
    for row, size in enumerate(np.asarray(sizes)):
      np.testing.assert_allclose(found[row, :size], expected[row, :size], atol=2e-5)
  alone, size = answer(model, variables, FEATURES[1:2, :20],
                       *(x[1:2] for x in more))[-2:]
  np.testing.assert_allclose(alone[0], expected[1, : int(size[0])], atol=2e-5)
  return np.asarray(sizes), expected.shape


def check_gradient_of_padding(model, *more):
  """No gradient reaches the padding."""
  variables = variables_of(model, FEATURES, *more)

  def total(inputs):
    logits, sizes = model.apply(
      variables, inputs, *more, lengths=jnp.asarray(LENGTHS), train=False)[-2:]
    real = jnp.arange(logits.shape[1]) < sizes[:, None]
    return jnp.sum(jnp.where(real[..., None], jnp.sin(logits), 0))

  slope = np.asarray(jax.jit(jax.grad(total))(FEATURES))
  beyond = np.arange(37) >= LENGTHS[:, None]
  assert not slope[beyond].any() and np.isfinite(slope).all()
  assert (np.abs(slope[~beyond]).sum(-1) > 0).all()
