"""Tests of bigmodels.models.wavenet: what a prediction depends on, and its cache."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import WaveNet

MODEL = WaveNet(levels=24, width=4, skip=16, depth=3, stacks=2)
CLASSES = WaveNet(levels=24, classes=3, width=4, skip=16, depth=3, stacks=2)
RNG = np.random.default_rng(0)


def params_of(model, *inputs):
  """As large as initial values, none of them zero."""
  shapes = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), *inputs)
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda p: rng.normal(0, 0.4, p.shape).astype(np.float32),
                      shapes['params'])


TOKENS = RNG.permutation(24)[None]  # each level once, so that it has its own gradient
PARAMS = params_of(MODEL, TOKENS)


@partial(jax.jit, static_argnums=0)
def run(model, params, *inputs):
  return model.apply({'params': params}, *inputs, train=False)


def test_causality_and_receptive_field_by_gradients():
  """The row of an embedding is the input of the one place that has its level."""
  def logits(tables):
    return run(MODEL, {**PARAMS, **tables}, TOKENS)[0].sum(-1)

  tables = {name: PARAMS[name] for name in ('levels', 'levels_before')}
  slopes = jax.jit(jax.jacobian(logits))(tables)
  depends = sum(np.abs(np.asarray(each['embedding'])).sum(-1) for each in
                slopes.values())[:, TOKENS[0]]  # [outputs, inputs]
  assert MODEL.receptive_field == 16
  for at in range(24):
    for of in range(24):
      reached = of <= at < of + MODEL.receptive_field
      assert (depends[at, of] > 0) == reached, (at, of)


def test_against_a_plain_loop():
  """A sum over two steps for each layer, in NumPy, sample by sample."""
  labels = np.array([2])
  params = params_of(CLASSES, TOKENS, labels)
  kernel = {name: np.asarray(each.get('kernel', each.get('embedding')), np.float64)
            for name, each in params.items()}
  bias = {name: np.asarray(each['bias'], np.float64) for name, each in params.items()
          if 'bias' in each}
  ids = TOKENS[0]
  x = [kernel['levels'][ids[t]] + (kernel['levels_before'][ids[t - 1]] if t else 0)
       for t in range(24)]
  outputs = []
  for layer, dilation in enumerate((1, 2, 4, 1, 2, 4)):
    gated = []
    for t in range(24):
      before = x[t - dilation] if t >= dilation else np.zeros(4)
      gates = np.concatenate([before, x[t]]) @ kernel[f'gates_{layer}'] + bias[
        f'gates_{layer}'] + kernel['classes'][2] @ kernel[f'class_{layer}']
      gated.append(np.tanh(gates[:4]) / (1 + np.exp(-gates[4:])))
    outputs.append(gated)
    if layer < 5:
      x = [x[t] + gated[t] @ kernel[f'residual_{layer}'] + bias[f'residual_{layer}']
           for t in range(24)]
  for t, found in enumerate(np.asarray(run(CLASSES, params, TOKENS, labels))[0]):
    h = np.concatenate([each[t] for each in outputs])
    for name in ('skip', 'hidden'):
      h = np.maximum(h @ kernel[name] + bias[name], 0)
    np.testing.assert_allclose(found, h @ kernel['head'] + bias['head'], rtol=1e-4,
                               atol=1e-4)


def test_cached_equals_uncached():
  model, labels = CLASSES, (np.arange(3),)
  tokens = RNG.integers(24, size=(3, 30))
  params = params_of(model, tokens, *labels)
  expected = run(model, params, tokens, *labels)

  @jax.jit
  def decode(tokens):
    def step(cache, token):
      logits, cache = model.apply(
        {'params': params, **cache}, token[:, None], *labels, train=False, decode=True,
        mutable=['cache'])
      return cache, logits[:, 0]

    shapes = jax.eval_shape(lambda: step({}, tokens[:, 0])[0])
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(step, empty, tokens.T)[1]

  np.testing.assert_allclose(np.swapaxes(decode(tokens), 0, 1), expected, atol=1e-5)


def test_classes_change_the_prediction():
  params = params_of(CLASSES, TOKENS, np.array([0]))
  found = [run(CLASSES, params, TOKENS, np.array([label])) for label in (0, 1)]
  assert np.abs(found[0] - found[1]).max() > 0.01


def test_what_is_refused():
  with pytest.raises(ValueError, match='the model has 3, but the data has no labels'):
    CLASSES.init(jax.random.key(0), TOKENS, train=False)
  with pytest.raises(ValueError, match='the model has 0, but the data has labels'):
    MODEL.init(jax.random.key(0), TOKENS, np.array([0]), train=False)
  with pytest.raises(ValueError, match='decoded one by one, got 24'):
    MODEL.apply({'params': PARAMS}, TOKENS, train=False, decode=True,
                mutable=['cache'])
  for given, message in (({'depth': 0}, 'depth: must be >= 1, got 0'),
                         ({'depth': 40}, 'depth: must be <= 20, a dilation of 524,288'),
                         ({'classes': -1}, 'classes: must be >= 0, got -1')):
    with pytest.raises(ValueError, match=message):
      WaveNet(**given)
