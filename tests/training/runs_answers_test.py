"""What bigmodels.training.runs answers for every family, without training one."""

import dataclasses
import pathlib
import re
from functools import partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment, resolving
from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers, transforms
from bigmodels.data.dataset_spec import Recorded
from bigmodels.data.sources import DataContext, in_memory
from bigmodels.data.texts import Documents, Labelled
from bigmodels.layers.dense import Dense
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from bigmodels.training.compile import trace
from bigmodels.training.runs import Run

CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.normal(size=(24, 12, 12, 3)).astype(np.float32)
LABELS = np.arange(24, dtype=np.int32) % 3
SLOW = pytest.mark.slow('compile deep models')


def random(tree, rng):
  """Every array random, as large as what keeps activations about as large."""
  def draw(path, x):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    if not np.issubdtype(x.dtype, np.floating):
      return np.zeros(x.shape, x.dtype)
    noise = rng.normal(size=x.shape)
    if name in ('var', 'scale'):
      return np.exp(0.2 * noise).astype(x.dtype)
    inside = np.prod(x.shape[:-1]) if name == 'kernel' else 1
    return (noise * (inside and 1.5 / inside**0.5)).astype(x.dtype)

  return jax.tree.map_with_path(draw, tree)


def trained(model, source, task=tasks.classification, learner=learners.supervised,
            transforms=(), **fields) -> Run:
  """A run that never was: its parameters are random."""
  record = Experiment(
    model=model, task=task, optimizer=partial(optax.sgd, 0.1), learner=learner,
    train=data.Batches(source=source, batch_size=4, transforms=transforms), evals={},
    duration=Duration(steps=1), **fields)
  one = layout.make_layout(
    MeshShape(), 'jit', (), jax.devices()[:1])._replace(abstract=False)
  context = DataContext(None, pathlib.Path(), {}, lambda line: None, lambda path: None)
  build.build(record, one, context).close()
  built = build.build(dataclasses.replace(record, train=dataclasses.replace(
    record.train, source=Recorded(), batch_size=1, resident=False)), one, context)
  traced = trace(built.learner, built.train, {}, one)
  state = random(traced.carry.state, np.random.default_rng(1))
  resolved = SimpleNamespace(name='tiny', experiment=record)
  return Run(resolved, pathlib.Path('RUN'), built, traced, state, 1)


def arrays(inputs=IMAGES, labels=LABELS):
  return data.Arrays(inputs=inputs, labels=labels)


def check(run: Run, inputs, logits, kernel, bias, scale=1.0, **columns) -> None:
  """Compares with logits that are known, and the features with their layer."""
  features, found = run.features(inputs, **columns)
  assert np.std(logits) > 0.05
  np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
  assert features.shape == (len(inputs), kernel.shape[0])
  np.testing.assert_allclose(
    (features @ kernel + bias) * scale, logits, rtol=1e-3, atol=1e-3)


def of_flax(run: Run, inputs, **keywords):
  """The model's own answer, by Flax alone."""
  state = run.state
  return np.asarray(jax.jit(lambda inputs: run.built.model.apply(
    {'params': state.params, **state.model_state}, inputs, train=False,
    **keywords))(inputs))


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
  run = trained(model, arrays())
  last = run.state.params
  for part in path:
    last = last[part]
  check(run, IMAGES, of_flax(run, IMAGES), last['kernel'], last['bias'])


def test_every_classifier_of_the_experiments_is_among_these():
  found = set()
  for name in resolving.summaries():
    experiment = resolving.resolve(name, {}).experiment
    if getattr(experiment.task, 'func', experiment.task) is tasks.classification:
      found.add(getattr(experiment.model, 'func', type(experiment.model)))
  tested = {type(model) for model, _ in (CHEAP | DEAR).values()} | {
    models.Vgg, models.Airbench, models.BertClassifier, models.RecurrentClassifier}
  assert len(found) > 8 and found <= tested


@SLOW
def test_vgg():
  images = CHANCE.normal(size=(5, 32, 32, 3)).astype(np.float32)
  run = trained(models.Vgg(3, 11, 2, hidden=(6,)), arrays(images, LABELS[:5]))
  last = run.state.params['head']
  last = last[max(last)]  # Dense_1
  check(run, images, of_flax(run, images), last['kernel'], last['bias'])


