"""Tests of bigmodels.models.gpt: who sees whom, counts, and texts token by token."""

import math
import time
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import Gpt, ModernGpt
from bigmodels.parallel.precision import in_precision

VOCABULARY, LENGTH = 31, 8
SMALL = {'vocabulary': VOCABULARY, 'length': LENGTH, 'depth': 2, 'width': 24,
         'heads': 4}
MODELS = {
  'learned': Gpt(**SMALL),
  'modern': ModernGpt(**SMALL, kv_heads=2, rotary_base=100.0),
}
TOKENS = np.random.default_rng(0).integers(VOCABULARY, size=(2, LENGTH))
both = pytest.mark.parametrize('model', MODELS.values(), ids=MODELS)


def variables_of(model):
  """Larger than the initial values, at which each text is nearly the same."""
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), TOKENS)
  rng = np.random.default_rng(1)
  return jax.tree.map_with_path(
    lambda path, p: np.float32((path[-1].key == 'scale') + rng.normal(
      0, 0.1, p.shape)), shapes)


@partial(jax.jit, static_argnums=0)
def answer(model, variables, tokens, segments=None):
  return model.apply(variables, tokens, segments=segments, train=False)


def assert_close(actual, expected, tolerance=2e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


def count(model):
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0),
                          jax.ShapeDtypeStruct((1, 8), jnp.int32))
  return sum(math.prod(p.shape) for p in jax.tree.leaves(shapes['params']))


# --- who sees whom --------------------------------------------------------------


@both
def test_a_token_sees_itself_and_what_is_before_it(model):
  variables = variables_of(model)
  # Tokens of a vocabulary of positions: a row of the table for each of them.
  table = variables['params']['tokens']['embedding'][TOKENS[0]]
  tokens = np.arange(LENGTH)[None]
  model = model.clone(vocabulary=LENGTH, tied=False)
  params = {**variables['params'], 'head': {
    'kernel': jax.random.normal(jax.random.key(2), (24, LENGTH))}}

  @jax.jit
  @jax.jacobian
  def moved_by(table):
    here = {'params': {**params, 'tokens': {'embedding': table}}}
    return model.apply(here, tokens, train=False)[0].sum(-1)

  found = np.abs(moved_by(table)).max(-1)  # [logits, tokens]
  assert np.all(found[~np.tri(LENGTH, dtype=bool)] == 0)
  assert np.all(found[np.tri(LENGTH, dtype=bool)] > 1e-4)


@pytest.mark.parametrize('model', [
  pytest.param(MODELS[name], id=name, marks=(
    () if name == 'modern' else pytest.mark.slow('compile'))) for name in MODELS])
def test_padding_on_the_left_changes_nothing(model):
  variables, lengths, batch = variables_of(model), (5, 3), np.full((2, LENGTH), 7)
  segments = np.zeros((2, LENGTH), np.int32)
  for row, length in enumerate(lengths):
    batch[row, -length:] = TOKENS[row, :length]
    segments[row, -length:] = 1

  def padded(variables):
    logits = model.apply(variables, batch, segments=segments, train=False)
    return [logits[row, -length:] for row, length in enumerate(lengths)]

  def alone(variables):
    return [model.apply(variables, TOKENS[[row], :length], train=False)[0]
            for row, length in enumerate(lengths)]

  def loss(variables, logits):
    logits = logits(variables)
    return sum(jnp.sum(jnp.sin((1 + n) * x)) for n, x in enumerate(logits)), logits

  found, expected = (jax.jit(jax.value_and_grad(partial(
    loss, logits=logits), has_aux=True))(variables) for logits in (padded, alone))
  assert_close(found, expected, 1e-4)


@both
def test_documents_in_one_row_do_not_see_each_other(model):
  variables = variables_of(model)
  segments = np.array([[1, 1, 1, 2, 2, 2, 2, 0], [0, 4, 4, 4, 4, 2, 2, 2]])
  found = np.asarray(answer(model, variables, TOKENS, segments))
  for starts, length in (((0, 5), 3), ((3, 1), 4)):
    here = np.arange(2)[:, None], np.add.outer(starts, np.arange(length))
    assert_close(found[here], answer(model, variables, TOKENS[here]))


