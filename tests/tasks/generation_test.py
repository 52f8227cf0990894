"""Tests of bigmodels.tasks.generation against its parts put together by hand."""

import functools
import re
from functools import partial
from types import SimpleNamespace

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import losses, metrics, models, tasks
from bigmodels.core.errors import UserError
from bigmodels.data import transforms
from bigmodels.parallel.precision import in_precision
from bigmodels.tasks import Split
from bigmodels.tasks.generated_images import SNAPSHOT, snapshot, to_bytes
from bigmodels.tasks.generation import _latents as plain_latents
from bigmodels.tasks.generation import _on_path as plain_on_path

KEY = jax.random.PRNGKey(0)
DCGAN = models.Dcgan(size=(4, 4, 1), classes=3, latent=4, width=2, embedding=2)
PLAIN = DCGAN.clone(discriminator_norm=False)
STYLE = models.StyleGan(size=(4, 4, 1), classes=3, latent=4, style=4, mapping=1,
                        width=2, widest=4, halvings=1)
MODELS = {'dcgan': DCGAN, 'plain': PLAIN, 'style': STYLE}
_latents = jax.jit(plain_latents, static_argnums=2)
_on_path = jax.jit(plain_on_path, static_argnums=2)
PENALTIES = {None: None, 'r1': losses.r1, 'slope': losses.gradient_penalty}


class Dots(nn.Module):
  """Two adversaries of one product each: no example is looked at for another."""

  latent: int = 4
  classes: int = 3

  def setup(self):
    self.generator, self.discriminator = nn.Dense(16), nn.Dense(1)

  def __call__(self, latents, labels, images, *, train):
    return (self.generate(latents, labels, train=train),
            self.discriminate(images, labels, train=train))

  def generate(self, latents, labels, *, train):
    return jnp.tanh(self.generator(latents) + labels[:, None]).reshape(-1, 4, 4, 1)

  def discriminate(self, images, labels, *, train):
    return self.discriminator(jnp.tanh(images.reshape(len(images), -1)))[:, 0]


def batch(n=4, masked=0, filled=0.0):
  """The last examples are masked, and hold whatever they are filled with."""
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (n, 4, 4, 1)).astype(np.float32)
  mask = (np.arange(n) < n - masked).astype(np.float32)
  images[mask == 0] = filled
  return {'inputs': images, 'labels': np.arange(n, dtype=np.int32) % 3, 'mask': mask}


def task_of(model=DCGAN, penalty=None, **others):
  return tasks.generation(model, penalty=penalty, **{
    'open_run': None, 'examples': None, **others})


@functools.cache
def started(model):
  """Params, larger than they begin, and model_state."""
  params, model_state = jax.device_get(jax.jit(task_of(model).task.init)(KEY, batch()))
  return jax.tree.map(lambda x: 3 * x, params), model_state


def slopes_of(task, side):
  return jax.jit(jax.value_and_grad(getattr(task, side), has_aux=True))


@pytest.mark.parametrize('name, penalty', [
  ('dcgan', None), ('plain', 'slope'), ('style', 'r1'),
  pytest.param('style', None, marks=pytest.mark.slow('compile'))])
def test_no_side_gets_a_gradient_from_the_loss_of_the_other(name, penalty):
  task = task_of(MODELS[name], PENALTIES[penalty])
  data = batch()
  params, model_state = started(MODELS[name])
  for side, other in (('discriminator', 'generator'), ('generator', 'discriminator')):
    (value, _), slopes = slopes_of(task, side)(params, model_state, data, KEY)
    assert np.isfinite(value)
    chex.assert_trees_all_equal(
      slopes[other], jax.tree.map(np.zeros_like, params[other]))
    largest = [np.abs(np.asarray(x)).max() for x in jax.tree.leaves(slopes[side])]
    # A bias before batch normalisation has no effect, nor has one of a linear
    # critic's logit in its slope; but most of them move.
    assert np.mean(np.array(largest) > 0) > 0.75


def by_hand(params, data, key, side):
  """The loss of a side, over the unmasked examples one after the other."""
  parts = jax.random.split(key, 3 if side == 'discriminator' else 2)
  latents = np.float64(jax.random.normal(parts[0], (len(data['mask']), 4)))
  params = jax.tree.map(np.float64, params)
  found = []
  for i in np.flatnonzero(data['mask']):
    made = np.tanh(latents[i] @ params['generator']['kernel']
                   + params['generator']['bias'] + data['labels'][i])
    real, made = (
      np.tanh(x.ravel()) @ params['discriminator']['kernel'][:, 0]
      + params['discriminator']['bias'][0] for x in (data['inputs'][i], made))
    found.append((real, made))
  real, made = np.array(found).T
  sums = {}
  if side == 'generator':
    loss = np.log1p(np.exp(-made))
  else:
    loss = np.log1p(np.exp(-real)) + np.log1p(np.exp(made))
    sums = {'real_accuracy': (real > 0).sum(), 'generated_accuracy': (made < 0).sum()}
  return {'loss': loss.sum(), **sums}


