"""Tests of bigmodels.layers.recurrent against PyTorch and parts of sequences."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bigmodels.hardware.flops import equations
from bigmodels.layers.recurrent import Gru, Lstm
from bigmodels.parallel.random import slice_key

CELLS = (Lstm, Gru)
BATCH, LENGTH, FEATURES, WIDTH = 4, 7, 5, 6
LENGTHS = np.array([7, 4, 1, 6])
SEGMENTS = (np.arange(LENGTH) < LENGTHS[:, None]).astype(np.int32)


def _inputs(*shape):
  return jax.random.normal(jax.random.key(0), shape or (BATCH, LENGTH, FEATURES))


def _params(layer, x):
  """As large as the initial values, none of them zero."""
  shapes = jax.eval_shape(partial(layer.init, train=False), jax.random.key(1), x)
  rng = np.random.default_rng(1)
  return {name: rng.normal(0, 0.5, p.shape).astype(np.float32)
          for name, p in shapes['params'].items()}


@partial(jax.jit, static_argnums=0, static_argnames='train')
def _apply(layer, params, x, train=False, **options):
  return layer.apply({'params': params}, x, train=train, **options)


def _assert_close(actual, expected, tolerance=1e-5):
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, tolerance, tolerance),
               actual, expected)


# --- what they compute ----------------------------------------------------------


def _from_pytorch(cell, twin, suffix):
  values = {name: jnp.asarray(getattr(twin, f'{name}_l0{suffix}').detach().numpy())
            for name in ('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh')}
  kernels = {'input_kernel': values['weight_ih'].T,
             'recurrent_kernel': values['weight_hh'].T}
  if cell is Lstm:
    return {**kernels, 'bias': values['bias_ih'] + values['bias_hh']}
  return {**kernels, 'input_bias': values['bias_ih'],
          'recurrent_bias': values['bias_hh']}


# Forwards without padding too; backwards `test_padding_changes_nothing` covers that.
@pytest.mark.parametrize('reverse, padded', [
  (False, False), (False, True), (True, True)])
@pytest.mark.parametrize('cell', CELLS)
@pytest.mark.reference
def test_equals_pytorch(cell, reverse, padded):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  torch.manual_seed(0)
  twin = (torch.nn.LSTM if cell is Lstm else torch.nn.GRU)(
    FEATURES, WIDTH, batch_first=True, bidirectional=True)
  suffix, half = ('_reverse', 1) if reverse else ('', 0)
  x = _inputs()
  weights = jax.random.normal(jax.random.key(3), (BATCH, LENGTH, WIDTH))
  layer, segments = cell(WIDTH, reverse=reverse), SEGMENTS if padded else None

  def ours(params, x):
    outputs, state = layer.apply({'params': params}, x, segments=segments, train=False)
    last = sum(jnp.sum(s**2) for s in jax.tree.leaves(state))
    return jnp.sum(weights * outputs) + last, (outputs, state)

  (_, (outputs, state)), (gradients, x_gradient) = jax.jit(jax.value_and_grad(
    ours, (0, 1), has_aux=True))(_from_pytorch(cell, twin, suffix), x)

  x_ = torch.tensor(np.asarray(x), requires_grad=True)
  if padded:
    packed, state_ = twin(torch.nn.utils.rnn.pack_padded_sequence(
      x_, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False))
    outputs_, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
  else:
    outputs_, state_ = twin(x_)
  state_ = tuple(s[half] for s in state_) if cell is Lstm else state_[half]
  outputs_ = outputs_.unflatten(2, (2, WIDTH))[:, :, half]
  loss = (torch.tensor(np.asarray(weights)) * outputs_).sum()
  (loss + sum((s**2).sum() for s in (state_ if cell is Lstm else (state_,)))).backward()

  _assert_close((outputs, state), jax.tree.map(lambda t: t.detach().numpy(),
                                               (outputs_, state_)))
  _assert_close(x_gradient, x_.grad.numpy())
  for name, kernel in (('ih', 'input_kernel'), ('hh', 'recurrent_kernel')):
    expected = getattr(twin, f'weight_{name}_l0{suffix}').grad.numpy().T
    _assert_close(gradients[kernel], expected, 2e-5)
    bias = 'bias' if cell is Lstm else kernel.replace('kernel', 'bias')
    expected = getattr(twin, f'bias_{name}_l0{suffix}').grad.numpy()
    _assert_close(gradients[bias], expected, 2e-5)


@pytest.mark.parametrize('cell', CELLS)
def test_unrolled_it_is_the_same(cell):
  x = _inputs()
  params = _params(cell(WIDTH), x)
  expected = _apply(cell(WIDTH), params, x, segments=SEGMENTS)
  unrolled = cell(WIDTH, unroll=3)
  _assert_close(_apply(unrolled, params, x, segments=SEGMENTS), expected)


@pytest.mark.parametrize('cell', CELLS)
def test_first_and_second_derivatives_are_those_of_finite_differences(cell):
  x = _inputs(2, 4, 3)
  layer = cell(3)

  def value(params, x):
    return jnp.sum(_apply(layer, params, x)[0] ** 2)

  check_grads(value, (_params(layer, x), x), order=2, modes=['rev'], atol=2e-2,
              rtol=2e-2)


@pytest.mark.parametrize('cell', CELLS)
def test_a_state_is_carried_on(cell):
  x = _inputs()
  layer = cell(WIDTH)
  params = _params(layer, x)
  outputs, state = _apply(layer, params, x)
  first, middle = _apply(layer, params, x[:, :3])
  second, last = _apply(layer, params, x[:, 3:], state=middle)
  _assert_close((jnp.concatenate([first, second], 1), last), (outputs, state))
  assert all(s.shape == (BATCH, WIDTH) for s in jax.tree.leaves(state))


@pytest.mark.parametrize('cell', CELLS)
def test_bfloat16_inputs_have_a_float32_state(cell):
  x = _inputs(2, 50, FEATURES)
  layer = cell(WIDTH)
  params = _params(layer, x)
  expected, _ = _apply(layer, params, x)
  half = partial(jax.tree.map, lambda a: a.astype(jnp.bfloat16))
  outputs, state = _apply(layer, half(params), half(x))
  assert outputs.dtype == jnp.bfloat16
  assert {s.dtype for s in jax.tree.leaves(state)} == {jnp.dtype('float32')}
  np.testing.assert_allclose(outputs.astype('float32'), expected, atol=0.05)


@pytest.mark.parametrize('cell, gates', [(Lstm, 4), (Gru, 3)])
def test_initial_values(cell, gates):
  init = jax.jit(partial(cell(64).init, train=False))
  params = init(jax.random.key(0), _inputs(1, 1, 300))['params']
  kernels = jnp.split(params['recurrent_kernel'], gates, axis=1)
  for a in kernels:
    np.testing.assert_allclose(a @ a.T, np.eye(64), atol=1e-5)
  assert not np.allclose(kernels[0], kernels[1])
  scale = params['input_kernel'].std()
  assert scale == pytest.approx(300**-0.5, rel=0.02)
  if cell is Lstm:
    np.testing.assert_array_equal(params['bias'].reshape(4, 64).T, [[0, 1, 0, 0]] * 64)
  else:
    np.testing.assert_array_equal(params['input_bias'], 0)
    np.testing.assert_array_equal(params['recurrent_bias'], 0)


# --- padding and documents ------------------------------------------------------


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('cell', CELLS)
def test_padding_changes_nothing(cell, reverse):
  x = _inputs()
  layer = cell(WIDTH, reverse=reverse)
  params = _params(layer, x)
  segments = np.ones((BATCH, LENGTH), np.int32)
  segments[:, 4:] = 0

  def loss(params, x, segments):
    outputs, state = layer.apply({'params': params}, x, segments=segments, train=False)
    return jnp.sum(outputs**2) + jnp.sum(jax.tree.leaves(state)[0]), (outputs, state)

  gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
  (by_params, by_x), (outputs, state) = gradient(params, x, segments)
  (by_params_, by_x_), (outputs_, state_) = gradient(params, x[:, :4], None)
  _assert_close((outputs[:, :4], state, by_params, by_x[:, :4]),
                (outputs_, state_, by_params_, by_x_))
  np.testing.assert_array_equal(outputs[:, 4:], 0)
  np.testing.assert_array_equal(by_x[:, 4:], 0)
  # Nor does padding before and between.
  gaps = np.array([0, 2, 3, 5])
  segments = np.zeros((BATCH, LENGTH), np.int32)
  segments[:, gaps] = 1
  (by_params, by_x), (outputs, state) = gradient(params, x, segments)
  _assert_close(((by_params, by_x[:, gaps]), (outputs[:, gaps], state)),
                gradient(params, x[:, gaps], None))


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('cell', CELLS)
def test_documents_know_nothing_of_one_another(cell, reverse):
  x = _inputs()
  layer = cell(WIDTH, reverse=reverse)
  params = _params(layer, x)
  segments = np.array([[1, 1, 0, 3, 3, 2, 0]] * BATCH, np.int32)
  outputs, state = _apply(layer, params, x, segments=segments)
  parts = [_apply(layer, params, x[:, a:b]) for a, b in ((0, 2), (3, 5), (5, 6))]
  for (a, b), (expected, _) in zip(((0, 2), (3, 5), (5, 6)), parts, strict=True):
    _assert_close(outputs[:, a:b], expected)
  _assert_close(state, parts[0 if reverse else -1][1])
  np.testing.assert_array_equal(outputs[:, [2, 6]], 0)


@pytest.mark.parametrize('cell', CELLS)
def test_a_given_state_belongs_to_the_first_document(cell):
  x = _inputs()
  layer = cell(WIDTH)
  params = _params(layer, x)
  _, state = _apply(layer, params, x)
  segments = np.array([[0, 4, 4, 4, 4, 5, 5]] * BATCH, np.int32)
  outputs, _ = _apply(layer, params, x, segments=segments, state=state)
  _assert_close(outputs[:, 1:5], _apply(layer, params, x[:, 1:5], state=state)[0])
  _assert_close(outputs[:, 5:], _apply(layer, params, x[:, 5:])[0])


# --- dropout --------------------------------------------------------------------


def _integrator(width, recurrent=0.0, rows=1):
  """An LSTM's parameters with every gate open, which adds up what comes in.

  Of the candidate g only a thousandth of x and `recurrent` of h come in, so that tanh
  is the identity and h = c is their sum.
  """
  kernel = np.zeros((rows, 4 * width), np.float32)
  kernel[:, 2 * width : 3 * width] = 1e-3 * np.eye(rows, width) if rows > 1 else 1e-3
  recurrent_kernel = np.zeros((width, 4 * width), np.float32)
  recurrent_kernel[:, 2 * width : 3 * width] = recurrent * np.eye(width)
  bias = np.full(4 * width, 50, np.float32)
  bias[2 * width : 3 * width] = 0
  return {'input_kernel': kernel, 'recurrent_kernel': recurrent_kernel, 'bias': bias}


def test_one_input_mask_a_sequence():
  width, share, steps = 200, 0.25, 10
  x = jnp.ones((8, steps, width))
  params = _integrator(width, rows=width)
  outputs, _ = _apply(Lstm(width, dropout=share), params, x, train=True,
                      rngs={'dropout': jax.random.key(0)})
  slope = np.diff(outputs, axis=1) / 1e-3
  kept = slope[:, :1] > 0.5
  # The same at each step, another for each sequence, and scaled to keep the mean.
  np.testing.assert_allclose(slope, np.broadcast_to(kept / (1 - share), slope.shape),
                             atol=2e-3)
  assert kept.mean() == pytest.approx(1 - share, abs=5 * math.sqrt(0.1875 / kept.size))
  assert len(np.unique(kept[:, 0], axis=0)) == 8
  exact, _ = _apply(Lstm(width, dropout=share), params, x)
  np.testing.assert_allclose(np.diff(exact, axis=1), 1e-3, rtol=2e-3)


def test_one_recurrent_mask_a_sequence():
  width, share, steps, gain = 200, 0.25, 8, 0.1
  x = jnp.zeros((8, steps, 1)).at[:, 0].set(1)
  layer = Lstm(width, recurrent_dropout=share)
  outputs, _ = _apply(layer, _integrator(width, gain), x, train=True,
                      rngs={'dropout': jax.random.key(0)})
  growth = np.asarray(outputs[:, 1:] / outputs[:, :-1])
  kept = growth[:, :1] > 1.05
  # h grows by the same share at each step, or not at all.
  expected = 1 + gain * kept / (1 - share)
  np.testing.assert_allclose(growth, np.broadcast_to(expected, growth.shape), rtol=1e-3)
  assert kept.mean() == pytest.approx(1 - share, abs=5 * math.sqrt(0.1875 / kept.size))
  assert len(np.unique(kept[:, 0], axis=0)) == 8


@pytest.mark.parametrize('cell', CELLS)
def test_parts_of_a_batch_have_the_masks_of_the_whole(cell):
  x = _inputs()
  layer = cell(WIDTH, dropout=0.5, recurrent_dropout=0.5)
  params, key = _params(layer, x), jax.random.PRNGKey(3)
  whole, _ = _apply(layer, params, x, train=True, rngs={'dropout': key})
  parts = [_apply(layer, params, x[2 * i : 2 * i + 2], train=True,
                  rngs={'dropout': slice_key(key, i)})[0] for i in range(2)]
  _assert_close(jnp.concatenate(parts), whole)
  plain, _ = _apply(layer, params, x)
  assert not np.allclose(whole, plain, atol=0.01)


# --- what they cost -------------------------------------------------------------


def _products(jaxpr):
  """The shapes of the products outside of loops, and inside."""
  loops = [e for e in equations(jaxpr) if e.primitive.name == 'scan']
  inside = [e for loop in loops for e in equations(loop.params['jaxpr'])]
  found = [[v.aval.shape for v in e.invars] for e in equations(jaxpr)
           if e.primitive.name == 'dot_general' and e not in inside]
  return found, [[v.aval.shape for v in e.invars] for e in inside
                 if e.primitive.name == 'dot_general']


@pytest.mark.parametrize('cell', CELLS)
def test_only_the_state_is_multiplied_in_the_loop(cell):
  columns = (4 if cell is Lstm else 3) * WIDTH
  for length in (3, 30):
    x = jax.ShapeDtypeStruct((BATCH, length, FEATURES), jnp.float32)
    params = _params(cell(WIDTH), x)
    run = partial(_apply.__wrapped__, cell(WIDTH))
    forward = [(BATCH * length, FEATURES), (FEATURES, columns)]
    step = [(BATCH, WIDTH), (WIDTH, columns)]
    assert _products(jax.make_jaxpr(run)(params, x)) == ([forward], [step])
    outside, inside = _products(jax.make_jaxpr(jax.grad(
      lambda *given, run=run: jnp.sum(run(*given)[0])))(params, x))
    # The kernel's gradient is one product of all steps.
    assert inside == [step, [(BATCH, columns), (columns, WIDTH)]]
    assert forward in outside and [
      (length, BATCH, WIDTH), (length, BATCH, columns)] in [sorted(s) for s in outside]


# --- what they refuse -----------------------------------------------------------


@pytest.mark.parametrize(('fields', 'message'), [
  ({'dropout': 1.0}, 'dropout: must be >= 0 and < 1, got 1.0'),
  ({'dropout': float('nan')}, 'dropout: must be'),
  ({'recurrent_dropout': -0.1}, 'recurrent_dropout: must be >= 0.*got -0.1'),
  ({'width': 0}, 'width: must be >= 1, got 0'),
  ({'unroll': 0}, 'unroll: must be >= 1, got 0'),
])
@pytest.mark.parametrize('cell', CELLS)
def test_wrong_fields(cell, fields, message):
  with pytest.raises(ValueError, match=message):
    cell(**{'width': WIDTH, **fields})


@pytest.mark.parametrize('cell', CELLS)
def test_wrong_shapes(cell):
  x = _inputs()
  params = _params(cell(WIDTH), x)
  with pytest.raises(ValueError, match=r'needs \[batch, length, features\]'):
    _apply(cell(WIDTH), params, x[0])
  with pytest.raises(ValueError, match='segments: must be'):
    _apply(cell(WIDTH), params, x, segments=SEGMENTS[:, :3])
  _, state = _apply(cell(WIDTH), params, x)
  state = jax.tree.map(lambda s: s[:2], state)
  with pytest.raises(ValueError, match='state: must be'):
    _apply(cell(WIDTH), params, x, state=state)
