"""Tests of bigmodels.training.compile: what is said if model and data do not fit."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.data import transforms
from bigmodels.data.recordings import FeatureTable
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from bigmodels.training.compile import compile_traced, trace
from tests.data.recordings import written

CNN = models.Cnn(num_outputs=3, widths=(4,), hidden=(4,))
VIT = models.Vit(num_outputs=3, size=8, patch=4, depth=1, width=8, heads=2)
FITTED = (transforms.standardize,)
FIXED = (partial(transforms.standardize, mean=0.0, std=1.0),)
COLOUR, GREY, LARGE = (8, 8, 3), (8, 8, 1), (12, 12, 3)


def images(shape, first=0):
  rows = np.arange(first, first + 12)
  inputs = np.ones((12, *shape)) * rows.reshape(-1, *[1] * len(shape))
  return data.Arrays(inputs=inputs.astype(np.uint8), labels=rows % 3)


def traced(model, train, test, given=FITTED, test_given=None):
  """An experiment on two splits of such shapes, traced and not compiled."""
  return traced_on(model, images(train), images(test, 12), given, given
                   if test_given is None else test_given)


def traced_on(model, train, test, given=(), test_given=(), task=tasks.classification):
  experiment = Experiment(
    model=model, task=task, optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(source=train, batch_size=4, transforms=given),
    evals={'test': data.Batches(source=test, batch_size=4, transforms=test_given)},
    duration=Duration(steps=1))
  one = layout.make_layout(MeshShape(), 'jit', ())
  built = build.build(experiment, one, DataContext(None, None, {}))
  return trace(built.learner, built.train, built.evals, one)


class Lazy(nn.Module):
  """With convolutions whose gradients JAX derives."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Conv(4, (3, 3))(nn.Conv(4, (3, 3))(x))
    return nn.Dense(3)(x.reshape(len(x), -1))


@pytest.mark.parametrize('model, platform, loops', [
  (CNN, 'cpu', True), (Lazy(), 'cpu', False), (Lazy(), 'gpu', True),
  (models.Cnn(num_outputs=3, widths=(4, 4), hidden=(), kernel=5), 'cpu', True)])
def test_steps_of_a_dispatch_where_convolutions_are_slow_in_a_loop(
    monkeypatch, model, platform, loops):
  monkeypatch.setattr(layout.Layout, 'platform', platform)
  assert (traced(model, COLOUR, COLOUR).most > 1) == loops


@pytest.mark.parametrize('model, shape', [(CNN, COLOUR), (CNN, LARGE), (CNN, GREY),
                                          (VIT, COLOUR)])
def test_images_that_fit_are_traced(model, shape):
  shapes = traced(model, shape, shape).output_shapes['test']
  assert shapes['probabilities'].shape == (4, 3)


@pytest.mark.parametrize('model, shape, given, said', [
  (VIT, LARGE, FITTED,
   'Vit needs images of (8, 8, 3) (size, size, channels), got (12, 12, 3)'),
  (VIT, GREY, FITTED,
   'Vit needs images of (8, 8, 3) (size, size, channels), got (8, 8, 1)'),
  (VIT, COLOUR, (),
   'Vit needs images of floats, got uint8 (8, 8, 3): end the transforms with '
   'standardize'),
  (CNN, COLOUR, (),
   'Cnn needs images of floats, got uint8 (8, 8, 3): end the transforms with '
   'standardize'),
  (CNN, (8, 8), FITTED,
   'Cnn needs images [batch, height, width, channels], got (4, 8, 8)'),
])
def test_training_images_that_a_model_cannot_take(model, shape, given, said):
  with pytest.raises(UserError, match=re.escape(
      f"the model and the data of 'train' do not fit: {said}") + '$'):
    traced(model, shape, shape, given)


@pytest.mark.parametrize('model', [CNN, VIT])
@pytest.mark.parametrize('shape', [LARGE, GREY])
@pytest.mark.parametrize('given', [FITTED, FIXED])
def test_images_of_an_evaluation_that_are_not_as_in_training(model, shape, given):
  both = f"; column 'inputs' is uint8 {shape} in 'test', uint8 (8, 8, 3) in 'train'"
  with pytest.raises(UserError, match=(
      "^(the model and the data of 'test' do not fit|the transforms of 'test'): .*"
      + re.escape(both) + '$')):
    traced(model, COLOUR, shape, given)


def test_columns_of_an_evaluation_that_are_not_as_in_training():
  def source(width, first):
    rows = np.arange(first, first + 12)
    return data.Arrays(labels=rows % 3, columns={
      'pixels': rows[:, None] * np.ones(width, np.float32)})

  with pytest.raises(UserError, match=(
      r"^the model and the data of 'test' do not fit: .*; column 'pixels' is float64 "
      r"\(5,\) in 'test', float64 \(4,\) in 'train'$")):
    traced_on(models.Mlp(num_outputs=3, widths=(4,)), source(4, 0), source(5, 12),
              task=partial(tasks.classification, inputs=('pixels',)))


def broken(batch, key):
  return batch['pictures']


