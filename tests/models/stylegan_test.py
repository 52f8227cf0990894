"""Tests of bigmodels.models.stylegan against the papers' formulas in NumPy."""

import functools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.models import StyleGan, stylegan

KEY = jax.random.PRNGKey(0)
SMALL = {'size': (8, 4, 3), 'classes': 5, 'latent': 6, 'style': 7, 'mapping': 2,
         'width': 3, 'widest': 8}
LABELS = jnp.array([0, 4, 2, 4], jnp.int32)
LATENTS = jax.random.normal(KEY, (4, 6))
IMAGES = jax.random.uniform(KEY, (4, 8, 4, 3), minval=-1)


@functools.cache
def started(model):
  return jax.jit(partial(model.init, train=False))(
    {'params': KEY, 'noise': KEY}, LATENTS, LABELS, IMAGES)


@partial(jax.jit, static_argnums=0)
def generate(model, variables, latents, labels, noise):
  return model.apply(variables, latents, labels, method='generate', train=True,
                     rngs={'noise': noise})


@partial(jax.jit, static_argnums=0)
def discriminate(model, variables, images, labels):
  return model.apply(variables, images, labels, method='discriminate', train=True)


def correlated(x, kernel):
  """'SAME' cross-correlation of one image with an odd window, in NumPy."""
  pad = kernel.shape[0] // 2
  padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], (0, 1))
  return np.einsum('hwcij,ijco->hwo', windows, kernel)


@pytest.mark.parametrize('window, normalize', [(3, True), (1, False), (3, False)])
def test_a_styled_convolution_has_filters_for_each_example(window, normalize):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(3, 5, 4, 6))
  style = rng.normal(size=(3, 7))
  layer = stylegan._Styled(2, window, normalize)
  variables = jax.jit(layer.init)(KEY, jnp.float32(x), jnp.float32(style))
  actual = jax.jit(layer.apply)(variables, jnp.float32(x), jnp.float32(style))
  params = jax.tree.map(np.float64, variables['params'])
  scale = style @ params['style']['kernel'] / np.sqrt(7) + params['style']['bias']
  filters = params['kernel'] / np.sqrt(window**2 * 6)
  for i in range(3):
    # Karras et al., 2020, equations 1 and 3.
    own = filters * scale[i][None, None, :, None]
    if normalize:
      own = own / np.sqrt((own**2).sum((0, 1, 2)) + 1e-8)
    np.testing.assert_allclose(actual[i], correlated(x[i], own), rtol=1e-4, atol=1e-5)


def test_styles_begin_about_1():
  layer = stylegan._Styled(2)
  params = jax.jit(layer.init)(KEY, jnp.zeros((1, 4, 4, 6)), jnp.zeros((1, 7)))
  np.testing.assert_array_equal(params['params']['style']['bias'], np.ones(6))


