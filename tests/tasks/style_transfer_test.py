"""Tests of tasks.style_transfer: its losses, and the images that it makes."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import models
from bigmodels.data.sources import in_memory
from bigmodels.tasks import style_transfer
from tests.losses.grams import gram

KEY = jax.random.PRNGKey(0)
RNG = np.random.default_rng(0)
PHOTOGRAPHS = RNG.integers(0, 256, (3, 10, 12, 3)).astype(np.uint8)
STYLES = RNG.integers(0, 256, (3, 8, 14, 3)).astype(np.uint8)
BATCH = {'inputs': PHOTOGRAPHS, 'style': STYLES, 'row': np.arange(3),
         'mask': np.ones(3, np.float32)}


MEAN, STD = (100.0, 120.0, 140.0), (50.0, 60.0, 70.0)


class Powers(nn.Module):
  """Features that NumPy has, too: the values, and their squares of every other row.

  The values are those of images, standardized.
  """

  layers = ('values', 'squares')

  def __call__(self, images, *, train):
    del train
    images = (255 * images - jnp.array(MEAN)) / jnp.array(STD)
    return {'values': images, 'squares': images[:, ::2] ** 2}


def powers(images):
  return {'values': images, 'squares': images[::2] ** 2}


MODEL = models.StyleTransfer(
  models.Pictures(in_memory({'inputs': PHOTOGRAPHS}, None), 'noise'), Powers())
WEIGHTS = {'content': 2.0, 'style': 3.0, 'variation': 5.0}
TASK = style_transfer(
  MODEL, content=('squares',), style=('values', 'squares'),
  **{f'{name}_weight': weight for name, weight in WEIGHTS.items()})
PARAMS = {'network': {'pictures': RNG.normal(0.5, 0.4, PHOTOGRAPHS.shape).astype(
  np.float32)}}  # some of it beyond black and white
evaluate = jax.jit(partial(TASK.loss, train=False))


def described(image):
  """The features of an image from 0 to 1, float64 `[height, width, 3]`."""
  return powers((255 * image - MEAN) / STD)


def expected(image, row):
  """The three losses of an image, by NumPy."""
  ours = described(image)
  photograph, style = (described(each[row] / 255) for each in (PHOTOGRAPHS, STYLES))
  below, beside = (np.diff(image, axis=axis) for axis in (0, 1))
  return {
    'content': np.mean((ours['squares'] - photograph['squares']) ** 2),
    'style': np.mean([np.sum((gram(ours[layer]) - gram(style[layer])) ** 2)
                      for layer in ours]),
    'variation': np.mean(below**2) + np.mean(beside**2)}


def total(found):
  return sum(weight * found[name] for name, weight in WEIGHTS.items())


def test_the_losses_of_training():
  value, (_, found, _) = jax.jit(partial(TASK.loss, train=True))(PARAMS, {}, BATCH, KEY)
  each = [expected(image.astype(float), row)
          for row, image in enumerate(PARAMS['network']['pictures'])]
  assert value == pytest.approx(np.mean([*map(total, each)]), rel=1e-5)
  for name in WEIGHTS:
    assert found[name].compute() == pytest.approx(
      np.mean([one[name] for one in each]), rel=1e-5)


def test_an_evaluation_is_of_what_is_seen():
  """Of 8 bits, beside the photograph itself and noise."""
  _, (_, found, outputs) = evaluate(PARAMS, {}, BATCH, KEY)
  seen = np.clip(np.round(255 * PARAMS['network']['pictures']), 0, 255)
  np.testing.assert_array_equal(outputs['predictions'], seen)
  np.testing.assert_array_equal(outputs['photographs'], PHOTOGRAPHS)
  np.testing.assert_array_equal(outputs['styles'], STYLES)
  for row in range(3):
    for name, value in expected(seen[row] / 255, row).items():
      assert outputs[name][row] == pytest.approx(value, rel=1e-4)
    photograph = expected(PHOTOGRAPHS[row] / 255, row)
    assert outputs['style_photograph'][row] == pytest.approx(
      photograph['style'], rel=1e-4)
  assert found['style_noise'].compute() > 0 < found['content_noise'].compute()
  assert len({*np.asarray(outputs['content_noise']).tolist()}) == 3
  again = evaluate(PARAMS, {}, BATCH, jax.random.PRNGKey(1))[1][1]
  assert found['style_noise'].compute() == again['style_noise'].compute()


def test_masked_photographs_change_nothing():
  masked = {**BATCH, 'mask': np.float32([1, 0, 1]), 'inputs': PHOTOGRAPHS.copy()}
  masked['inputs'][1] = 255
  value, (_, found, outputs) = evaluate(PARAMS, {}, masked, KEY)
  seen = np.asarray(outputs['predictions']) / 255
  rows = [expected(seen[row], row) for row in (0, 2)]
  assert value == pytest.approx(np.mean([*map(total, rows)]), rel=1e-4)
  assert all(metric.count == 2 for metric in found.values())


@pytest.mark.parametrize('start', ['photograph', 'noise'])
def test_pictures_start_as(start):
  pictures = models.Pictures(in_memory({'inputs': PHOTOGRAPHS}, None), start)
  task = style_transfer(MODEL.clone(network=pictures), content=('values',),
                        style=('values',))
  params, state = task.init(KEY, jax.tree.map(jnp.zeros_like, BATCH))
  found = np.asarray(params['network']['pictures'])
  assert not state and [*params] == ['network']
  if start == 'photograph':
    np.testing.assert_array_equal(found, PHOTOGRAPHS.astype(np.float32) / 255)
  else:
    assert found.shape == PHOTOGRAPHS.shape and found.min() >= 0 and found.max() < 1
    assert abs(found.mean() - 0.5) < 0.03 and abs(found.std() - 12**-0.5) < 0.02


def test_pictures_are_descended_to_content_and_style():
  """Each row is of its own photograph; the losses of content and style vanish."""
  for wanted, weights in (('content', (1.0, 0.0)), ('style', (0.0, 1.0))):
    task = style_transfer(MODEL, content=('values',), style=('values',),
                          content_weight=weights[0], style_weight=weights[1])
    optimizer = optax.adam(0.03)

    @jax.jit
    def train(params, task=task, optimizer=optimizer):
      def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(
          lambda p: task.loss(p, {}, BATCH, KEY, True)[0])(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value
      return jax.lax.scan(step, (params, optimizer.init(params)), None, 300)

    (params, _), values = train(PARAMS)
    assert values[-1] < 1e-3 * values[0], wanted
    if wanted == 'content':
      np.testing.assert_allclose(
        params['network']['pictures'], PHOTOGRAPHS / 255, atol=0.02)


class Inverse(nn.Module):
  """A network: the negative, if sides are even."""

  multiple, least = 2, 6

  @nn.compact
  def __call__(self, photographs, row, *, train):
    del row, train
    assert not any(n % 2 for n in photographs.shape[1:3])
    return 1 - photographs * self.param('scale', nn.initializers.ones, ())


@pytest.mark.parametrize('shape', [(7, 10), (3, 4), (6, 8)])
@pytest.mark.parametrize('channels', [1, 3])
def test_images_of_any_size(shape, channels):
  task = style_transfer(MODEL.clone(network=Inverse()), content=('values',),
                        style=('values',))
  image = RNG.integers(0, 256, (*shape, channels)).astype(np.uint8)
  found = task.image_to_image({'network': {'scale': jnp.ones(())}}, {}, image)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, 255 - np.broadcast_to(image, (*shape, 3)))


def test_pictures_that_are_parameters_take_no_others():
  assert TASK.image_to_image is None


@pytest.mark.parametrize('settings, message', [
  ({'content': ('value',)}, "content: the features have no layer 'value'; did you mean "
   "'values'"),
  ({'style': ()}, 'style: must be at least one layer, got none'),
  ({'style_weight': -1.0}, 'style_weight: must be finite and >= 0, got -1.0'),
  ({'variation_weight': float('nan')}, 'variation_weight: must be finite')])
def test_settings_that_do_not_fit(settings, message):
  given = {'content': ('values',), 'style': ('values',), **settings}
  with pytest.raises(ValueError, match=message):
    style_transfer(MODEL, **given)


def test_a_model_or_data_that_do_not_fit():
  with pytest.raises(ValueError, match=r'needs a model that describes .*, got Mlp'):
    style_transfer(models.Mlp(2))
  given = {name: x for name, x in BATCH.items() if name != 'style'}
  with pytest.raises(ValueError, match=r"needs the columns 'inputs' and 'style'"):
    jax.eval_shape(partial(TASK.loss, train=True), PARAMS, {}, given, KEY)


@pytest.mark.reference
@pytest.mark.parametrize('batch_norm', [False, True])
def test_loss_and_gradient_are_those_of_pytorch(batch_norm):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  functional = torch.nn.functional
  features = models.VggFeatures(11, 4, batch_norm, mean=MEAN, std=STD)
  shape = (3, 40, 44, 3)
  photographs, styles = RNG.integers(0, 256, (2, *shape)).astype(np.uint8)
  model = models.StyleTransfer(models.Pictures(
    training=in_memory({'inputs': photographs}, None)), features)
  layers = {'content': ('relu3_2',), 'style': ('relu1_1', 'relu2_1', 'relu3_1')}
  task = style_transfer(model, **layers, style_weight=40.0, variation_weight=3.0)
  batch = {**BATCH, 'inputs': photographs, 'style': styles}
  params, state = jax.tree.map(np.asarray, jax.jit(task.init)(KEY, batch))
  params['network']['pictures'] = pictures = RNG.uniform(size=shape).astype(np.float32)
  state = jax.tree.map(lambda x: x + 0.3, state)
  value, gradient = jax.jit(jax.value_and_grad(
    lambda p: task.loss(p, state, batch, KEY, True)[0]))(params)

  def describe(images):
    found, mean = {}, torch.tensor(MEAN)[:, None, None]
    x = (255 * images - mean) / torch.tensor(STD)[:, None, None]
    for stage, count in ((1, 1), (2, 1), (3, 2)):
      for layer in range(1, count + 1):
        name = f'{stage}_{layer}'
        conv = params['features'][f'conv{name}']
        x = functional.conv2d(x, torch.tensor(conv['kernel'].transpose(
          3, 2, 0, 1).copy()), torch.tensor(conv['bias']), padding=1)
        if batch_norm:
          norm, kept = params['features'][f'norm{name}'], (
            state['batch_stats']['features'][f'norm{name}'])
          x = functional.batch_norm(x, *map(torch.tensor, (
            kept['mean'], kept['var'], norm['scale'], norm['bias'])))
        x = found[f'relu{name}'] = torch.relu(x)
      x = functional.max_pool2d(x, 2)
    return found

  def grams(x):
    rows = x.flatten(2)
    return rows @ rows.transpose(1, 2) / x[0].numel()

  ours = torch.tensor(pictures.transpose(0, 3, 1, 2).copy(), requires_grad=True)
  photograph, style = (describe(torch.tensor(x.transpose(0, 3, 1, 2) / np.float32(255)))
                       for x in (photographs, styles))
  found = describe(ours)
  theirs = functional.mse_loss(found['relu3_2'], photograph['relu3_2'])
  for layer in layers['style']:
    theirs = theirs + 40 / 3 * functional.mse_loss(
      grams(found[layer]), grams(style[layer]), reduction='sum') / 3
  theirs = theirs + 3 * (functional.mse_loss(ours[:, :, 1:], ours[:, :, :-1])
                         + functional.mse_loss(ours[..., 1:], ours[..., :-1]))
  theirs.backward()
  assert value == pytest.approx(theirs.item(), rel=1e-5)
  slope = ours.grad.numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(gradient['network']['pictures'], slope, rtol=0,
                             atol=1e-5 * np.abs(slope).max())
