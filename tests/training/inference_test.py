"""Tests of what runs are asked about: what they read, and what they answer."""

import re
from functools import partial

import numpy as np
import optax
import pytest

from bigmodels import data, learners, models, tasks
from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers, transforms
from bigmodels.data.texts import Documents
from tests.training.untrained import (
  IMAGES,
  ITEMS,
  LABELS,
  SLOW,
  USERS,
  arrays,
  of_pairs,
  run_of,
  sentences,
  texts_of,
)

CHANCE = np.random.default_rng(1)


@pytest.fixture(scope='module')
def images():
  return run_of(models.Linear(3), arrays())


@pytest.fixture(scope='module')
def texts():
  return run_of(partial(models.RecurrentClassifier, width=4, embedding=5), sentences())


@pytest.fixture(scope='module')
def ratings():
  return of_pairs(tasks.regression, 3 + 2 * CHANCE.normal(size=24), 1)


# --- columns --------------------------------------------------------------------


def test_a_regression_of_two_columns_predicts(ratings):
  run, answer = ratings
  mean, std = run.built.data['kept']['targets']
  assert np.std(answer) > 0.05 and np.shape(mean) == (1,) and std[0] > 1
  for columns in ({'user': USERS, 'item': ITEMS}, {'item': ITEMS, 'user': USERS}):
    found = run.predict(**columns)
    assert list(found) == ['predictions'] and found['predictions'].shape == (24, 1)
    np.testing.assert_allclose(
      found['predictions'], answer * std + mean, rtol=1e-4, atol=1e-4)


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


def test_padding_that_no_token_shows_is_asked_for():
  source = sentences(('unknown',))
  run = run_of(partial(models.RecurrentClassifier, width=4, embedding=5), source)
  tokens, segments = texts_of(source)
  with pytest.raises(UserError, match='tiny in RUN needs the column segments: pass '
                     r'segments=\.\.\.$'):
    run.features(tokens)
  assert run.features(tokens, segments=segments)[1].shape == (6, 2)


# --- images and texts -----------------------------------------------------------


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
  ('cat.png', {}, "a file is given as pathlib.Path('cat.png')"),
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


# --- tables ---------------------------------------------------------------------


@pytest.mark.parametrize('inputs', [
  np.zeros((3, 2), np.float32), np.zeros((3, 2)), np.zeros((3, 5), np.float32)])
def test_an_array_is_no_row_of_a_table(tmp_path, inputs):
  """What a table's run reads is columns by name, cleaned by what was fitted to it."""
  path = tmp_path / 'table.csv'
  path.write_text('height,color,kind\n' + ''.join(
    f'{i}.5,{"rgb"[i % 3]},{"ab"[i % 2]}\n' for i in range(60)))
  run = run_of(models.Linear(2), data.Table(
    str(path), 'kind', task='classification'))
  with pytest.raises(UserError, match='a run of a table reads rows with the '
                     'columns height, color, which it cleans: name -> values, a '
                     'DataFrame or a list of mappings, or files as pathlib'):
    run.features(inputs)


# --- what a run does not answer -------------------------------------------------


class Lines:
  """What `data.Packed` needs of texts."""

  name = 'lines'

  def read(self, split, context):
    del split, context
    return Documents([f'{a}{b} {c}a' for a in 'abcd' for b in 'abcd' for c in 'abcd'])


def language(task, model):
  words = tokenizers.Words(9, special=('pad', 'unknown', 'mask', 'end'))
  return run_of(model, data.Packed(Lines(), words, 6), task)


def generator(classes=3):
  adam = partial(optax.adam, 1e-3)
  return run_of(
    models.Dcgan(size=(8, 8, 1), classes=classes, latent=4, width=2), arrays(
      CHANCE.integers(0, 255, (24, 8, 8, 1)).astype(np.uint8)),
    partial(tasks.generation, classifier=None),
    partial(learners.adversarial, discriminator_optimizer=adam),
    transforms=(partial(transforms.standardize, mean=(127.5,), std=(127.5,)),))


def regression(*shape):
  labels = CHANCE.normal(size=(24, *shape))
  return run_of(models.Linear(int(np.prod(shape))), arrays(labels=labels),
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
  'a fork': (lambda: run_of(models.Linear(1), arrays(labels=np.ones(24)),
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
