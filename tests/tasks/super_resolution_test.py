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
from bigmodels.data import Downscaled, transforms
from bigmodels.layers import bicubic, ycbcr
from bigmodels.tasks import super_resolution
from tests.data.folders.written import context
from tests.models.super_resolution import random

MODEL = models.Espcn(2, widths=(8, 4))
TASK = super_resolution(MODEL, scale=2)
PARAMS = random(MODEL)['params']
KEY = jax.random.PRNGKey(0)
SHAPES = ((40, 34), (33, 50), (36, 36))
loss = jax.jit(TASK.loss, static_argnames='train')


def drawing(shape, seed):
  """A smooth image with edges, uint8 `[*shape, 3]`."""
  rng = np.random.default_rng(seed)
  rows, columns = np.mgrid[: shape[0], : shape[1]]
  waves = [np.sin(rows * a + columns * b) + (rows * b > columns * a)
           for a, b in rng.uniform(0.1, 0.7, (3, 2))]
  return np.clip(90 + 60 * np.stack(waves, -1), 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('drawings')
  for seed, shape in enumerate(SHAPES):
    Image.fromarray(drawing(shape, seed)).save(folder / f'{seed}.png')
  return folder


@pytest.fixture(scope='module')
def columns(folder):
  return Downscaled(str(folder), 2).open(context(folder)).load()


def batch(columns, rows=(0, 1, 2), mask=None):
  found = {name: jnp.asarray(x[[*rows]]) for name, x in columns.items()}
  return {**found, 'mask': jnp.ones(len(rows)) if mask is None else jnp.asarray(mask)}


def cut(columns, row):
  """One image without padding, as a batch."""
  height, width = (columns['inside'][row].any(axis).sum() for axis in (1, 0))
  found = batch(columns, [row])
  return {**found, 'inputs': found['inputs'][:, :height, :width],
          'inside': found['inside'][:, :height, :width],
          'labels': found['labels'][:, : 2 * height, : 2 * width]}


def test_the_metrics_are_those_of_the_field(columns):
  _, (_, found, outputs) = loss(PARAMS, {}, batch(columns), KEY, train=False)
  scores = {'psnr': [], 'psnr_bicubic': []}
  for row in range(3):
    one = jax.tree.map(np.asarray, cut(columns, row))
    raw = MODEL.apply({'params': PARAMS}, one['inputs'] / np.float32(255),
                      one['inside'], train=False)[0, ..., 0]
    smooth = bicubic.resize(one['inputs'][0, ..., 0].astype(float), 2)
    for name, image in (('psnr', 255 * np.asarray(raw)), ('psnr_bicubic', smooth)):
      image = np.clip(np.round(image), 0, 255)
      errors = (image - one['labels'][0, ..., 0])[2:-2, 2:-2]
      scores[name].append(20 * np.log10(255) - 10 * np.log10(np.mean(errors**2)))
  for name, expected in scores.items():
    np.testing.assert_allclose(outputs[name], expected, rtol=1e-4)
    assert found[name].compute() == pytest.approx(np.mean(expected), rel=1e-4)


def test_padding_and_masked_images_change_nothing(columns):
  """Every image counts once, alone or beside larger ones."""
  whole, (_, found, _) = loss(PARAMS, {}, batch(columns), KEY, train=False)
  parts = [loss(PARAMS, {}, cut(columns, row), KEY, train=False)[1][1]
           for row in range(3)]
  padded = batch(columns, (0, 1, 2, 0), (1.0, 1.0, 1.0, 0.0))
  again, (_, masked, _) = loss(PARAMS, {}, padded, KEY, train=False)
  assert again == pytest.approx(float(whole), rel=1e-6)
  for name, metric in found.items():
    total = sum(float(part[name].total) for part in parts)
    count = sum(float(part[name].count) for part in parts)
    assert metric.count == count == masked[name].count
    assert metric.total == pytest.approx(total, rel=1e-4), name
    assert masked[name].total == pytest.approx(float(metric.total), rel=1e-5), name
  pixels = 4 * columns['inside'].sum()
  assert found['loss'].count == pixels and found['psnr'].count == 3


def test_the_loss_is_the_mean_over_real_pixels(columns):
  one = cut(columns, 1)
  raw = MODEL.apply({'params': PARAMS}, one['inputs'] / 255, one['inside'], train=False)
  value, _ = loss(PARAMS, {}, batch(columns, [1]), KEY, train=True)
  assert value == pytest.approx(float(jnp.abs(raw - one['labels'] / 255).mean()),
                                rel=1e-4)
  squared = super_resolution(MODEL, jnp.square, scale=2).loss(
    PARAMS, {}, batch(columns, [1]), KEY, False)[0]
  assert squared == pytest.approx(float(((raw - one['labels'] / 255) ** 2).mean()),
                                  rel=1e-4)


def test_one_batch_is_learned_by_heart(columns):
  given = transforms.paired_crop(batch(columns), KEY, size=6)
  task = super_resolution(models.Espcn(2, widths=(16, 16)), jnp.square, scale=2)
  params, _ = task.init(KEY, given)
  optimizer = optax.adam(5e-3)

  @jax.jit
  def train(params, state):
    def step(carry, _):
      params, state = carry
      value, gradient = jax.value_and_grad(
        lambda p: task.loss(p, {}, given, KEY, True)[0])(params)
      updates, state = optimizer.update(gradient, state)
      return (optax.apply_updates(params, updates), state), value
    return jax.lax.scan(step, (params, state), None, 600)[1]

  values = train(params, optimizer.init(params))
  low = given['inputs'][..., 0].astype(jnp.float32)
  smooth = jax.vmap(partial(bicubic.resize, numerator=2))(low)
  error = jnp.mean((smooth - given['labels'][..., 0]) ** 2) / 255**2
  assert values[-1] < 0.2 * error and values[-1] < 0.01 * values[0]


def test_an_image_is_enlarged_as_in_an_evaluation(columns):
  _, (_, _, outputs) = loss(PARAMS, {}, batch(columns), KEY, train=False)
  for row in range(3):
    low = np.asarray(cut(columns, row)['inputs'][0])
    found = TASK.image_to_image(PARAMS, {}, low)
    assert found.dtype == np.uint8
    assert found.shape == (2 * low.shape[0], 2 * low.shape[1], 1)
    expected = outputs['predictions'][row, : len(found), : found.shape[1]]
    assert np.abs(found[..., 0].astype(int) - expected).max() <= 1  # rounded
    assert (found[..., 0] != expected).mean() < 0.01


def test_tiles_of_a_large_image_have_no_seams():
  image = drawing((100, 210), 5)  # 2 x 3 tiles
  found = TASK.image_to_image(PARAMS, {}, image)
  planes = ycbcr.from_rgb(image.astype(np.float32))
  luma = MODEL.apply({'params': PARAMS}, planes[None, ..., :1] / 255,
                     jnp.ones((1, 100, 210)), train=False)[0]
  colours = [bicubic.resize(planes[..., i], 2)[..., None] for i in (1, 2)]
  expected = ycbcr.to_rgb(np.concatenate([255 * luma, *colours], -1))
  assert np.abs(found - np.clip(expected, 0, 255)).max() < 0.51


def test_colours_of_a_flat_image_are_kept():
  """With a network that repeats pixels."""
  model = models.Espcn(2, widths=(1,), activation=lambda x: x)
  params = jax.tree.map(jnp.zeros_like, random(model)['params'])
  params['Conv_0']['kernel'] = params['Conv_0']['kernel'].at[2, 2].set(1)
  params['Conv_1']['kernel'] = params['Conv_1']['kernel'].at[1, 1].set(1)
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
  given = batch(columns) | {'labels': jnp.zeros((3, 60, 60, 1), jnp.uint8)}
  with pytest.raises(ValueError, match=r'the model gives .* must be'):
    TASK.loss(PARAMS, {}, given, KEY, True)


def test_bad_images_of_a_run():
  from bigmodels.training import generation

  for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
    with pytest.raises(UserError, match=r'image: must be uint8 \[height, width, 1 or'):
      generation.check_image(image)
