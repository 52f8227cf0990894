"""Tests of bigmodels.layers.transformer against NumPy and PyTorch."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.attention import Attention
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.parallel.random import slice_key

WIDTH, HIDDEN = 12, 20
NORM = partial(nn.LayerNorm, epsilon=1e-5, use_fast_variance=False)
REAL = np.arange(5) < np.array([[5], [3]])


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_close(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, tolerance, tolerance)


def drawn(init, x):
  """Parameters as large as the initial ones."""
  shapes = jax.eval_shape(init, jax.random.key(0), x)['params']
  leaves, tree = jax.tree.flatten(shapes)
  return tree.unflatten([normal(*p.shape, seed=n) / np.sqrt(WIDTH)
                         for n, p in enumerate(leaves)])


def block(**fields):
  return Block(**{'attention': partial(Attention, 3), 'norm': NORM,
                  'feed_forward': partial(FeedForward, HIDDEN), **fields})


# --- the feed-forward part ------------------------------------------------------


@pytest.mark.parametrize('use_bias', [False, True])
@pytest.mark.parametrize('gated', [False, True])
def test_feed_forward_equals_numpy(gated, use_bias):
  layer, x = FeedForward(HIDDEN, nn.silu, gated, use_bias), normal(2, 5, WIDTH)
  params = jax.tree.map(lambda p: p + 0.1, drawn(layer.init, x))
  assert set(params) == {'in', 'out'} | ({'gate'} if gated else set())
  own = jax.tree.map(partial(np.asarray, dtype=np.float64), params)

  def dense(name, x):
    return x @ own[name]['kernel'] + own[name].get('bias', 0)

  hidden = dense('in', x)
  hidden = hidden / (1 + np.exp(-hidden))  # Swish, of SwiGLU
  if gated:
    hidden = hidden * dense('gate', x)
  assert_close(layer.apply({'params': params}, x), dense('out', hidden))


# --- the block ------------------------------------------------------------------


def dense_of(kernel, bias):
  return {'kernel': kernel.detach().numpy().T, 'bias': bias.detach().numpy()}


def attention_of(twin):
  kernels, biases = twin.in_proj_weight.chunk(3), twin.in_proj_bias.chunk(3)
  names = ('query', 'key', 'value')
  return {**{name: dense_of(kernels[i], biases[i]) for i, name in enumerate(names)},
          'out': dense_of(twin.out_proj.weight, twin.out_proj.bias)}


def norm_of(twin):
  return {'scale': twin.weight.detach().numpy(), 'bias': twin.bias.detach().numpy()}


def feed_forward_of(twin):
  return {'in': dense_of(twin.linear1.weight, twin.linear1.bias),
          'out': dense_of(twin.linear2.weight, twin.linear2.bias)}


def from_pytorch(torch, twin):
  """Moves a layer's parameters away from zeros and ones."""
  rng = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for p in twin.parameters():
      p.add_(0.1 * torch.randn(p.shape, generator=rng))
  return twin


@pytest.mark.parametrize('activation', ['relu', 'gelu'])
@pytest.mark.parametrize('norm_first', [False, True])
@pytest.mark.reference
def test_equals_pytorchs_encoder_layer(norm_first, activation):
  torch = pytest.importorskip('torch')
  twin = from_pytorch(torch, torch.nn.TransformerEncoderLayer(
    WIDTH, 3, HIDDEN, dropout=0.0, activation=activation, batch_first=True,
    norm_first=norm_first))
  params = {'attention': attention_of(twin.self_attn),
            'attention_norm': norm_of(twin.norm1),
            'feed_forward': feed_forward_of(twin),
            'feed_forward_norm': norm_of(twin.norm2)}
  gelu = partial(nn.gelu, approximate=False)
  ours = block(norm_first=norm_first, feed_forward=partial(
    FeedForward, HIDDEN, gelu if activation == 'gelu' else nn.relu))
  x, weights = normal(2, 5, WIDTH), normal(2, 5, WIDTH, seed=1) * REAL[..., None]

  def loss(x):
    y = ours.apply({'params': params}, x, segments=REAL.astype(int), train=True)
    return jnp.sum(weights * y), y

  (_, y), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(x)
  inputs = torch.tensor(x, requires_grad=True)
  expected = twin(inputs, src_key_padding_mask=torch.from_numpy(~REAL))
  (torch.from_numpy(weights) * expected).sum().backward()
  assert_close(np.asarray(y)[REAL], expected.detach().numpy()[REAL])
  assert_close(gradient, inputs.grad.numpy())
  assert not np.any(np.asarray(gradient)[~REAL])