@pytest.mark.parametrize('side', ['discriminator', 'generator'])
@pytest.mark.parametrize('masked', [0, 3])
def test_losses_and_sums_equal_numpy(side, masked):
  task, data = task_of(Dots()), batch(9, masked, np.nan)
  params, model_state = started(Dots())
  value, (after, sums, outputs) = jax.jit(getattr(task, side))(
    params, model_state, data, KEY)
  expected = by_hand(params, data, KEY, side)
  assert set(sums) == set(expected) and outputs == {} and after == {}
  for name, total in expected.items():
    np.testing.assert_allclose(sums[name], (total, 9 - masked), rtol=1e-5)
  assert value == pytest.approx(expected['loss'] / (9 - masked), rel=1e-5)


@pytest.mark.parametrize('penalty', PENALTIES)
@pytest.mark.parametrize('side', ['discriminator', 'generator'])
def test_masked_examples_change_neither_loss_nor_gradient(side, penalty):
  task = task_of(Dots(), PENALTIES[penalty])
  short, long = batch(6), batch(9, 3, np.nan)
  long['inputs'][:6], long['labels'][6:] = short['inputs'], 77
  params, model_state = started(Dots())
  slopes = slopes_of(task, side)
  (one, _), wanted = slopes(params, model_state, short, KEY)
  (two, _), found = slopes(params, model_state, long, KEY)
  assert two == pytest.approx(float(one), rel=1e-5)
  chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', [
  'dcgan', 'plain', pytest.param('style', marks=pytest.mark.slow('compile'))])
def test_what_a_masked_example_holds_is_never_seen(name):
  task = task_of(MODELS[name])
  zeros, nans = batch(4, masked=1), batch(4, masked=1, filled=np.nan)
  params, model_state = started(MODELS[name])
  for side in ('discriminator', 'generator'):
    slopes = slopes_of(task, side)
    chex.assert_trees_all_equal(
      slopes(params, model_state, zeros, KEY), slopes(params, model_state, nans, KEY))


def test_the_penalty_is_added_to_the_loss_of_the_discriminator_alone():
  plain, other = task_of(Dots()), task_of(Dots(), partial(losses.r1, weight=3.0))
  data = batch(5, 1)
  params, model_state = started(Dots())
  w = np.float64(params['discriminator']['kernel'][:, 0])
  slopes = w * (1 - np.tanh(data['inputs'][:4].reshape(4, -1)) ** 2)
  added = 1.5 * (slopes**2).sum(1).mean()
  for side, more in (('discriminator', added), ('generator', 0)):
    one, two = (float(jax.jit(getattr(t, side))(params, model_state, data, KEY)[0])
                for t in (plain, other))
    assert two - one == pytest.approx(more, rel=1e-4)
  assert added > 0.01


@pytest.mark.parametrize('loss', [losses.wasserstein_gan, losses.hinge_gan])
def test_another_loss(loss):
  task, data = task_of(Dots(), loss=loss), batch(5)
  params, model_state = started(Dots())
  judged, made = (jax.jit(getattr(task, side))(params, model_state, data, KEY)[0]
                  for side in ('discriminator', 'generator'))

  def logits(images):
    return Dots().apply({'params': params}, images, data['labels'], train=True,
                        method='discriminate')

  def images(key):
    return Dots().apply({'params': params}, jax.random.normal(key, (5, 4)),
                        data['labels'], train=True, method='generate')

  first = images(jax.random.split(KEY, 3)[0])
  assert judged == pytest.approx(
    float(loss(logits(data['inputs']), logits(first))[0].mean()), rel=1e-5)
  second = images(jax.random.split(KEY)[0])
  assert made == pytest.approx(-float(logits(second).mean()), rel=1e-5)


def test_each_side_keeps_statistics_of_its_own_step():
  task, data = task_of(), batch()
  params, model_state = started(DCGAN)
  for side, other in (('discriminator', 'generator'), ('generator', 'discriminator')):
    _, (after, _, _) = jax.jit(getattr(task, side))(params, model_state, data, KEY)
    before = model_state['batch_stats']
    chex.assert_trees_all_equal(after['batch_stats'][other], before[other])
    assert all(jax.tree.leaves(jax.tree.map(
      lambda a, b: bool((np.asarray(a) != b).any()), after['batch_stats'][side],
      before[side])))