@SLOW
def test_airbench_divides_what_its_last_layer_makes():
  run = trained(partial(models.Airbench, 3, widths=(4,)), arrays())
  kernel = run.state.params['head']['kernel']
  check(run, IMAGES, of_flax(run, IMAGES), kernel, 0, 1 / kernel.shape[0])


def mirrored_up(images, weights=(1, 1)):
  return tuple(zip(weights, (images, images[:, ::-1]), strict=True))


@pytest.mark.parametrize('weights, frozen', [((1, 1), False), ((3, 1), True)])
def test_augmentations_are_averaged_as_in_an_evaluation(weights, frozen):
  task = partial(tasks.classification, test_time=partial(mirrored_up, weights=weights))
  if frozen:
    task = partial(tasks.frozen_statistics, task=task, patterns=('.*',))
  run = trained(models.Mlp(3, (5,), batch_norm=True), arrays(), task)
  one, two = of_flax(run, IMAGES), of_flax(run, IMAGES[:, ::-1])
  assert np.abs(one - two).max() > 0.1
  expected = (weights[0] * one + weights[1] * two) / sum(weights)
  last = run.state.params['Dense_1']
  check(run, IMAGES, expected, last['kernel'], last['bias'])


def weighted(model):
  return tasks.classification(model, test_time=partial(mirrored_up, weights=(3, 1)))


def test_weights_that_no_config_has_are_refused():
  run = trained(models.Linear(3), arrays(), weighted)
  with pytest.raises(UserError, match='tiny in RUN is a run of the task weighted, '
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
  run = trained(Ours(kind), arrays())
  last = run.state.params['last']
  check(run, IMAGES, of_flax(run, IMAGES), last['kernel'], last['bias'])


@pytest.mark.parametrize('kind', ['nonlinear', 'pooled', 'residual'])
def test_a_model_that_ends_in_no_dense_layer_is_refused(kind):
  run = trained(Ours(kind), arrays())
  with pytest.raises(UserError, match='tiny in RUN: its model, Ours, does not end in '
                     'a dense layer that makes its logits'):
    run.features(IMAGES)


def test_a_model_within_another():
  run = trained(Wrapped(models.Cnn(3, (4,), hidden=(5,))), arrays())
  last = run.state.params['inner']['head']['Dense_1']
  check(run, IMAGES, of_flax(run, IMAGES), last['kernel'], last['bias'])


def test_answers_are_in_float32():
  """Those of a run that works in bfloat16 too: features are compared by digits."""
  run = trained(models.Mlp(3, (5,)), arrays(), precision='bfloat16')
  assert run.built.precision == 'bfloat16'
  last = run.state.params['Dense_1']
  check(run, IMAGES, of_flax(run, IMAGES), last['kernel'], last['bias'])


def test_one_logit_is_that_of_class_1():
  run = trained(models.Mlp(1, (5,)), arrays(labels=LABELS % 2))
  logits = of_flax(run, IMAGES)
  features, found = run.features(IMAGES)
  assert features.shape == (24, 5) and found.shape == (24, 2)
  np.testing.assert_allclose(found[:, 1:], logits, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    np.exp(found[:, 1]) / np.exp(found).sum(1), 1 / (1 + np.exp(-logits[:, 0])),
    rtol=1e-4)


def test_transforms_of_the_run_come_first():
  run = trained(models.Linear(3), arrays(), transforms=(partial(
    transforms.standardize, mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 4.0)),))
  last = run.state.params['Dense_0']
  inputs = (IMAGES - (1, 2, 3)) / (2, 2, 4)
  expected = inputs.reshape(24, -1) @ last['kernel'] + last['bias']
  check(run, IMAGES, expected, last['kernel'], last['bias'])


# --- texts ----------------------------------------------------------------------

TEXTS = ['a b c', 'b', 'c c a b', 'a', 'b a', 'c']


class Reviews:
  """What `data.Sentences` needs of labelled texts."""

  name = 'reviews'

  def read(self, split, context):
    del split, context
    return Labelled(TEXTS, ['no', 'yes'] * 3, lambda row: f'row {row}', '')


def sentences(special=('pad', 'unknown', 'class')):
  return data.Sentences(Reviews(), tokenizers.Words(8, special=special), 6)


def texts_of(source):
  found = source.open(DataContext(None, None, {}, lambda line: None)).load()
  return found['inputs'], found['segments']