# --- token by token -------------------------------------------------------------


@both
def test_a_cache_fed_in_chunks_equals_the_whole(model):
  variables, cache, found = variables_of(model), {}, []
  step = jax.jit(partial(model.apply, decode=LENGTH, train=False, mutable=['cache']))
  for part in np.split(TOKENS, (3, 4, 5), axis=1):
    logits, cache = step({**variables, **cache}, part)
    found.append(logits)
  assert_close(np.concatenate(found, 1), answer(model, variables, TOKENS))


@both
def test_prompts_of_different_lengths_are_padded_on_the_left(model):
  variables, lengths = variables_of(model), (4, 2)
  prompts, segments = np.full((2, 4), 9), np.zeros((2, 4), np.int32)
  for row, length in enumerate(lengths):
    prompts[row, -length:] = TOKENS[row, :length]
    segments[row, -length:] = 1
  step = jax.jit(partial(model.apply, decode=LENGTH, train=False, mutable=['cache']))
  logits, cache = step(variables, prompts, segments=segments)
  found = [logits[:, -1]]
  for n in range(3):
    following = np.stack([TOKENS[row, length + n] for row, length in
                          enumerate(lengths)])[:, None]
    logits, cache = step({**variables, **cache}, following)
    found.append(logits[:, 0])
  whole = answer(model, variables, TOKENS)  # whose ends the beginnings do not see
  for row, length in enumerate(lengths):
    assert_close(np.stack(found)[:, row], whole[row, length - 1:length + 3])


# --- the stack ------------------------------------------------------------------


def test_any_way_to_run_the_stack_is_the_same():
  model = MODELS['modern'].clone(dropout=0.2, attention_dropout=0.2)
  variables = variables_of(model)

  def loss(params, model):
    logits = model.apply(
      {'params': params}, TOKENS, segments=np.array([[1] * 4 + [2] * 4, [1] * 8]),
      train=True, rngs={'dropout': jax.random.key(0)})
    return jnp.mean(logits**2), logits

  found = [jax.jit(jax.value_and_grad(partial(
    loss, model=model.clone(**how)), has_aux=True))(variables['params'])
    for how in ({}, {'unroll': True}, {'remat': 'full'})]
  for other in found[1:]:
    assert_close(other, found[0])


def test_the_program_is_as_long_for_any_depth():
  def lines(depth):
    model = Gpt(**{**SMALL, 'depth': depth})
    shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), TOKENS)
    graded = jax.jit(jax.grad(lambda v: model.apply(v, TOKENS, train=True).sum()))
    return len(graded.lower(shapes).as_text().splitlines())

  assert lines(2) == lines(8) == lines(32) > 100


# --- counts ---------------------------------------------------------------------


@pytest.mark.parametrize('fields, parameters', [
  ({}, 124_439_808),  # Hugging Face's gpt2, -medium, -large, -xl
  ({'depth': 24, 'width': 1024, 'heads': 16}, 354_823_168),
  ({'depth': 36, 'width': 1280, 'heads': 20}, 774_030_080),
  ({'depth': 48, 'width': 1600, 'heads': 25}, 1_557_611_200),
])
def test_counts_of_gpt_2(fields, parameters):
  assert count(Gpt(50_257, **fields)) == parameters


def test_gpt_3_is_described_in_no_time():
  before = time.perf_counter()
  found = count(Gpt(50_257, 2048, 96, 12_288, 96))
  assert found == pytest.approx(174.6e9, rel=0.01)  # Brown et al., 2020, table 2.1
  assert time.perf_counter() - before < 10


def test_count_of_llama():
  # Touvron et al., 2023: 6.7 billion, table 2; the shapes of their code.
  hidden = 11_008
  block = 4 * 4096**2 + 3 * 4096 * hidden + 2 * 4096
  assert 32 * block + 2 * 32_000 * 4096 + 4096 == 6_738_415_616
  assert count(ModernGpt(32_000, 2048, 32, 4096, 32, hidden=hidden)) == 6_738_415_616
  grouped = ModernGpt(32_000, 2048, 32, 4096, 32, kv_heads=8, hidden=hidden)
  assert count(grouped) == 6_738_415_616 - 32 * 2 * 4096 * (4096 - 1024)


