"""Tests of tasks.super_resolution: its conventions, padding, and whole images."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from bigmodels import models
from bigmodels.core.errors import UserError
from bigmodels.data import Downscaled
from bigmodels.layers import bicubic, ycbcr
from bigmodels.tasks import super_resolution
from tests.data.folders.written import context
from tests.models.super_resolution import random

MODEL = models.Espcn(2, widths=(8, 4))
TASK = super_resolution(MODEL, jnp.square, scale=2)
PARAMS = random(MODEL)['params']
KEY = jax.random.PRNGKey(0)
SHAPES = ((40, 50), (34, 36))  # the first is the largest, and so not padded
evaluate = jax.jit(partial(TASK.loss, train=False))
network = jax.jit(lambda x, inside: MODEL.apply(
  {'params': PARAMS}, x / 255, inside, train=False))


def drawing(shape, seed):
  """A smooth image with edges, uint8 `[*shape, 3]`."""
  rng = np.random.default_rng(seed)
  rows, columns = np.mgrid[: shape[0], : shape[1]]
  waves = [np.sin(rows * a + columns * b) + (rows * b > columns * a)
           for a, b in rng.uniform(0.1, 0.7, (3, 2))]
  return np.clip(90 + 60 * np.stack(waves, -1), 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def columns(tmp_path_factory):
  folder = tmp_path_factory.mktemp('drawings')
  for seed, shape in enumerate(SHAPES):
    Image.fromarray(drawing(shape, seed)).save(folder / f'{seed}.png')
  return Downscaled(str(folder), 2).open(context(folder)).load()


def batch(columns, rows=(0, 1, 1), mask=(1, 1, 0)):
  return {**{name: x[[*rows]] for name, x in columns.items()},
          'mask': np.array(mask, np.float32)}


def cut(columns, row, rows=1):
  """A batch of one image without padding, and of masked ones."""
  height, width = (columns['inside'][row].any(axis).sum() for axis in (1, 0))
  found = batch(columns, [row] * rows, [1] + [0] * (rows - 1))
  return {**found, 'inputs': found['inputs'][:, :height, :width],
          'inside': found['inside'][:, :height, :width],
          'labels': found['labels'][:, : 2 * height, : 2 * width]}


def raw(one):
  """What the network makes of a batch of one image, 0 to 255."""
  return 255 * np.asarray(network(one['inputs'].astype(np.float32), one['inside'])
                          )[0, ..., 0]


@pytest.fixture(scope='module')
def evaluated(columns):
  """Loss, metrics and outputs of both images in one batch."""
  value, (_, found, outputs) = evaluate(PARAMS, {}, batch(columns), KEY)
  return jax.tree.map(np.asarray, (value, found, outputs))


def test_the_metrics_are_those_of_the_field(columns, evaluated):
  _, found, outputs = evaluated
  scores = {'psnr': [], 'psnr_bicubic': []}
  for row in range(2):
    one = cut(columns, row)
    smooth = bicubic.resize(one['inputs'][0, ..., 0].astype(float), 2)
    for name, image in (('psnr', raw(one)), ('psnr_bicubic', smooth)):
      image = np.clip(np.round(image), 0, 255)
      errors = (image - one['labels'][0, ..., 0])[2:-2, 2:-2]
      scores[name].append(20 * np.log10(255) - 10 * np.log10(np.mean(errors**2)))
  for name, expected in scores.items():
    np.testing.assert_allclose(outputs[name][:2], expected, rtol=1e-4)
    assert found[name].compute() == pytest.approx(np.mean(expected), rel=1e-4)


def test_padding_and_masked_images_change_nothing(columns, evaluated):
  """Every image counts once, alone or beside larger ones."""
  whole, found, _ = evaluated
  again, (_, masked, _) = evaluate(
    PARAMS, {}, batch(columns, (0, 1, 0)), KEY)
  parts = [evaluate(PARAMS, {}, cut(columns, row, rows=3), KEY)[1][1]
           for row in range(2)]
  assert again == pytest.approx(float(whole), rel=1e-6)
  for name, metric in found.items():
    total = sum(float(part[name].total) for part in parts)
    count = sum(float(part[name].count) for part in parts)
    assert metric.count == count == masked[name].count
    assert metric.total == pytest.approx(total, rel=1e-4), name
    assert masked[name].total == pytest.approx(float(metric.total), rel=1e-5), name
  assert found['loss'].count == 4 * columns['inside'].sum()
  assert found['psnr'].count == 2


@pytest.mark.parametrize('error', [jnp.abs, jnp.square])
def test_the_loss_is_the_mean_over_real_pixels(error, columns):
  one = cut(columns, 1)
  expected = np.mean(error((raw(one) - one['labels'][0, ..., 0]) / 255))
  task = super_resolution(MODEL, error, scale=2)
  value = jax.jit(partial(task.loss, train=True))(
    PARAMS, {}, batch(columns, (1, 1, 0), (1, 0, 0)), KEY)[0]
  assert value == pytest.approx(float(expected), rel=1e-4)


def test_one_batch_is_learned_by_heart(columns):
  window = {'inputs': np.s_[:, 5:11, 5:11], 'inside': np.s_[:, 5:11, 5:11],
            'labels': np.s_[:, 10:22, 10:22]}
  given = {name: columns[name][where] for name, where in window.items()} | {
    'mask': np.ones(2, np.float32)}
  model = models.Espcn(2, widths=(16,))
  task = super_resolution(model, jnp.square, scale=2)
  optimizer = optax.adam(1e-2)

  @jax.jit
  def train(params):
    def step(carry, _):
      params, state = carry
      value, gradient = jax.value_and_grad(
        lambda p: task.loss(p, {}, given, KEY, True)[0])(params)
      updates, state = optimizer.update(gradient, state)
      return (optax.apply_updates(params, updates), state), value
    return jax.lax.scan(step, (params, optimizer.init(params)), None, 400)[1]

  values = train(random(model)['params'])
  smooth = np.array([bicubic.resize(low, 2)
                     for low in given['inputs'][..., 0].astype(float)])
  error = np.mean((smooth - given['labels'][..., 0]) ** 2) / 255**2
  assert values[-1] < 0.2 * error and values[-1] < 0.01 * values[0]


def test_an_image_is_enlarged_as_in_an_evaluation(columns, evaluated):
  for row in range(2):
    low = cut(columns, row)['inputs'][0]
    found = TASK.image_to_image(PARAMS, {}, low)
    assert found.dtype == np.uint8
    assert found.shape == (2 * low.shape[0], 2 * low.shape[1], 1)
    expected = evaluated[2]['predictions'][row, : len(found), : found.shape[1]]
    assert np.abs(found[..., 0].astype(int) - expected).max() <= 1  # rounded
    assert (found[..., 0] != expected).mean() < 0.01


def test_tiles_of_a_large_image_have_no_seams():
  image = drawing((100, 210), 5)  # 2 x 3 tiles
  found = TASK.image_to_image(PARAMS, {}, image)
  planes = ycbcr.from_rgb(image.astype(np.float32))
  luma = raw({'inputs': planes[None, ..., :1], 'inside': np.ones((1, 100, 210), bool)})
  colours = [bicubic.resize(planes[..., i], 2) for i in (1, 2)]
  expected = ycbcr.to_rgb(np.stack([luma, *colours], -1))
  assert np.abs(found - np.clip(expected, 0, 255)).max() < 0.51


def test_colours_of_a_flat_image_are_kept():
  """With a network that repeats pixels."""
  model = models.Espcn(2, widths=(1,), activation=lambda x: x)
  params = jax.tree.map(np.zeros_like, random(model)['params'])
  params['Conv_0']['kernel'][2, 2] = params['Conv_1']['kernel'][1, 1] = 1
  image = np.broadcast_to(np.array([200, 30, 90], np.uint8), (5, 7, 3))
  found = super_resolution(model, scale=2).image_to_image(params, {}, image)
  np.testing.assert_array_equal(found, np.broadcast_to(image[0, 0], (10, 14, 3)))


@pytest.mark.parametrize('model, scale, message', [
  (models.Espcn(2), 3, 'Espcn enlarges 2 times, the data is 3 times smaller'),
  (models.Mlp(2), 2, 'needs a model with a radius, such as models.Espcn, got Mlp')])
def test_a_model_that_does_not_fit(model, scale, message):
  with pytest.raises(ValueError, match=message):
    super_resolution(model, scale=scale)


def test_labels_of_another_scale(columns):
  given = batch(columns) | {'labels': np.zeros((3, 60, 60, 1), np.uint8)}
  with pytest.raises(ValueError, match=r'the model gives .* must be'):
    jax.eval_shape(partial(TASK.loss, train=True), PARAMS, {}, given, KEY)


def test_bad_images_of_a_run():
  from bigmodels.training import generation

  for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
    with pytest.raises(UserError, match=r'image: must be uint8 \[height, width, 1 or'):
      generation.check_image(image)