@pytest.mark.parametrize('model, path', [
  (partial(models.BertClassifier, encoder=partial(
    models.Bert, length=6, depth=2, width=8, heads=2)), ('head',)),
  pytest.param(partial(models.BertClassifier, pooling='mean', encoder=partial(
    models.Bert, length=6, depth=1, width=8, heads=2)), ('head',), marks=SLOW),
  (partial(models.RecurrentClassifier, width=4, embedding=5, depth=2), ('Dense_0',)),
  pytest.param(partial(
    models.RecurrentClassifier, width=4, embedding=5, pooling='mean',
    bidirectional=False), ('Dense_0',), marks=SLOW),
])
def test_classifiers_of_texts(model, path):
  run = trained(model, sentences())
  tokens, segments = texts_of(sentences())
  assert 0 < segments.mean() < 1 and tokens.shape == (6, 6)
  expected = of_flax(run, tokens, segments=segments)
  last = run.state.params[path[0]]
  check(run, tokens, expected, last['kernel'], last['bias'])
  check(run, tokens.astype(np.int64), expected, last['kernel'], last['bias'],
        segments=segments)
  other = run.features(tokens, segments=np.ones_like(segments))[1]
  assert np.abs(other - expected).max() > 1e-3


def test_padding_that_no_token_shows_is_asked_for():
  source = sentences(('unknown',))
  run = trained(partial(models.RecurrentClassifier, width=4, embedding=5), source)
  tokens, segments = texts_of(source)
  with pytest.raises(UserError, match='tiny in RUN needs the column segments: pass '
                     r'segments=\.\.\.$'):
    run.features(tokens)
  assert run.features(tokens, segments=segments)[1].shape == (6, 2)


# --- several inputs -------------------------------------------------------------

USERS = CHANCE.normal(size=(24, 4)).astype(np.float32)
ITEMS = CHANCE.normal(size=(24, 2, 3)).astype(np.float32)


class Pairs(nn.Module):
  """A model of two inputs, which are not the same to it."""

  num_outputs: int

  @nn.compact
  def __call__(self, user, item, *, train):
    x = nn.Dense(5)(user) * nn.Dense(5)(item.reshape(len(item), -1))
    return nn.Dense(self.num_outputs, name='last')(nn.relu(x))


def of_pairs(task, labels, num_outputs):
  source = data.Arrays(columns={'user': USERS, 'item': ITEMS}, labels=labels)
  run = trained(Pairs(num_outputs), source, partial(task, inputs=('user', 'item')))
  return run, np.asarray(run.model.apply(
    {'params': run.params}, USERS, ITEMS, train=False))


@pytest.fixture(scope='module')
def ratings():
  return of_pairs(tasks.regression, 3 + 2 * CHANCE.normal(size=24), 1)


def test_a_regression_of_two_columns_predicts(ratings):
  run, answer = ratings
  mean, std = run.built.data['kept']['targets']
  assert np.std(answer) > 0.05 and np.shape(mean) == (1,) and std[0] > 1
  for columns in ({'user': USERS, 'item': ITEMS}, {'item': ITEMS, 'user': USERS}):
    found = run.predict(**columns)
    assert list(found) == ['predictions'] and found['predictions'].shape == (24, 1)
    np.testing.assert_allclose(
      found['predictions'], answer * std + mean, rtol=1e-4, atol=1e-4)


