"""Tests of bigmodels.models.transformer: who sees whom, counts, and token by token."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Transformer
from bigmodels.parallel.precision import in_precision

VOCABULARY = 31
SMALL = Transformer(VOCABULARY, depth=2, width=24, heads=4)
CHANCE = np.random.default_rng(0)
SOURCE = CHANCE.integers(VOCABULARY, size=(2, 7))
TARGET = CHANCE.integers(VOCABULARY, size=(2, 6))
both = pytest.mark.parametrize('model', [SMALL, SMALL.clone(norm_first=True)],
                               ids=['norm last', 'norm first'])
either = pytest.mark.parametrize('model', [
  pytest.param(SMALL, marks=pytest.mark.slow('compile'), id='norm last'),
  pytest.param(SMALL.clone(norm_first=True), id='norm first')])


def variables_of(model):
  """As large as the initial values, none of them zero or one."""
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), SOURCE,
                          TARGET)
  rng = np.random.default_rng(1)
  return jax.tree.map_with_path(
    lambda path, p: np.float32((path[-1].key == 'scale') + rng.normal(
      0, 0.2, p.shape)), shapes)


@partial(jax.jit, static_argnums=0)
def answer(model, variables, source, target, **segments):
  return model.apply(variables, source, target, **segments, train=False)


def assert_close(actual, expected, tolerance=2e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


def count(model):
  tokens = jax.ShapeDtypeStruct((1, 8), jnp.int32)
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), tokens,
                          tokens)
  return sum(math.prod(p.shape) for p in jax.tree.leaves(shapes['params']))


@both
def test_a_target_sees_its_past_and_all_of_the_source(model):
  variables = variables_of(model)
  before = np.asarray(answer(model, variables, SOURCE, TARGET))
  for place in (0, 3, 5):
    other = TARGET.copy()
    other[:, place] = (other[:, place] + 1) % VOCABULARY
    moved = np.abs(answer(model, variables, SOURCE, other) - before).max(-1)
    assert np.all(moved[:, :place] == 0) and np.all(moved[:, place:] > 1e-5)
  for place in (0, 6):
    other = SOURCE.copy()
    other[:, place] = (other[:, place] + 1) % VOCABULARY
    moved = np.abs(answer(model, variables, other, TARGET) - before).max(-1)
    assert np.all(moved > 1e-5)


@either
def test_padding_on_the_right_changes_nothing(model):
  variables, segments = variables_of(model), np.array([[1, 1, 1, 1, 0, 0, 0]])

  def loss(variables, source, target, segments):
    logits = model.apply(variables, source, target, segments=segments, train=False)
    return jnp.sum(jnp.sin(logits[:, :4])), logits[:, :4]

  graded = jax.jit(jax.value_and_grad(loss, has_aux=True))
  alone = graded(variables, SOURCE[:1, :4], TARGET[:1, :4], None)
  assert_close(graded(variables, SOURCE[:1], TARGET[:1], segments), alone, 1e-4)


def test_pairs_in_one_row_do_not_see_each_other():
  variables = variables_of(SMALL)
  found = answer(SMALL, variables, SOURCE, TARGET,
                 segments=np.array([[1, 1, 1, 2, 2, 2, 0]] * 2),
                 decoder_segments=np.array([[1, 1, 2, 2, 2, 0]] * 2))
  for source, target in ((slice(0, 3), slice(0, 2)), (slice(3, 6), slice(2, 5))):
    alone = answer(SMALL, variables, SOURCE[:, source], TARGET[:, target])
    assert_close(found[:, target], alone)


@either
def test_a_cache_fed_in_chunks_equals_the_whole(model):
  variables, cache, found = variables_of(model), {}, []
  segments = np.array([[1] * 7, [1] * 4 + [0] * 3])
  memory = jax.jit(partial(model.apply, train=False, method='encode'))(
    variables, SOURCE, segments=segments)
  step = jax.jit(partial(model.apply, decode=6, train=False, mutable=['cache'],
                         method='decode'))
  for part in np.split(TARGET, (2, 3, 4), axis=1):
    logits, cache = step({**variables, **cache}, part, memory, segments=segments)
    found.append(logits)
  assert_close(np.concatenate(found, 1),
               answer(model, variables, SOURCE, TARGET, segments=segments))


@pytest.mark.parametrize('how', [
  {'unroll': True}, pytest.param({'remat': 'full'}, marks=pytest.mark.slow('compile'))])
def test_any_way_to_run_the_stacks_is_the_same(how):
  model, variables = SMALL.clone(attention_dropout=0.2), variables_of(SMALL)

  def loss(variables, model):
    logits = model.apply(variables, SOURCE, TARGET, train=True,
                         rngs={'dropout': jax.random.key(0)})
    return jnp.mean(logits**2), logits

  found, other = (jax.jit(jax.value_and_grad(partial(
    loss, model=model.clone(**how)), has_aux=True))(variables)
    for how in ({}, how))
  assert_close(other, found)


def test_counts():
  # Vaswani et al., 2017, table 3: 65 and 213 million, with 37,000 tokens.
  base, big = Transformer(37_000), Transformer(37_000, width=1024, heads=16)
  norms = 2 * 512
  attention, dense = 4 * (512**2 + 512), 2 * 512 * 2048 + 2048 + 512
  by_hand = 37_000 * 512 + 6 * (3 * attention + 2 * dense + 5 * norms)
  assert count(base) == by_hand == 63_082_496
  assert count(base.clone(norm_first=True)) == by_hand + 2 * norms
  assert count(base) == pytest.approx(65e6, rel=0.05)
  assert count(big) == pytest.approx(213e6, rel=0.05)


def test_it_begins_by_knowing_little():
  model = Transformer(512, depth=2, width=64, heads=4)
  source, target = (CHANCE.integers(512, size=(4, 8)) for _ in range(2))
  variables = jax.jit(partial(model.init, train=False))(
    jax.random.key(0), source, target)
  logits = np.asarray(jax.nn.log_softmax(answer(model, variables, source, target)))
  # A norm of sqrt(width) against rows of length 1: logits of variance 1, for half a
  # nat more than ln(512).
  assert -logits.mean() == pytest.approx(math.log(512) + 0.5, abs=0.2)


def test_bfloat16_stays_near_float32():
  variables = variables_of(SMALL)
  expected = answer(SMALL, variables, SOURCE, TARGET)
  found = answer(in_precision(SMALL, 'bfloat16'), variables, SOURCE, TARGET)
  assert found.dtype == jnp.float32
  assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize('fields, message', [
  ({'heads': 5}, 'heads: must divide the width, 512, got 5'),
  ({'depth': 0}, 'depth: must be >= 1, got 0'),
  ({'hidden': 0}, 'hidden: must be >= 1, got 0'),
  ({'dropout': -1.0}, 'dropout: must be >= 0 and < 1, got -1.0'),
  ({'attention_dropout': 2.0}, 'attention_dropout: must be >= 0'),
])
def test_wrong_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    Transformer(VOCABULARY, **fields)