@pytest.mark.parametrize('norm_first', [False, True])
@pytest.mark.reference
def test_equals_pytorchs_decoder_layer(norm_first):
  torch = pytest.importorskip('torch')
  twin = from_pytorch(torch, torch.nn.TransformerDecoderLayer(
    WIDTH, 3, HIDDEN, dropout=0.0, batch_first=True, norm_first=norm_first))
  params = {'attention': attention_of(twin.self_attn),
            'attention_norm': norm_of(twin.norm1),
            'cross': attention_of(twin.multihead_attn),
            'cross_norm': norm_of(twin.norm2),
            'feed_forward': feed_forward_of(twin),
            'feed_forward_norm': norm_of(twin.norm3)}
  ours = block(attention=partial(Attention, 3, causal=True),
               cross=partial(Attention, 3), norm_first=norm_first)
  x, memory = normal(2, 4, WIDTH), normal(2, 5, WIDTH, seed=1)
  found = jax.jit(partial(ours.apply, train=False))(
    {'params': params}, x, memory=memory, memory_segments=REAL.astype(int))
  with torch.no_grad():
    expected = twin(torch.from_numpy(x), torch.from_numpy(memory),
                    tgt_mask=torch.from_numpy(~np.tri(4, dtype=bool)),
                    memory_key_padding_mask=torch.from_numpy(~REAL))
  assert_close(found, expected.numpy())


# --- dropout --------------------------------------------------------------------


def test_dropout_is_inside_of_what_is_added():
  # All but nothing is kept: what comes in goes through, or is normalised only.
  x = normal(2, 5, WIDTH)
  for norm_first in (True, False):
    layer = block(dropout=1.0, norm_first=norm_first)
    variables = jax.jit(partial(layer.init, train=False))(jax.random.key(0), x)
    found = jax.jit(partial(layer.apply, train=True))(
      variables, x, rngs={'dropout': jax.random.key(1)})
    normed = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    np.testing.assert_allclose(found, x if norm_first else normed, atol=1e-4)


def test_dropout_of_a_part_is_a_part_of_the_dropout():
  layer = block(attention=partial(Attention, 3, dropout=0.3), dropout=0.3)
  x, key = normal(4, 5, WIDTH), jax.random.PRNGKey(3)
  params = drawn(partial(layer.init, train=False), x)
  apply = jax.jit(layer.apply, static_argnames='train')

  def answer(key, x):
    return apply({'params': params}, x, train=True, rngs={'dropout': key})

  whole = answer(key, x)
  parts = [answer(slice_key(key, n), x[2 * n:2 * n + 2]) for n in range(2)]
  assert_close(jnp.concatenate(parts), whole)
  assert np.abs(whole - apply({'params': params}, x, train=False)).max() > 0.1


# --- what the backward pass recomputes ------------------------------------------


@pytest.mark.parametrize('gated', [False, True])
def test_accelerators_recompute_norms_and_activations(monkeypatch, gated):
  layer = block(feed_forward=partial(FeedForward, HIDDEN, nn.gelu, gated))
  x = normal(2, 5, WIDTH)
  params = drawn(partial(layer.init, train=False), x)

  def total(params, x):
    return jnp.sum(jnp.sin(layer.apply({'params': params}, x, train=True)))

  def stored_and_gradients():
    _, backward = jax.vjp(total, params, x)  # a tree of what it stores
    hidden = [kept for kept in jax.tree.leaves(backward)
              if kept.shape in ((2, 5, HIDDEN), (10, HIDDEN))]
    return len(hidden), backward(1.0)

  many, expected = stored_and_gradients()
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  few, found = stored_and_gradients()
  assert few <= (3 if gated else 2) < many  # inputs, and the result for a product
  jax.tree.map(partial(assert_close, tolerance=2e-5), found, expected)