def test_features_of_two_columns():
  run, logits = of_pairs(tasks.classification, LABELS, 3)
  features, found = run.features(item=ITEMS, user=USERS)
  np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
  last = run.params['last']
  assert np.std(logits) > 0.05 and features.shape == (24, 5)
  np.testing.assert_allclose(
    features @ last['kernel'] + last['bias'], logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('inputs, columns, words', [
  ((), {}, 'tiny in RUN needs the columns user, item: pass user=..., item=...'),
  ((None,), {}, 'tiny in RUN needs the columns user, item: pass user=..., item=...'),
  ((), {'item': ITEMS}, 'tiny in RUN needs the column user: pass user=...'),
  ((), {'user': USERS}, 'tiny in RUN needs the column item: pass item=...'),
  ((USERS,), {'item': ITEMS}, 'tiny in RUN reads user, item, not inputs'),
  ((), {'user': USERS, 'item': ITEMS, 'labels': LABELS},
   'tiny in RUN reads user, item, not labels'),
  ((), {'user': USERS, 'item': {'x': ITEMS}}, 'item: must be an array, got dict'),
  ((), {'user': USERS, 'item': ITEMS[:5]},
   'item: must have as many rows as user, 24, got 5'),
  ((), {'item': ITEMS[:5], 'user': USERS},
   'user: must have as many rows as item, 5, got 24'),
  ((), {'user': USERS[:0], 'item': ITEMS[:0]}, 'user: must have >= 1 row, got 0'),
])
def test_columns_that_a_run_of_two_does_not_know(ratings, inputs, columns, words):
  with pytest.raises(UserError, match=f'^{re.escape(words)}$'):
    ratings[0].predict(*inputs, **columns)


def test_a_run_of_inputs_is_asked_without_any(images):
  with pytest.raises(UserError, match='tiny in RUN needs the column inputs: pass '
                     r'inputs=\.\.\.$'):
    images.predict()


# --- what a run does not read ---------------------------------------------------


@pytest.fixture(scope='module')
def images():
  return trained(models.Linear(3), arrays())


@pytest.fixture(scope='module')
def texts():
  return trained(partial(models.RecurrentClassifier, width=4, embedding=5), sentences())


def with_value(value):
  found = IMAGES[:5].copy()
  found[2, 3, 4, 1] = found[4, 0, 0, 0] = value
  return found


@pytest.mark.parametrize('inputs, columns, words', [
  (IMAGES.astype(np.uint8), {}, 'tiny in RUN: inputs: must be [n, 12, 12, 3] '
   'float32, got [24, 12, 12, 3] uint8'),
  (IMAGES.astype(np.float16), {}, 'got [24, 12, 12, 3] float16'),
  (with_value(0).astype(float) * 1e39, {}, 'inputs: 5 of 5 rows have values that are '
   'not finite in float32'),
  (np.ma.masked_less(IMAGES, 0), {}, 'inputs: must be an array without masked values'),
  ([[1.0], [1.0, 2.0]], {}, 'inputs: must be an array of rows of one shape ('),
  (IMAGES[..., :1], {}, 'got [24, 12, 12, 1] float32'),
  (IMAGES[0], {}, 'got [12, 12, 3] float32'),
  (IMAGES.transpose(0, 3, 1, 2), {}, 'got [24, 3, 12, 12] float32'),
  (np.float32(1), {}, 'got [] float32'),
  ('cat.png', {}, 'got [] <U7'),
  (IMAGES.astype(complex), {}, 'got [24, 12, 12, 3] complex128'),
  ({'x': IMAGES}, {}, 'inputs: must be an array, got dict'),
  (IMAGES[:0], {}, 'inputs: must have >= 1 row, got 0'),
  (with_value(np.nan), {}, 'inputs: 2 of 5 rows have values that are not finite in '
   'float32, the first is row 2'),
  (with_value(-np.inf), {}, 'inputs: 2 of 5 rows have values that are not finite'),
  (IMAGES, {'segments': LABELS}, 'tiny in RUN reads inputs, not segments'),
  (IMAGES, {'labels': LABELS}, 'tiny in RUN reads inputs, not labels')])
def test_inputs_that_a_run_of_images_does_not_know(images, inputs, columns, words):
  with pytest.raises(UserError, match=re.escape(words)):
    images.features(inputs, **columns)


@pytest.mark.parametrize('convert', [np.ndarray.tolist, np.float64])
def test_lists_and_float64_are_rounded_to_float32(images, convert):
  for one, two in zip(images.features(IMAGES), images.features(convert(IMAGES)),
                      strict=True):
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize('inputs, columns, words', [
  ([[0, 1, 2, 3, 4, 99]], {}, 'inputs: the token 99 of row 0 is not in the '
   'vocabulary, 0 to 5'),
  ([[1] * 6, [2, -1, 0, 0, 0, 0]], {}, 'inputs: the token -1 of row 1 is not in'),
  (np.ones((2, 6)), {}, 'tiny in RUN: inputs: must be [n, 6] integers, got '
   '[2, 6] float64'),
  (np.ones((2, 5), int), {}, 'got [2, 5] int64'),
  ([['a'] * 6], {}, 'got [1, 6] <U1'),
  (np.ones((2, 6), int), {'segments': np.ones((1, 6), np.int32)},
   'segments: must have as many rows as inputs, 2, got 1'),
  (np.ones((2, 6), int), {'segments': np.ones((2, 6), bool)},
   'tiny in RUN: segments: must be [n, 6] int32, got [2, 6] bool'),
  (np.ones((2, 6), int), {'segments': np.ones((2, 5), np.int32)},
   'segments: must be [n, 6] int32, got [2, 5] int32')])
def test_inputs_that_a_run_of_texts_does_not_know(texts, inputs, columns, words):
  with pytest.raises(UserError, match=re.escape(words)):
    texts.features(inputs, **columns)


class Lines:
  """What `data.Packed` needs of texts."""

  name = 'lines'

  def read(self, split, context):
    del split, context
    return Documents([f'{a}{b} {c}a' for a in 'abcd' for b in 'abcd' for c in 'abcd'])


def language(task, model):
  words = tokenizers.Words(9, special=('pad', 'unknown', 'mask', 'end'))
  return trained(model, data.Packed(Lines(), words, 6), task)


def generator(classes=3):
  adam = partial(optax.adam, 1e-3)
  return trained(
    models.Dcgan(size=(8, 8, 1), classes=classes, latent=4, width=2), arrays(
      CHANCE.integers(0, 255, (24, 8, 8, 1)).astype(np.uint8)),
    partial(tasks.generation, classifier=None),
    partial(learners.adversarial, discriminator_optimizer=adam),
    transforms=(partial(transforms.standardize, mean=(127.5,), std=(127.5,)),))


def regression(*shape):
  labels = CHANCE.normal(size=(24, *shape))
  return trained(models.Linear(int(np.prod(shape))), arrays(labels=labels),
                 tasks.regression)


def named_otherwise(model):
  """A fork's task, whose evaluation gives no probabilities."""
  return tasks.regression(model, target_mean=[0.0], target_std=[1.0])


GPT = models.Gpt(9, length=6, depth=1, width=8, heads=2)
MASKED = models.MaskedBert(models.Bert(9, length=6, depth=1, width=8, heads=2))
LSTM = models.RecurrentLanguageModel(9, width=4)
TOKENS, FEW = np.ones((2, 6), np.uint16), np.zeros((2, 8, 8, 1), np.uint8)
OTHERS = {
  'regression': (regression, IMAGES, 'regression'),
  'regression of several': (lambda: regression(2), IMAGES, 'regression'),
  'regression of a map': (lambda: regression(2, 3), IMAGES, 'regression'),
  'a fork': (lambda: trained(models.Linear(1), arrays(labels=np.ones(24)),
                             named_otherwise), IMAGES, 'named_otherwise'),
  'gpt': (lambda: language(tasks.next_token, GPT), TOKENS, 'next_token'),
  'lstm': (lambda: language(tasks.next_token, LSTM), TOKENS, 'next_token'),
  'masked bert': (lambda: language(tasks.masked_token, MASKED), TOKENS, 'masked_token'),
  'other rate': (lambda: language(partial(tasks.masked_token, rate=0.5), MASKED),
                  TOKENS, 'masked_token'),
  'gan': (generator, FEW, 'generation'),
  'gan without classes': (lambda: generator(0), FEW, 'generation')}


@pytest.mark.parametrize('kind', [pytest.param(kind, marks=[SLOW] * (kind in (
  'other rate', 'gan without classes'))) for kind in OTHERS])
def test_runs_that_give_no_probabilities_are_named(kind):
  make, inputs, task = OTHERS[kind]
  with pytest.raises(UserError, match=f'^tiny in RUN is a run of the task {task}, '
                     'which gives no probabilities$'):
    make().features(inputs)


@pytest.mark.parametrize('kind', [
  'regression', 'gpt', 'masked bert', 'images', 'texts'])
def test_runs_that_generate_no_images_are_named(kind, images, texts):
  made = {'images': lambda: images, 'texts': lambda: texts}
  make = made[kind] if kind in made else OTHERS[kind][0]
  task = 'classification' if kind in made else OTHERS[kind][2]
  with pytest.raises(UserError, match=f'^tiny in RUN is a run of the task {task}, '
                     'which generates no images$'):
    make().generate_images(np.arange(3))


@pytest.mark.parametrize('inputs', [
  np.zeros((3, 2), np.float32), np.zeros((3, 2)), np.zeros((3, 5), np.float32)])
def test_an_array_is_no_row_of_a_table(tmp_path, inputs):
  """What a table's run reads is columns by name, cleaned by what was fitted to it."""
  path = tmp_path / 'table.csv'
  path.write_text('height,color,kind\n' + ''.join(
    f'{i}.5,{"rgb"[i % 3]},{"ab"[i % 2]}\n' for i in range(60)))
  run = trained(models.Linear(2), data.Table(
    str(path), 'kind', task='classification'))
  with pytest.raises(UserError, match='a run of a table reads rows with the '
                     'columns height, color, which it cleans: name -> values, a '
                     'DataFrame or a list of mappings, or files as pathlib'):
    run.features(inputs)


# --- the classes of a run that measures another ---------------------------------


@dataclasses.dataclass(frozen=True)
class Pictures:
  """A source of bytes whose classes have the names that a test gives them."""

  classes: tuple
  named: bool = True

  def open(self, context):
    del context
    return in_memory({
      'inputs': np.zeros((8, 8, 8, 1), np.uint8),
      'labels': np.arange(8, dtype=np.int32) % len(self.classes)},
      self.classes)._replace(named=self.named)


NAMES, NUMBERS = ('cat', 'dog', 'elk'), ('0', '1', '2')


@pytest.mark.parametrize('ours, theirs, named, given, words', [
  (NAMES, NAMES, (True, True), 3, None),
  (NAMES, (*NAMES, 'owl'), (True, True), 3, None),  # it knows more
  (NUMBERS, NUMBERS, (False, False), 3, None),
  (NAMES, ('owl', 'cat', 'elk'), (True, True), 0, None),  # no class is asked for
  (NAMES, None, (True, True), 3, None),
  (NAMES, ('dog', 'cat', 'elk'), (True, True), 3, "refused: class 0 is 'dog' in mnist "
   "in J, and 'cat' in the data of this run: the same classes in another order"),
  (NAMES, ('cat', 'elk', 'dog'), (True, True), 3, "refused: class 1 is 'elk' in mnist "
   "in J, and 'dog' in the data of this run: the same classes in another order"),
  (NAMES, ('cat', 'dog', 'owl'), (True, True), 3, "refused: class 2 is 'owl' in mnist "
   "in J, and 'elk' in the data of this run"),
  (NAMES, ('owl', *NAMES), (True, True), 3, "refused: class 0 is 'owl' in mnist in J, "
   "and 'cat' in the data of this run"),
  (NAMES, ('Cat', 'dog', 'elk'), (True, True), 3, "refused: class 0 is 'Cat' in mnist "
   "in J, and 'cat' in the data of this run"),
  (NUMBERS, ('1', '2', '3'), (True, True), 3, "refused: class 0 is '1' in mnist in J, "
   "and '0' in the data of this run"),
  (NAMES, NUMBERS, (True, False), 3, "class 0 is '0' in mnist in J, and 'cat' in the "
   'data of this run; one of them has numbers for names, so they are compared by '
   'number'),
  (NUMBERS, NAMES, (False, True), 3, "class 0 is 'cat' in mnist in J, and '0' in the "
   'data of this run; one of them has numbers for names, so they are compared by '
   'number'),
  (NAMES, ('cat', 'dog'), (True, True), 3, 'refused: --config.task.classifier=J: has '
   '2 classes, the model makes images of 3')])
def test_a_classifier_of_other_classes_is_no_measure(ours, theirs, named, given, words):
  adam, lines = partial(optax.adam, 1e-3), []
  record = Experiment(
    model=models.Dcgan(size=(8, 8, 1), classes=given, latent=4, width=2),
    task=partial(tasks.generation, classifier='J'), optimizer=adam, evals={},
    learner=partial(learners.adversarial, discriminator_optimizer=adam),
    train=data.Batches(source=Pictures(ours, named[0]), batch_size=4, transforms=(
      partial(transforms.standardize, mean=(127.5,), std=(127.5,)),)),
    duration=Duration(steps=1))
  classifier = SimpleNamespace(
    name='mnist in J', classes=theirs, named=named[1],
    features=lambda images: (None, np.zeros((len(images), len(theirs or ours)))))
  one = layout.make_layout(MeshShape(), 'jit', (), jax.devices()[:1])
  context = DataContext(None, pathlib.Path(), {}, lines.append, lambda path: classifier)

  def checked():
    build.check_task(build.build(record, one, context), {}, lines.append)

  if words and words.startswith('refused: '):
    with pytest.raises(UserError) as error:
      checked()
    assert str(error.value) == words.removeprefix('refused: ')
    return
  checked()
  assert [line for line in lines if 'class ' in line] == ([words] if words else [])


@pytest.mark.parametrize('named', [True, False])
def test_whether_classes_have_names_is_kept_with_a_run(named):
  run = trained(models.Linear(3), Pictures(NAMES, named))
  assert run.classes == NAMES and run.named == named
  assert run.built.data['kept']['train'].get('named', True) == named