@pytest.mark.parametrize('given, test_given, said', [
  ((partial(transforms.flip, probability=2),), (),
   "the transforms of 'train': flip: probability must be 0 to 1, got 2"),
  (FITTED, (partial(transforms.crop, size=9), *FITTED),
   "the transforms of 'test': crop: size 9 is larger than images of 8 x 8"),
  ((broken,), (), "the transforms of 'train': KeyError: 'pictures' (compile_test.py, "),
])
def test_settings_of_transforms_are_not_blamed_on_the_model(given, test_given, said):
  with pytest.raises(UserError, match='^' + re.escape(said)):
    traced(CNN, COLOUR, COLOUR, given, test_given)


def test_transforms_that_an_evaluation_lacks():
  with pytest.raises(UserError, match="data of 'test' do not fit: Cnn needs images of "
                     r'floats, got uint8 \(8, 8, 3\): end [a-z ]*$'):
    traced(CNN, COLOUR, COLOUR, FITTED, ())


def test_a_model_of_other_columns_than_inputs():
  ids = np.arange(8, dtype=np.int32)
  ratings = data.Arrays(columns={'user': ids, 'item': ids, 'labels': ids / 8})

  class Ratings(nn.Module):

    @nn.compact
    def __call__(self, user, item, *, train):
      raise ValueError('no such user')

  experiment = Experiment(
    model=Ratings(), task=partial(tasks.regression, inputs=('user', 'item')),
    optimizer=partial(optax.sgd, 0.1), train=data.Batches(source=ratings, batch_size=4),
    evals={}, duration=Duration(steps=1))
  one = layout.make_layout(MeshShape(), 'jit', ())
  built = build.build(experiment, one, DataContext(None, None, {}))
  with pytest.raises(UserError, match=r"data of 'train' do not fit: no such user$"):
    trace(built.learner, built.train, built.evals, one)


def test_data_without_inputs_is_named():
  source = data.Arrays(columns={'user': np.arange(8), 'item': np.arange(8) % 3},
                       labels=np.arange(8) % 2)
  experiment = Experiment(
    model=models.Mlp(2, (4,)), task=tasks.classification,
    optimizer=partial(optax.sgd, 0.1), duration=Duration(steps=1),
    train=data.Batches(source=source, batch_size=4), evals={})
  one = layout.make_layout(MeshShape(), 'jit', ())
  built = build.build(experiment, one, DataContext(None, None, {}))
  with pytest.raises(UserError, match=(
    r"'train' do not fit: the task needs the column 'inputs', the data has .*item")):
    trace(built.learner, built.train, built.evals, one)


# --- batches of several lengths ---------------------------------------------------


def of_recordings(folder, resident, strategy='jit', mesh=MeshShape(), accumulate=1):  # noqa: B008
  """An experiment on recordings of two lengths, built on a mesh."""
  rng = np.random.default_rng(0)
  counts = rng.choice([6, 8, 20, 24], 40)
  folder = written.features(folder, counts, rng.choice(['AB', 'B', 'BAB'], 40))
  source = written.speech(FeatureTable(folder), buckets=2)
  experiment = Experiment(
    model=partial(models.RecurrentCtc, width=4, depth=1), task=tasks.ctc,
    optimizer=partial(optax.sgd, 0.1), accumulate=accumulate,
    train=data.Batches(source=source, batch_size=8, resident=resident,
                       transforms=(transforms.normalize_frames,)),
    evals={}, duration=Duration(steps=6))
  return build.build(experiment, layout.make_layout(mesh, strategy, ()),
                     DataContext(None, None, {}, say=lambda line: None))


def advanced(built, steps=6):
  """The parameters after some steps, and the sum of the metrics."""
  programs = compile_traced(trace(built.learner, built.train, {}, built.layout))
  carry = programs.init(jax.random.PRNGKey(0))
  for step in range(steps):
    carry, _ = programs.advance(
      carry, built.train.host_batch(step, 1), 1, step == 0, (0, 0, -1))
  built.close()
  return jax.device_get((carry.state.params, carry.window))


@pytest.mark.parametrize('settings', [
  {'resident': True}, {'resident': False}, *(
    pytest.param({'resident': True, **more}, marks=pytest.mark.slow('compile'))
    for more in ({'accumulate': 2}, {'strategy': 'pmap'}))], ids=str)
def test_cut_batches_are_whole_batches(tmp_path, settings):
  """Steps on batches that are cut to their bucket equal steps on padded ones."""
  built = of_recordings(tmp_path / 'speech', **settings)
  order, columns = built.train.order, built.train.dataset.load()
  assert built.train.lengths == (8, 24)
  assert {order.bucket(step) for step in range(6)} == {0, 1}
  params, window = advanced(built)
  whole = of_recordings(tmp_path / 'speech', True)
  state, total = whole.learner.init(jax.random.PRNGKey(0), {
    **{name: x[:8] for name, x in columns.items()}, 'mask': np.ones(8)}), []
  step = jax.jit(whole.learner.step)
  for number in range(6):
    rows = order.rows(number)
    batch = {name: jnp.asarray(x[rows]) for name, x in columns.items()}
    batch = transforms.normalize_frames(batch, None)
    state, metrics = step(state, {**batch, 'mask': jnp.ones(8)})
    total.append(metrics['loss'])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               params, jax.device_get(state.params))
  np.testing.assert_allclose(window['loss'].total, sum(m.total for m in total), 1e-4)
