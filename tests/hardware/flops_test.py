"""The operations of a step, against numbers derived by hand and against XLA's."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from bigmodels.hardware import flops
from bigmodels.layers.tpu import attention

float32 = jnp.float32


def shaped(*shapes):
  return [jax.ShapeDtypeStruct(shape, float32) for shape in shapes]


def traced(f, *shapes):
  return flops.flops(jax.jit(f).trace(*shaped(*shapes)).jaxpr)


def convolution(**options):
  return lambda x, k: jax.lax.conv_general_dilated(
    x, k, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    **{'window_strides': (1, 1), 'padding': 'VALID'} | options)


CONVOLUTIONS = {
  'plain': (convolution(), (2, 9, 9, 3), (3, 3, 3, 8), 2 * 49 * 9 * 3 * 8),
  'strided': (convolution(window_strides=(2, 3)), (2, 9, 9, 3), (3, 3, 3, 8),
              2 * 12 * 9 * 3 * 8),
  # Of 9 positions the outer ones use 2 of 3 taps: 25 of 27 in each direction.
  'padded': (convolution(padding='SAME'), (2, 9, 9, 3), (3, 3, 3, 8),
             2 * 25 * 25 * 3 * 8),
  'grouped': (convolution(feature_group_count=3), (2, 9, 9, 6), (3, 3, 2, 12),
              2 * 49 * 9 * 2 * 12),
  'atrous': (convolution(rhs_dilation=(2, 2)), (2, 9, 9, 3), (3, 3, 3, 8),
             2 * 25 * 9 * 3 * 8),
  # Each output of a transposed convolution by two uses half of the taps.
  'transposed': (convolution(lhs_dilation=(2, 2), padding=((1, 1), (1, 1))),
                 (2, 5, 5, 3), (2, 2, 3, 8), 2 * 10 * 10 * 3 * 8),
}


@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_a_convolution_and_its_gradients(name):
  f, x, k, multiply_adds = CONVOLUTIONS[name]
  assert traced(f, x, k) == 2 * multiply_adds
  out = jax.eval_shape(f, *shaped(x, k)).shape
  both = traced(lambda x, k, g: (f(x, k), jax.vjp(f, x, k)[1](g)), x, k, out)
  assert both == (1 + 3) * 2 * multiply_adds  # once more forward, in the vjp


@pytest.mark.parametrize(('f', 'shapes', 'expected'), [
  (lambda a, b: a @ b, ((4, 5), (5, 6)), 2 * 4 * 5 * 6),
  (lambda a, b: jnp.einsum('bij,bjk->bik', a, b), ((3, 4, 5), (3, 5, 6)),
   2 * 3 * 4 * 5 * 6),
  # The sum over i comes first, and multiplies nothing.
  (lambda a, b: jnp.einsum('bij,kbj->k', a, b), ((3, 4, 5), (6, 3, 5)), 2 * 6 * 3 * 5),
  (lambda a: jnp.tanh(a) + a, ((4, 5),), 0),
  (lambda a, g: jax.lax.ragged_dot(a, g, jnp.array([1, 3])), ((4, 5), (2, 5, 6)),
   2 * 4 * 5 * 6),
  (lambda a, w: jax.lax.scan(lambda x, w: (x @ w, None), a, w)[0], ((4, 5), (7, 5, 5)),
   7 * 2 * 4 * 5 * 5),
  (lambda a, w: jax.lax.fori_loop(0, 9, lambda i, x: x @ w, a), ((4, 5), (5, 5)),
   9 * 2 * 4 * 5 * 5),
  (lambda a, w: jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ w, a),
   ((4, 5), (5, 5)), 2 * 4 * 5 * 5),
  (lambda a, w: jax.lax.cond(a[0, 0] > 0, lambda: a @ w, lambda: a @ w @ w),
   ((4, 5), (5, 5)), 2 * 2 * 4 * 5 * 5),
  (lambda a, w: jax.vmap(jax.jit(jnp.dot), (0, None))(a, w), ((3, 4, 5), (5, 5)),
   3 * 2 * 4 * 5 * 5),
], ids=['dense', 'batch', 'einsum', 'none', 'ragged', 'scan', 'fori', 'while', 'cond',
        'vmap'])
def test_flops(f, shapes, expected):
  assert traced(f, *shapes) == expected


def test_a_checkpoint_counts_its_recomputation():
  def loss(f):
    return lambda w, x: jnp.sum(f(w, x) ** 2)

  def layers(w, x):
    return jnp.tanh(x @ w[0]) @ w[1]

  product = 2 * 4 * 5 * 5
  shapes = (2, 5, 5), (4, 5)
  # Two products forward; backward two for the weights and one for the middle.
  assert traced(jax.grad(loss(layers)), *shapes) == 5 * product
  again = traced(jax.grad(loss(jax.checkpoint(layers))), *shapes) - 5 * product
  assert product <= again <= 2 * product


def test_custom_derivatives():
  @jax.custom_vjp
  def double(x, w):
    return x @ w

  double.defvjp(lambda x, w: (x @ w, (x, w)), lambda r, g: (g @ r[1].T, r[0].T @ g))
  product = 2 * 4 * 5 * 5
  assert traced(double, (4, 5), (5, 5)) == product
  assert traced(lambda x, w: jax.vjp(double, x, w)[1](x), (4, 5), (5, 5)) == 3 * product


def test_a_kernel():
  def kernel(x, w, out):
    out[...] = x[...] @ w[...]

  f = pallas.pallas_call(
    kernel, out_shape=jax.ShapeDtypeStruct((32, 128), float32), grid=(4,),
    in_specs=[pallas.BlockSpec((8, 16), lambda i: (i, 0)),
              pallas.BlockSpec((16, 128), lambda i: (0, 0))],
    out_specs=pallas.BlockSpec((8, 128), lambda i: (i, 0)))
  assert traced(f, (32, 16), (16, 128)) == 2 * 32 * 16 * 128


def test_all_shards():
  mesh = jax.sharding.AbstractMesh((4, 2), ('a', 'b'), (AxisType.Auto,) * 2)
  f = jax.shard_map(lambda x, w: x @ w, mesh=mesh, in_specs=(P('a'), P()),
                    out_specs=P('a'))
  # Both devices of 'b' do the same.
  assert traced(f, (8, 5), (5, 6)) == 2 * 2 * 8 * 5 * 6


def small_network(x, kernel, w, v):
  x = jax.nn.relu(jax.lax.conv_general_dilated(
    x, kernel, (2, 2), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')))
  x = x.reshape(x.shape[0], -1) @ w
  return jnp.sum(jnp.einsum('bi,bj,ijk->bk', x, x, v) ** 2)


@pytest.mark.parametrize('f', [
  small_network,
  jax.grad(small_network, argnums=(1, 2, 3)),
], ids=['forward', 'gradients'])
def test_it_agrees_with_xla(f):
  shapes = shaped((32, 16, 16, 16), (3, 3, 16, 32), (8 * 8 * 32, 24), (24, 24, 40))
  step = jax.jit(f).trace(*shapes)
  theirs = step.lower().compile().cost_analysis()['flops']
  # XLA counts element-wise operations too, and removes unused results.
  assert flops.flops(step.jaxpr) == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize('causal, computed', [(False, 1), (True, 6 / 9)])
@pytest.mark.parametrize('segmented', [False, True])
def test_an_attention_kernel_counts_the_blocks_that_it_computes(
  segmented, causal, computed):
  def total(query, key, value, ids):
    return attention.attend(query, key, value, causal=causal,
                            segments=(ids, ids) if segmented else None).sum()

  heads = jax.ShapeDtypeStruct((2, 384, 4, 64), float32)  # three blocks of 128
  ids = jax.ShapeDtypeStruct((2, 384), jnp.int32)
  program = jax.jit(jax.grad(total, (0, 1, 2))).trace(heads, heads, heads, ids).jaxpr
  product = 2 * 2 * 4 * 384 * 384 * 64
  # The scores are computed three times; plain attention has two products and four.
  assert flops.flops(program) == pytest.approx(9 * computed * product, rel=1e-3)
  assert flops.flops(program, model=True) == pytest.approx(
    6 * computed * product, rel=1e-3)


@pytest.mark.parametrize('causal', [False, True])
def test_attention_of_cudnn_counts_as_that_of_xla(monkeypatch, causal):
  kernels = 'jax._src.cudnn.fused_attention_stablehlo'  # which ask for a GPU
  monkeypatch.setattr(f'{kernels}.check_cudnn_version', lambda: 91000)
  monkeypatch.setattr(f'{kernels}.check_compute_capability', lambda *_: True)
  query, key = jnp.ones((2, 128, 4, 64), jnp.bfloat16), jnp.ones(
    (2, 128, 2, 64), jnp.bfloat16)

  def step(implementation):
    return jax.make_jaxpr(jax.value_and_grad(lambda q, k: jax.nn.dot_product_attention(
      q, k, k, is_causal=causal, implementation=implementation).astype(
        jnp.float32).sum(), (0, 1)))(query, key)

  # XLA computes all scores; with a causal mask, 129 of 256 pairs are needed.
  expected = flops.flops(step('xla')) * (129 / 256 if causal else 1)
  assert flops.flops(step('cudnn'), model=True) == expected
  assert flops.flops(step('cudnn')) == pytest.approx(7 / 6 * expected)
