"""Tests of bigmodels.layers.stack against the same blocks one after the other."""

import functools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.stack import Stack

POLICIES = ('none', 'dots', 'full')
WIDTH = 32


class Block(nn.Module):
  """A residual block with all that a stack has to carry: statistics and dropout."""

  width: int = WIDTH
  hidden: int = 64
  dropout: float = 0.0
  batch_norm: bool = False

  @nn.compact
  def __call__(self, x, *, train):
    h = nn.LayerNorm()(x)
    if self.batch_norm:
      h = nn.BatchNorm(use_running_average=not train, momentum=0.5)(h)
    h = nn.gelu(nn.Dense(self.hidden)(h))
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    self.sow('seen', 'h', h)
    return x + nn.Dense(self.width)(h)


def _variables(model):
  """Initial values, moved away from the zeros and ones that some begin with."""
  rng = np.random.default_rng(0)
  variables = dict(_initial(model))
  del variables['seen']
  return jax.tree.map(lambda v: v + 0.1 * rng.uniform(size=v.shape).astype(v.dtype),
                      variables)


@functools.cache
def _initial(model):
  return jax.jit(partial(model.init, train=False))(jax.random.key(1), _inputs())


def _inputs(rows=8):
  return jax.random.normal(jax.random.key(0), (rows, WIDTH))


def _assert_close(actual, expected, tolerance=2e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


def _one_after_the_other(block, variables, x, train):
  """What a stack should give, and the statistics it should leave."""
  depth = len(jax.tree.leaves(variables)[0])
  statistics = []
  for layer in range(depth):
    own = jax.tree.map(lambda v, n=layer: v[n], variables)
    own = {name: collection['block'] for name, collection in own.items()}
    x, updated = block.apply(own, x, train=train, mutable=['batch_stats'])
    statistics.append(updated)
  return x, jax.tree.map(lambda *s: jnp.stack(s), *statistics)


# --- what it computes -----------------------------------------------------------


RECIPE = partial(Block, batch_norm=True)


def _graded(run, variables, x):
  """Of `run(variables, x)`, which answers (y, updated): both, and the gradients."""
  weights = np.random.default_rng(3).normal(size=x.shape)

  def loss(params, x):
    y, updated = run({**variables, 'params': params}, x)
    return jnp.sum(weights * y), (y, updated)

  return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
    variables['params'], x)


@functools.cache
def _expected(depth, train):
  """Variables of a stack, and what it should give."""
  variables = _variables(Stack(RECIPE, depth))
  return variables, _graded(
    partial(_one_after_the_other, RECIPE(), train=train), variables, _inputs())


@pytest.mark.parametrize('depth, train, remat', [
  *((3, train, remat) for train in (True, False) for remat in POLICIES),
  (1, True, 'none'), (1, True, 'full')])
def test_equals_blocks_one_after_the_other(depth, train, remat):
  variables, ((expected, (y_, updated_)), gradients_) = _expected(depth, train)
  stack, x = Stack(RECIPE, depth, remat), _inputs()
  (actual, (y, updated)), gradients = _graded(partial(
    stack.apply, train=train, mutable=['batch_stats']), variables, x)
  assert y.shape == x.shape and y.dtype == x.dtype
  _assert_close((actual, y), (expected, y_))
  _assert_close(gradients, gradients_, 1e-4)
  _assert_close(updated['batch_stats']['block'], updated_['batch_stats'])
  moved = updated['batch_stats']['block']['BatchNorm_0']['mean']
  assert np.any(moved != variables['batch_stats']['block']['BatchNorm_0']['mean']) == (
    train)


def test_policies_give_the_same_gradients_with_dropout():
  x, key, found, block = _inputs(), jax.random.key(5), {}, partial(Block, dropout=0.5)
  params = _variables(Stack(block, 4))['params']
  for remat in POLICIES:
    stack = Stack(block, 4, remat)

    def loss(params, stack=stack):
      y = stack.apply({'params': params}, x, train=True, rngs={'dropout': key})
      return jnp.mean(y**2)

    found[remat] = jax.jit(jax.value_and_grad(loss))(params)
  for remat in POLICIES[1:]:
    # Another mask would change these by half.
    _assert_close(found[remat], found['none'], 1e-5)