def test_bfloat16_is_for_the_model_alone():
  task, data = task_of(in_precision(PLAIN, 'bfloat16'), losses.r1), batch()
  params, model_state = started(PLAIN)
  exact = task_of(PLAIN, losses.r1)
  (value, _), slopes = slopes_of(task, 'discriminator')(params, model_state, data, KEY)
  wanted, _ = jax.jit(exact.discriminator)(params, model_state, data, KEY)
  assert {x.dtype for x in jax.tree.leaves(slopes)} == {jnp.dtype('float32')}
  assert value.dtype == jnp.float32 and value == pytest.approx(float(wanted), rel=0.05)


@pytest.mark.parametrize('white', [255, 16])
def test_to_bytes_undoes_the_standardisation(white):
  every = np.arange(white + 1, dtype=np.uint8).reshape(1, -1, 1, 1)
  half = (white / 2,)
  images = transforms.standardize({'inputs': every}, KEY, mean=half, std=half)['inputs']
  assert (images.min(), images.max()) == (-1, 1)
  found = jax.jit(to_bytes, static_argnums=1)(images, white)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, every)
  beyond = to_bytes(jnp.float32([-9, -1.001, 1.001, 9]), white)
  np.testing.assert_array_equal(beyond, [0, 0, white, white])


@pytest.mark.parametrize('name', MODELS)
def test_evaluated_images_are_bytes_of_latents_and_labels(name):
  task, model = task_of(MODELS[name], white=16).task, MODELS[name]
  params, model_state = started(MODELS[name])
  data = {**batch(5), 'row': jnp.arange(5)}
  _, (_, _, outputs) = jax.jit(partial(task.loss, train=False))(
    params, model_state, data, None)
  floats = jax.jit(partial(model.apply, method='generate', train=False))(
    {'params': params, **model_state}, _latents(1, data['row'], 4), data['labels'],
    rngs={'noise': KEY})
  made = outputs['generated']
  assert made.shape == (5, 4, 4, 1) and made.dtype == np.uint8
  expected = np.clip((np.float64(floats) + 1) * 8, 0, 16)
  assert np.abs(made - expected).max() <= 0.5001


def test_paths_are_great_circles():
  length, numbers = 200, jnp.repeat(jnp.arange(30), 11)
  shares = jnp.tile(jnp.linspace(0, 1, 11), 30)
  found = np.float64(_on_path(numbers, shares, length)).reshape(30, 11, length)
  start, end = (np.float64(_latents(2, 2 * jnp.arange(30) + i, length))
                for i in (0, 1))
  np.testing.assert_allclose(found[:, 0], start, atol=1e-4)
  np.testing.assert_allclose(found[:, -1], end, atol=1e-4)
  # A straight line would be of 0.7 of the length halfway.
  lengths = np.linalg.norm(found, axis=-1)
  assert np.abs(lengths / np.sqrt(length) - 1).max() < 0.25
  # On a circle the halves of a way are as long, and what is halfway is no nearer to
  # the centre than the ends.
  one, two = (np.linalg.norm(x, axis=-1) for x in (start, end))
  unit = found / lengths[..., None]
  angle = np.arccos((unit[:, 0] * unit[:, -1]).sum(-1))
  expected = (np.sin(angle / 2) / np.sin(angle))[:, None] * (start + end)
  np.testing.assert_allclose(found[:, 5], expected, atol=1e-4)
  assert (lengths[:, 5] > 0.9 * np.minimum(one, two)).all()


def test_latents_are_normal_and_of_their_number_alone():
  found = _latents(1, jnp.arange(2000), 5)
  np.testing.assert_allclose(np.mean(found, 0), 0, atol=0.1)
  np.testing.assert_allclose(np.cov(np.asarray(found).T), np.eye(5), atol=0.12)
  np.testing.assert_array_equal(_latents(1, jnp.array([7, 3]), 5),
                                found[np.array([7, 3])])
  assert np.abs(_latents(0, jnp.arange(9), 5) - found[:9]).min() > 0


@pytest.mark.parametrize('change, message', [
  ({'labels': np.zeros((4, 2), np.int32)}, 'generation needs labels [batch] of '
   'classes, got int32 (4, 2)'),
  ({'labels': np.zeros(4, np.float32)}, 'got float32 (4,)'),
  ({'inputs': np.zeros((4, 4, 4, 1), np.uint8)}, 'generation needs images [batch, '
   'height, width, channels] from -1 to 1, got uint8 (4, 4, 4, 1): end the transforms '
   'with standardize'),
  ({'inputs': np.zeros((4, 16), np.float32)}, 'got float32 (4, 16)'),
  ({'inputs': np.zeros((4, 8, 4, 1), np.float32)}, 'Dcgan makes images of (4, 4, 1), '
   'the data has (8, 4, 1)')])