def test_a_gated_part_is_as_large_as_one_that_is_not():
  plain, gated = (count(Gpt(50, width=768, use_bias=False, gated=g))
                  for g in (False, True))
  assert gated == plain  # 8 / 3 of 768 is a multiple of 64
  assert count(Gpt(50, width=72, gated=True, use_bias=False, depth=1)) - count(
    Gpt(50, width=72, use_bias=False, depth=1)) == 3 * 72 * 192 - 2 * 72 * 288


# --- values ---------------------------------------------------------------------


@both
def test_it_begins_by_knowing_nothing(model):
  model = model.clone(vocabulary=512, width=64, depth=4)
  tokens = np.random.default_rng(0).integers(512, size=(4, LENGTH + 1))
  variables = jax.jit(partial(model.init, train=False))(
    jax.random.key(0), tokens[:, :-1])
  logits = jax.nn.log_softmax(answer(model, variables, tokens[:, :-1]))
  loss = -np.take_along_axis(np.asarray(logits), tokens[:, 1:, None], -1).mean()
  assert loss == pytest.approx(math.log(512), abs=0.1)


def test_initial_values_are_gpt_2s():
  model = Gpt(1024, 256, depth=8, width=128, heads=4)
  params = jax.jit(partial(model.init, train=False))(
    jax.random.key(0), TOKENS)['params']
  block = params['blocks']['block']
  for kernel in (params['tokens']['embedding'], params['positions']['embedding'],
                 block['attention']['query']['kernel'],
                 block['feed_forward']['in']['kernel']):
    assert np.std(kernel) == pytest.approx(0.02, rel=0.03)
  for part in ('attention', 'feed_forward'):
    assert np.std(block[part]['out']['kernel']) == pytest.approx(0.02 / 4, rel=0.03)
  assert not np.any(block['attention']['query']['bias'])


@both
def test_bfloat16_stays_near_float32(model):
  variables = variables_of(model)
  half, expected = in_precision(model, 'bfloat16'), answer(model, variables, TOKENS)
  found = answer(half, variables, TOKENS)
  assert found.dtype == jnp.float32
  assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
  step = jax.jit(partial(half.apply, decode=LENGTH, train=False, mutable=['cache']))
  _, cache = step(variables, TOKENS[:, :3])
  one, _ = step({**variables, **cache}, TOKENS[:, 3:4])
  assert np.abs(one[:, 0] - expected[:, 3]).max() < 0.03 * np.abs(expected).max()


# --- what it refuses ------------------------------------------------------------


@pytest.mark.parametrize('fields, message', [
  ({'heads': 5}, 'heads: must divide the width, 24, got 5'),
  ({'heads': 0}, 'heads: must divide the width, 24, got 0'),
  ({'kv_heads': 3}, 'kv_heads: must divide the 4 heads, got 3'),
  ({'depth': 0}, 'depth: must be >= 1, got 0'),
  ({'width': 0}, 'width: must be >= 1, got 0'),
  ({'hidden': -4}, 'hidden: must be >= 1, got -4'),
  ({'rotary_base': 0.0}, 'rotary_base: must be > 0 and finite, got 0.0'),
  ({'positions': 'rotery'},
   "positions: must be one of 'learned', 'rotary'; got 'rotery'"),
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'attention_dropout': 2.0}, 'attention_dropout: must be >= 0'),
])
def test_wrong_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    Gpt(**{**SMALL, **fields})


@pytest.mark.parametrize('options', [{}, {'decode': 12}])
def test_a_text_that_is_too_long(options):
  tokens = np.zeros((1, 5 if options else 12), int)
  with pytest.raises(ValueError, match=r'12 tokens is longer than .* accepts: 8'):
    Gpt(**SMALL).init(jax.random.key(0), tokens, **options, train=False)


def test_norms_and_activations_are_made_by_callables():
  model = Gpt(**SMALL, norm=nn.RMSNorm, activation=nn.relu)
  params = variables_of(model)['params']
  assert set(params['norm']) == {'scale'}