@pytest.mark.parametrize('rate', [1.0, 0.01])
def test_a_dense_layer_keeps_the_variance_and_learns_at_its_rate(rate):
  x = jax.random.normal(KEY, (400, 300))
  layer = stylegan._Dense(200, bias=0.5, rate=rate)
  variables = jax.jit(layer.init)(jax.random.PRNGKey(1), x)
  y = jax.jit(layer.apply)(variables, x)
  assert np.mean(y) == pytest.approx(0.5, abs=0.1)
  assert np.var(y) == pytest.approx(1, rel=0.05)
  kernel = variables['params']['kernel']
  assert np.std(kernel) == pytest.approx(1 / rate, rel=0.02)
  # So a step of Adam changes the weights in use by as much of themselves, whatever
  # goes in, and `rate` times as fast.
  slope = jax.jit(jax.grad(lambda v: layer.apply(v, x[:1]).sum()))(variables)
  np.testing.assert_allclose(slope['params']['kernel'][:, 0],
                             rate / np.sqrt(300) * x[0], rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(slope['params']['bias'], np.full(200, rate), rtol=1e-5)


@pytest.mark.parametrize('layer', [
  stylegan._Plain(64, bias=False), stylegan._Plain(64, 1, bias=False),
  stylegan._Styled(64), stylegan._Plain(64)])
def test_convolutions_keep_the_variance(layer):
  x = jax.random.normal(KEY, (4, 16, 16, 48))
  style = (jax.random.normal(KEY, (4, 9)),) * isinstance(layer, stylegan._Styled)
  y, variables = jax.jit(layer.init_with_output)(jax.random.PRNGKey(1), x, *style)
  assert np.std(variables['params']['kernel']) == pytest.approx(1, rel=0.05)
  inside = np.asarray(y)[:, 1:-1, 1:-1]
  # Of what is activated it is the mean square that is kept: (1 + 0.04) / 2 * 2.
  wanted = 1.04 if 'bias' in variables['params'] else 1
  assert np.mean(inside**2) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize('labels', [None, [1, 0, 1, 1, 0, 3], [2] * 6])
def test_variation_is_the_mean_deviation_of_a_class(labels):
  x = 2 + np.random.default_rng(0).normal(size=(6, 3, 2, 5))
  found = np.asarray(stylegan._variation(
    jnp.float32(x), labels and jnp.array(labels), 4 if labels else 0))
  assert found.shape == (6, 3, 2, 1)
  for i in range(6):
    own = x if labels is None else x[np.equal(labels, labels[i])]
    total = 0
    for place in np.ndindex(3, 2, 5):
      values = own[(slice(None), *place)]
      total += np.sqrt(np.mean((values - values.mean()) ** 2) + 1e-8)
    np.testing.assert_allclose(found[i], total / 30, rtol=1e-5)


def test_variation_of_the_same_has_a_slope():
  slope = jax.jit(jax.grad(lambda x: stylegan._variation(x, LABELS, 5).sum()))(
    jnp.ones((4, 2, 2, 3)))
  assert np.isfinite(slope).all()


@pytest.mark.parametrize('size, halvings', [((8, 4, 3), 2), ((8, 8, 1), 3)])
@pytest.mark.parametrize('classes', [0, 5])
def test_images_and_logits(size, halvings, classes):
  model = StyleGan(**{**SMALL, 'size': size, 'halvings': halvings, 'classes': classes})
  (made, logits), variables = jax.eval_shape(
    partial(model.init_with_output, train=False), {'params': KEY, 'noise': KEY},
    LATENTS, LABELS, jnp.zeros((4, *size)))
  assert made.shape == (4, *size) and logits.shape == (4,)
  assert set(variables) == {'params'}
  assert set(variables['params']) == {'generator', 'discriminator'}
  first = variables['params']['generator']['first'].shape
  assert first == (size[0] >> halvings, size[1] >> halvings, 8)


def test_widths_double_up_to_the_widest():
  assert StyleGan(**SMALL).channels == (3, 6, 8)
  assert StyleGan(size=(28, 28, 1)).channels == (16, 32, 64)


def test_the_generator_grows_from_the_widest_to_the_narrowest():
  params = jax.tree.map(jnp.shape, started(StyleGan(**SMALL))['params'])
  found = {name: layer.get('conv', layer)['kernel']
           for name, layer in params['generator'].items()
           if name.startswith(('begin', 'wide', 'deep', 'image'))}
  assert found == {
    'begin': (3, 3, 8, 8), 'image_begin': (1, 1, 8, 3),
    'wide_1': (3, 3, 8, 6), 'deep_1': (3, 3, 6, 6), 'image_1': (1, 1, 6, 3),
    'wide_0': (3, 3, 6, 3), 'deep_0': (3, 3, 3, 3), 'image_0': (1, 1, 3, 3)}
  assert {name: params['discriminator'][name]['kernel'] for name in (
    'wide_0', 'beside_0', 'wide_1', 'beside_1', 'end')} == {
      'wide_0': (3, 3, 3, 6), 'beside_0': (1, 1, 3, 6), 'wide_1': (3, 3, 6, 8),
      'beside_1': (1, 1, 6, 8), 'end': (3, 3, 9, 8)}  # 9: how much the batch varies


def test_noise_without_strength_changes_nothing():
  model = StyleGan(**SMALL)
  variables = started(model)
  one, two = (generate(model, variables, LATENTS, LABELS, jax.random.PRNGKey(seed))
              for seed in (1, 2))
  np.testing.assert_array_equal(one, two)
  generator = dict(variables['params']['generator'])
  layers = {name: layer for name, layer in generator.items()
            if name.startswith(('begin', 'wide', 'deep'))}
  assert len(layers) == 5
  for name, layer in layers.items():
    assert layer['noise'] == 0
    loud = {'params': {**variables['params'], 'generator': {
      **generator, name: {**layer, 'noise': jnp.float32(1)}}}}
    one, two = (generate(model, loud, LATENTS, LABELS, jax.random.PRNGKey(seed))
                for seed in (1, 2))
    assert np.abs(one - two).mean() > 0.01, name


def test_every_noise_is_another():
  model, normal = StyleGan(**SMALL), jax.random.normal
  variables = started(model)

  def noises(variables, key):
    drawn = []

    def record(key, shape, dtype):
      drawn.append(normal(key, shape, dtype))
      return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(jax.random, 'normal', record)
      model.apply(variables, LATENTS, LABELS, method='generate', train=True,
                  rngs={'noise': key})
    return drawn

  drawn = jax.jit(noises)(variables, KEY)
  assert [x.shape for x in drawn] == [(4, 2, 1, 1), *[(4, 4, 2, 1)] * 2,
                                      *[(4, 8, 4, 1)] * 2]
  assert len({float(x.ravel()[0]) for x in drawn}) == 5


def test_latents_count_by_their_direction_and_labels_count():
  model = StyleGan(**SMALL)
  variables = started(model)
  make = partial(generate, model, variables)
  made = make(LATENTS, LABELS, KEY)
  np.testing.assert_allclose(make(3 * LATENTS, LABELS, KEY), made, atol=1e-4)
  assert np.abs(make(-LATENTS, LABELS, KEY) - made).max(axis=(1, 2, 3)).min() > 1e-3
  other = np.abs(make(LATENTS, LABELS[::-1], KEY) - made).max(axis=(1, 2, 3))
  assert (other > 1e-3).tolist() == [True, True, True, True]
  alone = generate(model, variables, LATENTS[:1], LABELS[:1], KEY)
  np.testing.assert_allclose(alone, made[:1], atol=1e-5)


def test_upsampling_is_bilinear():
  ramp = jnp.arange(4.0)[None, :, None, None] * jnp.ones((1, 4, 2, 1))
  found = np.asarray(stylegan._doubled(ramp))
  assert found.shape == (1, 8, 4, 1)
  np.testing.assert_allclose(
    found[0, :, 0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_the_discriminator_knows_the_class_and_how_its_images_vary():
  model = StyleGan(**SMALL)
  variables = started(model)
  logits = discriminate(model, variables, IMAGES, LABELS)
  changed = discriminate(model, variables, IMAGES, LABELS.at[0].set(3))
  assert abs(changed - logits)[0] > 1e-4
  np.testing.assert_allclose(changed[1:], logits[1:], rtol=1e-5)
  # Images 1 and 3 are of one class.
  same = discriminate(model, variables, IMAGES.at[3].set(IMAGES[1]), LABELS)
  assert abs(same - logits)[1] > 1e-4
  np.testing.assert_allclose(same[::2], logits[::2], rtol=1e-5)


@pytest.mark.parametrize('fields, message', [
  ({'size': (28, 30, 1)}, 'size: 2 halvings need (height, width, channels) with sides '
   'divisible by 4, got (28, 30, 1)'),
  ({'size': (8, 8)}, 'divisible by 4, got (8, 8)'),
  *(({name: 0}, f'{name}: must be >= 1, got 0') for name in (
    'latent', 'style', 'mapping', 'width', 'widest', 'halvings'))])
def test_wrong_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    StyleGan(**{**SMALL, **fields})


@pytest.mark.parametrize('images, message', [
  (jnp.zeros((4, 8, 8, 3)), 'StyleGan makes images of (8, 4, 3), the data has '
   '(8, 8, 3); set --config.model.size to that'),
  (jnp.zeros((4, 8, 4)), 'StyleGan needs images [batch, height, width, channels], got '
   '(4, 8, 4)'),
  (jnp.zeros((4, 8, 4, 3), jnp.int32), 'StyleGan needs images of floats, got int32')])
def test_images_of_another_shape_are_refused(images, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    jax.eval_shape(partial(StyleGan(**SMALL).init, train=False),
                   {'params': KEY, 'noise': KEY}, LATENTS, LABELS, images)