@pytest.mark.parametrize('remat', POLICIES)
def test_dropout_masks_differ_between_layers(remat):
  block = partial(Block, dropout=0.5)
  x, variables = jnp.abs(_inputs(64)) + 1, _variables(Stack(block, 3))
  _, seen = jax.jit(partial(Stack(block, 3, remat).apply, train=True,
                            mutable=['seen']))(
    variables, x, rngs={'dropout': jax.random.key(0)})
  dropped = np.asarray(seen['seen']['block']['h'][0]) == 0
  assert dropped.shape == (3, 64, 64)
  for a, b in ((0, 1), (0, 2), (1, 2)):
    assert np.mean(dropped[a] == dropped[b]) == pytest.approx(0.5, abs=0.05)


def test_layers_begin_apart_and_at_the_scale_of_one():
  depth, hidden = 16, 64
  params = _initial(Stack(partial(Block, hidden=hidden), depth))['params']['block']
  for name, fan_in, shape in (('Dense_0', WIDTH, (depth, WIDTH, hidden)),
                              ('Dense_1', hidden, (depth, hidden, WIDTH))):
    kernel = np.asarray(params[name]['kernel'])
    assert kernel.shape == shape
    np.testing.assert_allclose(kernel.std((1, 2)), fan_in**-0.5, rtol=0.1)
    across = np.corrcoef(kernel.reshape(depth, -1)) - np.eye(depth)
    assert np.abs(across).max() < 0.15


def test_policies_begin_with_the_same_bits():
  first, *others = (_initial(Stack(Block, 3, remat)) for remat in POLICIES)
  for other in others:
    jax.tree.map(np.testing.assert_array_equal, first, other)


# --- what it costs --------------------------------------------------------------


def _gradient(depth, remat, hidden=256, rows=512):
  stack = Stack(partial(Block, hidden=hidden), depth, remat)
  x = jax.ShapeDtypeStruct((rows, WIDTH), jnp.float32)
  params = jax.eval_shape(partial(stack.init, train=False), jax.random.key(0), x)

  def loss(params, x):
    return jnp.sum(stack.apply(params, x, train=True) ** 2)

  return jax.jit(jax.grad(loss)).trace(params, x)


def test_less_kept_takes_less_memory():
  depth, hidden, rows = 24, 256, 512
  temporary = {
    remat: _gradient(depth, remat, hidden, rows).lower().compile()
    .memory_analysis().temp_size_in_bytes for remat in POLICIES}
  assert temporary['full'] < temporary['dots'] < temporary['none']
  # 'full' keeps the inputs of the blocks, `[depth, rows, WIDTH]`, and works in one
  # block at a time; 'dots' keeps the wide product of each block as well.
  inputs, wide = (4 * depth * rows * width for width in (WIDTH, hidden))
  assert temporary['full'] < inputs + 8 * wide / depth
  assert temporary['dots'] > inputs + wide
  assert temporary['full'] < temporary['none'] / 4


@pytest.mark.parametrize('remat', POLICIES)
def test_the_program_is_as_long_for_any_depth(remat):
  equations = {depth: str(_gradient(depth, remat).jaxpr).count(' = ')
               for depth in (2, 3, 48)}
  assert equations[2] > 20
  assert len(set(equations.values())) == 1


# --- what it refuses ------------------------------------------------------------


@pytest.mark.parametrize(('arguments', 'message'), [
  ({'depth': 0}, 'depth: must be >= 1, got 0'),
  ({'remat': 'ful'}, "remat: must be one of 'none', 'dots', 'full'; got 'ful'"),
  ({'remat': None}, 'remat: must be one of .*; got None'),
  ({'block': Block()}, r'block: must be .*, such as partial\(Block.*got Block'),
  ({'block': 64}, 'block: must be callable.*got int'),
])
def test_wrong_fields(arguments, message):
  with pytest.raises(ValueError, match=message):
    Stack(**{'block': Block, 'depth': 2, **arguments})


@pytest.mark.parametrize(('dtype', 'message'), [
  ('float32', r'float32 \(8, 32\) became float32 \(8, 5\)'),
  ('bfloat16', r'bfloat16 \(8, 32\) became float32 \(8, 32\)'),
])
def test_blocks_that_change_shape_or_dtype(dtype, message):
  class Changing(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      return nn.Dense(5)(x) if x.dtype == jnp.float32 else x.astype(jnp.float32)

  with pytest.raises(ValueError, match=message):
    Stack(Changing, 2).init(jax.random.key(0), _inputs().astype(dtype), train=False)