def test_data_that_is_no_images_with_labels(change, message):
  task, discriminator, _ = task_of()
  shapes = jax.eval_shape(task.init, KEY, batch())
  for call in (lambda data: jax.eval_shape(task.init, KEY, data),
               lambda data: jax.eval_shape(discriminator, *shapes, data, KEY)):
    with pytest.raises(ValueError, match=re.escape(message)):
      call({**batch(), **change})


@pytest.mark.parametrize('model', [
  models.Mlp(3), in_precision(models.Linear(3), 'bfloat16')])
def test_models_without_two_sides(model):
  name = type(getattr(model, 'model', model)).__name__
  with pytest.raises(ValueError, match='generation needs a model with latent, classes, '
                     f'generate, discriminate, such as models.Dcgan, got {name}'):
    task_of(model)


# --- measured by a classifier ---------------------------------------------------


def classifier(classes=3, names=None, named=True):
  """Knows an image by its mean, which is its class times 10."""
  def features(images):
    mean = images.mean((1, 2, 3))
    logits = -np.abs(mean[:, None] - 10 * np.arange(classes))
    return np.stack([mean, mean**2 / 9], 1), logits

  return SimpleNamespace(features=features, classes=names, named=named, name='C')


def outputs(n=30):
  rng = np.random.default_rng(0)
  labels = np.arange(n) % 3
  noise = rng.integers(0, 5, (2, n, 4, 4, 1))
  real, made = (10 * labels.reshape(-1, 1, 1, 1) + noise).astype(np.uint8)
  made[:6] = 10 * ((labels[:6].reshape(-1, 1, 1, 1) + 1) % 3)  # of another class
  return {'labels': labels, 'real': real, 'generated': made}


def measured(classes=3, given=3):
  asked = []
  train = outputs()['real'][::-1] + 1

  def examples(count):
    asked.append(count)
    return train[:count]

  def open_run(path):
    assert path == 'somewhere'
    return classifier(classes)

  return tasks.generation(
    Dots(classes=given), open_run=open_run, examples=examples, classifier='somewhere'
  ).task, asked, train


def test_a_classifier_measures_what_was_generated():
  task, asked, train = measured()
  found, seen = task.summarize(outputs()), outputs()
  assert asked == [1, 30]  # whether it fits is asked before anything is trained
  features = {name: classifier().features(images)[0] for name, images in {
    'real': seen['real'], 'generated': seen['generated'], 'train': train}.items()}
  assert found == {'accuracy': pytest.approx(24 / 30), 'accuracy_real': 1,
                   **metrics.generation(features)}
  assert found['frechet'] != found['frechet_real']


def test_nothing_is_measured_without_one():
  assert task_of().task.summarize(outputs()) == {}


def test_accuracy_says_nothing_of_an_unconditional_model():
  task, _, _ = measured(given=0)
  assert set(task.summarize(outputs())) == {
    'frechet', 'frechet_real', 'precision', 'recall'}


def test_a_classifier_of_fewer_classes_is_refused():
  with pytest.raises(UserError, match='classifier=somewhere: has 2 classes, the '
                     'model makes images of 3'):
    measured(classes=2)


@pytest.mark.parametrize('labels', [[3, 1, 3, 0, 1, 2], [0] * 14, list(range(14))])
def test_a_snapshot_is_of_the_first_image_of_each_class(labels):
  labels = np.array(labels)
  images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
  found = snapshot({'labels': labels, 'generated': images})['generated'].ravel()
  assert len(found) == min(len(labels), SNAPSHOT) == len(set(found.tolist()))
  firsts = [labels.tolist().index(c) for c in sorted(set(labels.tolist()))]
  assert found.tolist()[: len(firsts)] == firsts[:SNAPSHOT]


def split(name, classes, said, named=True):
  return Split(name, 5, classes, named, None, {}, None, said.append)


def test_a_model_of_another_number_of_classes_is_refused():
  with pytest.raises(UserError, match=r'test: the model makes images of 3 classes, the '
                     r'data has 2: set --config\.model\.classes=2'):
    measured()[0].check(split('test', ('a', 'b'), []))
  measured(given=0)[0].check(split('test', ('a', 'b'), []))


@pytest.mark.parametrize(('ours', 'named', 'said'), [
  ('abc', True, None), ('acb', True, 'class 1 is .*: the same classes in another'),
  ('abd', True, "class 2 is 'c' in C, and 'd' in the data of this run$"),
  ('abd', False, ''), (None, True, None)])
def test_classes_of_the_classifier_are_those_of_the_data(ours, named, said):
  lines = []
  task = tasks.generation(
    Dots(classes=3), open_run=lambda path: classifier(3, tuple('abc')),
    examples=lambda count: outputs()['real'][:count], classifier='somewhere').task
  given = split('train', ours and tuple(ours), lines, named)
  if said:
    with pytest.raises(UserError, match=said):
      task.check(given)
  else:
    task.check(given)
    assert len(lines) == (said == '')
