"""Tests of features and logits, of every family, without training one."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import models, tasks
from bigmodels.config import resolving
from bigmodels.core.errors import UserError
from bigmodels.data import transforms
from bigmodels.layers.dense import Dense
from bigmodels.training.runs import Run
from tests.training.untrained import (
  IMAGES,
  ITEMS,
  LABELS,
  SLOW,
  USERS,
  arrays,
  logits_of,
  of_pairs,
  run_of,
  sentences,
  texts_of,
)


def check(run: Run, inputs, logits, kernel, bias, scale=1.0, **columns) -> None:
  """Compares with logits that are known, and the features with their layer."""
  features, found = run.features(inputs, **columns)
  assert np.std(logits) > 0.05
  np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
  assert features.shape == (len(inputs), kernel.shape[0])
  np.testing.assert_allclose(
    (features @ kernel + bias) * scale, logits, rtol=1e-3, atol=1e-3)


CHEAP = {
  'linear': (models.Linear(3), ('Dense_0',)),
  'mlp': (models.Mlp(3, (5,), batch_norm=True), ('Dense_1',)),
  'cnn': (models.Cnn(3, (4,), hidden=(5,)), ('head', 'Dense_1')),
  'cnn, no hidden': (models.Cnn(3, (4, 5), hidden=()), ('head', 'Dense_0')),
  'vit': (models.Vit(3, size=12, patch=6, depth=2, width=8, heads=2), ('head',)),
}
DEAR = {
  'vit, mean': (models.Vit(3, size=12, patch=6, depth=1, width=8, heads=2,
                           pooling='mean', positions='sincos'), ('head',)),
  'cifar_resnet': (models.CifarResNet(3, 8, 4), ('head',)),
  'resnet': (models.ResNet(3, 18, 4, stem='cifar'), ('head',)),
  'resnet50': (models.ResNet(3, 50, 2, stem='cifar'), ('head',)),
  'mobilenet_v1': (models.MobileNetV1(3, 0.1, reduction=4), ('head',)),
  'mobilenet_v2': (models.MobileNetV2(3, 0.1, reduction=4), ('head',)),
}


@pytest.mark.parametrize('name', [*CHEAP, *(
  pytest.param(name, marks=SLOW) for name in DEAR)])
def test_features_and_logits_of_every_image_classifier(name):
  model, path = (CHEAP | DEAR)[name]
  run = run_of(model, arrays())
  last = run.state.params
  for part in path:
    last = last[part]
  check(run, IMAGES, logits_of(run, IMAGES), last['kernel'], last['bias'])


def test_every_classifier_of_the_experiments_is_among_these():
  found = set()
  for name in resolving.summaries():
    experiment = resolving.resolve(name, {}).experiment
    if getattr(experiment.task, 'func', experiment.task) is tasks.classification:
      found.add(getattr(experiment.model, 'func', type(experiment.model)))
  tested = {type(model) for model, _ in (CHEAP | DEAR).values()} | {
    models.Vgg, models.Airbench, models.BertClassifier, models.RecurrentClassifier,
    models.SeriesClassifier}
  assert len(found) > 8 and found <= tested


@SLOW
def test_vgg():
  images = np.random.default_rng(0).normal(size=(5, 32, 32, 3)).astype(np.float32)
  run = run_of(models.Vgg(3, 11, 2, hidden=(6,)), arrays(images, LABELS[:5]))
  last = run.state.params['head']
  last = last[max(last)]  # Dense_1
  check(run, images, logits_of(run, images), last['kernel'], last['bias'])


def test_series():
  series = np.random.default_rng(0).normal(size=(24, 6, 2)).astype(np.float32)
  run = run_of(models.SeriesClassifier(3, width=5, dropout=0.5), arrays(series))
  last = run.state.params['head']
  check(run, series, logits_of(run, series), last['kernel'], last['bias'])


@SLOW
def test_airbench_divides_what_its_last_layer_makes():
  run = run_of(partial(models.Airbench, 3, widths=(4,)), arrays())
  kernel = run.state.params['head']['kernel']
  check(run, IMAGES, logits_of(run, IMAGES), kernel, 0, 1 / kernel.shape[0])


def mirrored_up(images, weights=(1, 1)):
  return tuple(zip(weights, (images, images[:, ::-1]), strict=True))


@pytest.mark.parametrize('weights, frozen', [((1, 1), False), ((3, 1), True)])
def test_augmentations_are_averaged_as_in_an_evaluation(weights, frozen):
  task = partial(tasks.classification, test_time=partial(mirrored_up, weights=weights))
  if frozen:
    task = partial(tasks.frozen_statistics, task=task, patterns=('.*',))
  run = run_of(models.Mlp(3, (5,), batch_norm=True), arrays(), task)
  one, two = logits_of(run, IMAGES), logits_of(run, IMAGES[:, ::-1])
  assert np.abs(one - two).max() > 0.1
  expected = (weights[0] * one + weights[1] * two) / sum(weights)
  last = run.state.params['Dense_1']
  check(run, IMAGES, expected, last['kernel'], last['bias'])


def test_features_of_confident_examples_are_refused():
  task = partial(tasks.classification, test_time=mirrored_up, confident=0.5)
  run = run_of(models.Linear(3), arrays(), task)
  with pytest.raises(UserError, match=r'has confident=0\.5, which must be 1$'):
    run.features(IMAGES)


def weighted(model):
  return tasks.classification(model, test_time=partial(mirrored_up, weights=(3, 1)))


def test_augmentations_of_a_task_that_a_fork_defines():
  run = run_of(models.Linear(3), arrays(), weighted)
  last = run.state.params['Dense_0']
  expected = (3 * logits_of(run, IMAGES) + logits_of(run, IMAGES[:, ::-1])) / 4
  check(run, IMAGES, expected, last['kernel'], last['bias'])


def hidden(model):
  return weighted(model)._replace(test_time=None)


def test_weights_that_no_task_has_are_refused():
  run = run_of(models.Linear(3), arrays(), hidden)
  with pytest.raises(UserError, match='tiny in RUN is a run of the task hidden, '
                     r"whose probabilities are not those of the mean of its model's "
                     'logits$'):
    run.features(IMAGES)


class Wrapped(nn.Module):
  """A model within another, with a layer beside the last that is not read."""

  inner: nn.Module
  scale: float = 1.0

  @nn.compact
  def __call__(self, inputs, *, train):
    return self.scale * self.inner(inputs / 2, train=train)


class Ours(nn.Module):
  """A forked last layer: of the project, called by keyword, or of no module."""

  kind: str

  @nn.compact
  def __call__(self, inputs, *, train):
    x = nn.relu(nn.Dense(5)(inputs.reshape(len(inputs), -1)))
    if self.kind == 'dense':
      return Dense(3, name='last')(x)
    if self.kind == 'keyword':
      return nn.Dense(3, name='last')(inputs=x)
    if self.kind == 'sequence':
      return nn.Dense(3, name='last')(x[:, None])[:, 0]
    if self.kind == 'jitted':
      return nn.jit(nn.Dense)(3, name='last')(x)
    if self.kind == 'checkpoint':
      return nn.remat(nn.Dense)(3, name='last')(x)
    if self.kind == 'nonlinear':
      return nn.tanh(nn.Dense(3, name='last')(x))
    if self.kind == 'pooled':
      return nn.Dense(3, name='last')(jnp.stack([x, x * x], 1)).mean(1)
    if self.kind == 'residual':
      return nn.Dense(3, name='last')(x) + x[:, :3]
    last = self.param('last', lambda key: {
      'kernel': jax.random.normal(key, (5, 3)), 'bias': jnp.zeros(3)})
    return 2 * (last['bias'] + jnp.einsum('ni,io->no', x, last['kernel'])) / 2


@pytest.mark.parametrize('kind', ['dense', 'keyword', 'sequence', 'jitted', 'bare',
                                  'checkpoint'])
def test_layers_of_forks(kind):
  run = run_of(Ours(kind), arrays())
  last = run.state.params['last']
  check(run, IMAGES, logits_of(run, IMAGES), last['kernel'], last['bias'])


@pytest.mark.parametrize('kind', ['nonlinear', 'pooled', 'residual'])
def test_a_model_that_ends_in_no_dense_layer_is_refused(kind):
  run = run_of(Ours(kind), arrays())
  with pytest.raises(UserError, match='tiny in RUN: its model, Ours, does not end in '
                     'a dense layer that makes its logits'):
    run.features(IMAGES)


def test_a_model_within_another():
  run = run_of(Wrapped(models.Cnn(3, (4,), hidden=(5,))), arrays())
  last = run.state.params['inner']['head']['Dense_1']
  check(run, IMAGES, logits_of(run, IMAGES), last['kernel'], last['bias'])


def test_answers_are_in_float32():
  """Those of a run that works in bfloat16 too: features are compared by digits."""
  run = run_of(models.Mlp(3, (5,)), arrays(), precision='bfloat16')
  assert run.built.precision == 'bfloat16'
  last = run.state.params['Dense_1']
  check(run, IMAGES, logits_of(run, IMAGES), last['kernel'], last['bias'])


def test_one_logit_is_that_of_class_1():
  run = run_of(models.Mlp(1, (5,)), arrays(labels=LABELS % 2))
  logits = logits_of(run, IMAGES)
  features, found = run.features(IMAGES)
  assert features.shape == (24, 5) and found.shape == (24, 2)
  np.testing.assert_allclose(found[:, 1:], logits, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    np.exp(found[:, 1]) / np.exp(found).sum(1), 1 / (1 + np.exp(-logits[:, 0])),
    rtol=1e-4)


def test_transforms_of_the_run_come_first():
  run = run_of(models.Linear(3), arrays(), transforms=(partial(
    transforms.standardize, mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 4.0)),))
  last = run.state.params['Dense_0']
  inputs = (IMAGES - (1, 2, 3)) / (2, 2, 4)
  expected = inputs.reshape(24, -1) @ last['kernel'] + last['bias']
  check(run, IMAGES, expected, last['kernel'], last['bias'])


# --- texts and several inputs ---------------------------------------------------


@pytest.mark.parametrize('model, path', [
  (partial(models.BertClassifier, encoder=partial(
    models.Bert, length=6, depth=2, width=8, heads=2)), ('head',)),
  pytest.param(partial(models.BertClassifier, pooling='mean', encoder=partial(
    models.Bert, length=6, depth=1, width=8, heads=2)), ('head',), marks=SLOW),
  (partial(models.RecurrentClassifier, width=4, embedding=5, depth=2), ('Dense_0',)),
  pytest.param(partial(
    models.RecurrentClassifier, width=8, embedding=5, pooling='mean',
    bidirectional=False), ('Dense_0',), marks=SLOW),
])
def test_classifiers_of_texts(model, path):
  run = run_of(model, sentences())
  tokens, segments = texts_of(sentences())
  assert 0 < segments.mean() < 1 and tokens.shape == (6, 6)
  expected = logits_of(run, tokens, segments=segments)
  last = run.state.params[path[0]]
  check(run, tokens, expected, last['kernel'], last['bias'])
  check(run, tokens.astype(np.int64), expected, last['kernel'], last['bias'],
        segments=segments)
  other = run.features(tokens, segments=np.ones_like(segments))[1]
  assert np.abs(other - expected).max() > 1e-3


def test_features_of_two_columns():
  run, logits = of_pairs(tasks.classification, LABELS, 3)
  features, found = run.features(item=ITEMS, user=USERS)
  np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
  last = run.params['last']
  assert np.std(logits) > 0.05 and features.shape == (24, 5)
  np.testing.assert_allclose(
    features @ last['kernel'] + last['bias'], logits, rtol=1e-3, atol=1e-3)
