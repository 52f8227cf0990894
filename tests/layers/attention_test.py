"""Tests of bigmodels.layers.attention against NumPy in float64 and PyTorch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.attention import Attention, attend, same_segment
from bigmodels.parallel.random import slice_key

BATCH, QUERIES, KEYS, WIDTH = 2, 5, 7, 12
SEGMENTS = np.array([[1, 1, 2, 2, 0], [0, 0, 1, 1, 1]], np.int32)


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(actual, expected, tolerance=1e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


def by_hand(query, key, value, mask=None, kept=None):
  """Attention in float64, head by head; `kept` scales the weights."""
  query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
  heads, width = query.shape[2:]
  answer = np.zeros_like(query)
  for head in range(heads):
    other = head // (heads // key.shape[2])  # neighbours share keys and values
    scores = np.einsum('bqd,bkd->bqk', query[:, :, head], key[:, :, other])
    weights = np.exp(scores / np.sqrt(width))
    if mask is not None:
      weights = weights * np.broadcast_to(mask, (len(mask), heads, *scores.shape[1:])
                                          )[:, head]
    weights = weights / weights.sum(-1, keepdims=True)
    if kept is not None:
      weights = weights * np.asarray(kept, np.float64)[:, head]
    answer[:, :, head] = np.einsum('bqk,bkd->bqd', weights, value[:, :, other])
  return answer


def drawn(layer, *args, **kwargs):
  """Parameters as large as the initial ones, none of them zero."""
  shapes = jax.eval_shape(
    partial(layer.init, train=False), jax.random.key(1), *args, **kwargs)['params']
  leaves, tree = jax.tree.flatten(shapes)
  return {'params': tree.unflatten(
    [normal(*p.shape, seed=n) / np.sqrt(WIDTH) for n, p in enumerate(leaves)])}


@partial(jax.jit, static_argnums=0,
         static_argnames=('train', 'decode', 'mutable'))
def apply(layer, variables, *args, train=False, **options):
  return layer.apply(variables, *args, train=train, **options)


# --- attend ---------------------------------------------------------------------


MASKS = {
  'none': None,
  'padding': np.arange(KEYS) < np.array([4, 7])[:, None, None, None],
  'full': (normal(BATCH, 1, QUERIES, KEYS) > 0) | np.eye(QUERIES, KEYS, dtype=bool),
  'heads': (normal(BATCH, 4, QUERIES, KEYS) > 0) | np.eye(QUERIES, KEYS, dtype=bool),
}


@pytest.mark.parametrize('backend, dropped', [
  ('cpu', False), ('cpu', True), ('gpu', False)])
@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('mask', MASKS)
@pytest.mark.parametrize('kv_heads', [4, 2, 1])
def test_attend_equals_numpy(monkeypatch, kv_heads, mask, causal, backend, dropped):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  mask = MASKS[mask]
  query = normal(BATCH, QUERIES, 4, 3)
  key, value = (normal(BATCH, KEYS, kv_heads, 3, seed=s) for s in (1, 2))
  seen = np.ones((1, 1, 1, 1), bool) if mask is None else mask
  if causal:
    seen = seen & np.tri(QUERIES, KEYS, dtype=bool)
  kept, options = None, {}
  if dropped:
    options = {'dropout': 0.25, 'dropout_key': jax.random.key(5)}
    kept = jax.random.bernoulli(jax.random.key(5), 0.75, (BATCH, 4, QUERIES, KEYS))
    kept = np.asarray(kept) / 0.75
  found = attend(query, key, value, causal=causal,
                 mask=None if mask is None else jnp.asarray(mask), **options)
  seen = np.broadcast_to(seen, (BATCH, *seen.shape[1:]))
  assert_close(found, by_hand(query, key, value, seen, kept))


@pytest.mark.parametrize('options', [
  {}, {'dropout': 0.0, 'dropout_key': jax.random.key(0)}], ids=['plain', 'dropout'])
def test_gradients_equal_those_of_jax(options):
  query = normal(BATCH, QUERIES, 4, 3)
  key, value = (normal(BATCH, KEYS, 2, 3, seed=s) for s in (1, 2))

  def gradients(attend):
    return jax.jit(jax.grad(
      lambda *a: jnp.sum(jnp.sin(attend(*a))), (0, 1, 2)))(query, key, value)

  assert_close(
    gradients(partial(attend, causal=True, **options)),
    gradients(partial(jax.nn.dot_product_attention, is_causal=True)))


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_heads_that_share_no_keys_are_refused(monkeypatch, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  with pytest.raises(ValueError, match='multiple'):
    attend(normal(1, 4, 3, 8), normal(1, 5, 2, 8), normal(1, 5, 2, 8))


def test_dropout_keeps_the_mean():
  query, key, value = (normal(1, 3, 2, 4, seed=s) for s in range(3))
  draws = jax.jit(jax.vmap(lambda k: attend(
    query, key, value, dropout=0.3, dropout_key=k)))(
      jax.random.split(jax.random.key(0), 4000))
  np.testing.assert_allclose(draws.mean(0), by_hand(query, key, value), atol=0.05)
  assert draws.std(0).min() > 0.05


@pytest.mark.parametrize('backend, dropped', [
  ('cpu', False), ('cpu', True), ('gpu', False)])
def test_who_may_look_nowhere_gets_the_mean_and_no_nan(monkeypatch, backend, dropped):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  query, key, value = (normal(1, 3, 2, 4, seed=s) for s in range(3))
  mask = jnp.zeros((1, 1, 3, 3), bool)
  options = {'dropout_key': jax.random.key(0)} if dropped else {}

  def total(query):
    answer = attend(query, key, value, mask=mask, **options)
    return jnp.sum(answer), answer

  gradient, answer = jax.jit(jax.grad(total, has_aux=True))(query)
  assert_close(answer, np.broadcast_to(value.mean(1, keepdims=True), value.shape))
  assert np.all(np.isfinite(gradient))


def test_softmax_is_in_float32():
  query, key, value = (normal(1, 64, 1, 64, seed=s) for s in range(3))
  half = [jnp.asarray(x, jnp.bfloat16) for x in (query, key, value)]
  for options in ({}, {'dropout_key': jax.random.key(0)}):
    found = jax.jit(partial(attend, **options))(*half)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), by_hand(*half), atol=4e-3)


def test_same_segment():
  found = same_segment(jnp.asarray(SEGMENTS), jnp.asarray(SEGMENTS))
  assert found.shape == (2, 1, 5, 5)
  for row, segments in enumerate(SEGMENTS):
    for q, one in enumerate(segments):
      for k, other in enumerate(segments):
        assert found[row, 0, q, k] == (one == other != 0)


# --- the layer ------------------------------------------------------------------


def project(params, name, x, heads):
  p = {k: np.asarray(v, np.float64) for k, v in params[name].items()}
  y = np.asarray(x, np.float64) @ p['kernel'] + p.get('bias', 0)
  return y.reshape(*x.shape[:2], heads, -1)


@pytest.mark.parametrize('segments', [None, SEGMENTS], ids=['whole', 'segments'])
@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('use_bias', [False, True])
@pytest.mark.parametrize('kv_heads', [None, 2, 1])
def test_attention_to_itself_equals_numpy(kv_heads, use_bias, causal, segments):
  layer, x = Attention(4, kv_heads, causal, use_bias=use_bias), normal(2, 5, WIDTH)
  variables = drawn(layer, x)
  params, width = variables['params'], WIDTH // 4 * (kv_heads or 4)
  assert params['key']['kernel'].shape == params['value']['kernel'].shape == (
    WIDTH, width)
  assert ('bias' in params['out']) == use_bias
  mask = np.ones((2, 1, 5, 5), bool)
  real = np.ones((2, 5), bool) if segments is None else segments > 0
  if segments is not None:
    mask = (segments[:, None, :, None] == segments[:, None, None]) & (
      segments > 0)[:, None, None]
    mask = mask | ~real[:, None, :, None]  # anything but 0 / 0; not compared
  if causal:
    mask = mask & np.tri(5, dtype=bool)
  heads = by_hand(*(project(params, name, x, 4 if name == 'query' else kv_heads or 4)
                    for name in ('query', 'key', 'value')), mask)
  expected = project(params, 'out', heads.reshape(2, 5, WIDTH), 1)[:, :, 0]
  found = apply(layer, variables, x, segments=segments)
  assert_close(np.asarray(found)[real], expected[real], 2e-5)


def test_attention_to_a_memory_equals_numpy():
  layer, x, memory = Attention(4, 2), normal(2, 5, WIDTH), normal(2, 7, WIDTH, seed=3)
  variables = drawn(layer, x, memory)
  real = np.array([[1, 1, 1, 0, 0, 0, 0], [3, 3, 3, 3, 3, 3, 3]])
  query, (key, value) = project(variables['params'], 'query', x, 4), (
    project(variables['params'], name, memory, 2) for name in ('key', 'value'))
  heads = by_hand(query, key, value, (real > 0)[:, None, None])
  expected = project(variables['params'], 'out', heads.reshape(x.shape), 1)[:, :, 0]
  found = apply(layer, variables, x, memory, memory_segments=real)
  assert_close(found, expected)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.reference
def test_equals_pytorch(causal):
  torch = pytest.importorskip('torch')
  twin = torch.nn.MultiheadAttention(WIDTH, 3, batch_first=True)
  with torch.no_grad():
    for p in twin.parameters():
      p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
  weights = {k: v.detach().numpy() for k, v in twin.named_parameters()}
  kernels = np.split(weights['in_proj_weight'], 3)
  biases = np.split(weights['in_proj_bias'], 3)
  params = {name: {'kernel': kernel.T, 'bias': bias} for name, kernel, bias in zip(
    ('query', 'key', 'value'), kernels, biases, strict=True)}
  params['out'] = {'kernel': weights['out_proj.weight'].T,
                   'bias': weights['out_proj.bias']}
  x = normal(2, 5, WIDTH)
  real = np.arange(5) < np.array([[5], [3]])
  with torch.no_grad():
    expected, _ = twin(
      *[torch.from_numpy(x)] * 3, key_padding_mask=torch.from_numpy(~real),
      attn_mask=torch.from_numpy(~np.tri(5, dtype=bool)) if causal else None)
  found = apply(Attention(3, causal=causal), {'params': params}, x,
                segments=real.astype(int))
  assert_close(np.asarray(found)[real], expected.numpy()[real])


def test_a_layer_without_biases_or_dropout_has_none():
  x = normal(1, 3, WIDTH)
  layer = Attention(3, use_bias=False, dropout=0.5)
  variables = drawn(layer, x)
  assert all(set(p) == {'kernel'} for p in variables['params'].values())
  assert_close(apply(layer, variables, x), apply(
    Attention(3, use_bias=False), variables, x, train=True))


def test_dropout_of_a_part_is_a_part_of_the_dropout():
  layer, x = Attention(3, dropout=0.5, causal=True), normal(4, 5, WIDTH)
  x[1] = x[0]
  variables, key = drawn(layer, x), jax.random.PRNGKey(3)
  segments = np.ones((4, 5), int)

  def answer(key, rows):
    return apply(layer, variables, x[rows], segments=segments[rows], train=True,
                 rngs={'dropout': key})

  whole = answer(key, slice(None))
  parts = [answer(slice_key(key, n), slice(2 * n, 2 * n + 2)) for n in range(2)]
  assert_close(jnp.concatenate(parts), whole)
  same = answer(jax.random.PRNGKey(4), slice(None))
  assert np.abs(same - whole).max() > 0.1
  assert np.abs(whole[0] - whole[1]).max() > 1e-2  # each example has its own


# --- the cache ------------------------------------------------------------------


@pytest.mark.parametrize('cuts', [(3,), (1, 2, 3, 4)])
@pytest.mark.parametrize('padded', [False, True])
@pytest.mark.parametrize('rotary', [None, 100.0])
def test_a_cache_fed_in_chunks_equals_the_whole(rotary, padded, cuts):
  layer = Attention(2, 1, causal=True, rotary=rotary)
  x, segments = normal(2, 5, WIDTH), np.ones((2, 5), int)
  if padded:
    segments[1, :2] = 0
  positions = np.maximum(np.cumsum(segments, 1) - 1, 0)
  variables = drawn(layer, x, positions=positions)
  expected = apply(layer, variables, x, segments=segments, positions=positions)
  found, cache = [], {}
  for start, stop in zip((0, *cuts), (*cuts, 5), strict=True):
    here = slice(start, stop)
    y, cache = apply(
      layer, {**variables, **cache}, x[:, here], segments=segments[:, here],
      positions=positions[:, here], decode=8, mutable=('cache',))
    found.append(y)
  real = segments > 0
  assert_close(np.concatenate(found, 1)[real], np.asarray(expected)[real])


def test_a_memory_is_kept_from_the_first_call():
  layer, x, memory = Attention(4), normal(2, 5, WIDTH), normal(2, 7, WIDTH, seed=3)
  variables = drawn(layer, x, memory)
  expected = apply(layer, variables, x, memory)
  first, cache = apply(layer, variables, x[:, :1], memory, decode=5,
                       mutable=('cache',))
  rest, _ = apply(layer, {**variables, **cache}, x[:, 1:], np.nan * memory, decode=5,
                  mutable=('cache',))
  assert_close(jnp.concatenate([first, rest], 1), expected)


def test_rows_next_to_each_other_ask_one_memory():
  layer, x, memory = Attention(4, 2), normal(6, 5, WIDTH), normal(2, 7, WIDTH, seed=3)
  real = np.array([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
  variables = drawn(layer, x[:2], memory)
  expected = apply(layer, variables, x, np.repeat(memory, 3, 0),
                   memory_segments=np.repeat(real, 3, 0))
  assert_close(apply(layer, variables, x, memory, memory_segments=real), expected)
  for rows, given in ((4, {}), (2, {'segments': np.ones((6, 5), int)})):
    with pytest.raises(ValueError, match=f'memory: must have 6 rows .* got {rows}'):
      apply(layer, variables, x, np.repeat(memory, rows // 2, 0), **given)


# --- what it refuses ------------------------------------------------------------


@pytest.mark.parametrize('fields, message', [
  ({'heads': 4, 'kv_heads': 3}, 'kv_heads: must divide the 4 heads, got 3'),
  ({'heads': 4, 'kv_heads': 8}, 'kv_heads: must divide the 4 heads, got 8'),
  ({'heads': 4, 'kv_heads': 0}, 'kv_heads: must divide the 4 heads, got 0'),
  ({'heads': 4, 'kv_heads': -1}, 'kv_heads: must divide the 4 heads, got -1'),
  ({'heads': 0}, 'heads: must be >= 1, got 0'),
  ({'heads': 4, 'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'heads': 4, 'dropout': -0.1}, 'dropout: must be >= 0'),
])
def test_wrong_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    Attention(**fields)


@pytest.mark.parametrize('fields, options, message', [
  ({'heads': 5}, {}, 'heads: must divide the width, 12, got 5'),
  ({'heads': 4, 'rotary': 10.0}, {}, 'rotary: needs the positions of x'),
  ({'heads': 2, 'rotary': 10.0},
   {'positions': np.zeros((2, 5), int), 'memory': normal(2, 7, WIDTH)},
   'rotary: .* its own memory'),
  ({'heads': 4, 'rotary': 10.0}, {'positions': np.zeros((2, 5), int)},
   'even width, got 3'),
  ({'heads': 4}, {'decode': 4}, 'decode: must be >= 5, the tokens of this call, got 4'),
])
def test_wrong_calls(fields, options, message):
  with pytest.raises(ValueError, match=message):
    Attention(**fields).init(
      jax.random.key(0), normal(2, 5, WIDTH), **options, train=False)
