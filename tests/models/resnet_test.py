"""Tests of bigmodels.models.resnet against the paper, PyTorch and closed forms.

Those for ImageNet are compared with another library in hugging_face_images_test.py.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels.config import tree
from bigmodels.models import CifarResNet, ResNet
from bigmodels.parallel.precision import in_precision

IMAGES = np.random.default_rng(0).normal(size=(4, 9, 8, 3)).astype(np.float32)


def shapes(model, *size):
  return jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), jnp.zeros((1, *size)))


def count(model, size):
  params = shapes(model, size, size, 3)['params']
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


def random(model, seed=0):
  """Parameters and statistics of NumPy's, which need no compilation."""
  rng = np.random.default_rng(seed)

  def draw(path, x):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    noise = rng.normal(size=x.shape).astype(np.float32)
    if name in ('scale', 'var'):
      return np.exp(0.3 * noise)
    return noise * (2 / math.prod(x.shape[:-1])) ** 0.5 if x.ndim > 1 else 0.3 * noise

  return jax.tree.map_with_path(draw, shapes(model, *IMAGES.shape[1:]))


def apply(model, variables, images=IMAGES, *, train=False):
  mutable = ['batch_stats'] if train else False
  return jax.jit(lambda v, x: model.apply(v, x, train=train, mutable=mutable))(
    variables, images)


@pytest.mark.parametrize('depth, parameters', [  # as torchvision counts them
  (18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160),
  (152, 60_192_808)])
def test_parameters_for_imagenet(depth, parameters):
  assert count(ResNet(1000, depth), 224) == parameters


@pytest.mark.parametrize('depth, millions', [  # table 6
  (20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameters_for_cifar(depth, millions):
  digits, found = len(str(millions)) - 2, count(CifarResNet(10, depth), 32)
  assert round(found / 1e6, digits) == millions
  widths = (16, 32, 64)
  filters = 27 * 16 + 9 * sum(
    w * w * ((depth - 2) // 3) - w * w // 2 * (w > 16) for w in widths)
  norms = 2 * (16 + sum(w * ((depth - 2) // 3) for w in widths))
  assert found == filters + norms + 65 * 10


def maps(model, size):
  """Name -> height, width and channels of what each stage answers."""
  variables = shapes(model, size, size, 3)
  _, captured = jax.eval_shape(
    lambda v, x: model.apply(v, x, train=False, capture_intermediates=True),
    variables, jnp.zeros((1, size, size, 3)))
  return [captured['intermediates'][f'stage{n}']['__call__'][0].shape[1:]
          for n in range(1, 5) if f'stage{n}' in captured['intermediates']]


def test_maps_are_as_large_as_published():
  sizes = ((56, 64), (28, 128), (14, 256), (7, 512))  # table 1
  assert maps(ResNet(2, 18), 224) == [(n, n, c) for n, c in sizes]
  assert maps(ResNet(2, 50), 224) == [(n, n, 4 * c) for n, c in sizes]
  sizes = ((32, 64), (16, 128), (8, 256), (4, 512))
  assert maps(ResNet(2, 34, stem='cifar'), 32) == [(n, n, c) for n, c in sizes]
  sizes = ((32, 16), (16, 32), (8, 64))
  assert maps(CifarResNet(2), 32) == [(n, n, c) for n, c in sizes]


def by_torch(model, variables, images, train):
  """The network of the CIFAR form by PyTorch's functions."""
  torch = pytest.importorskip('torch', reason='torch is not installed')
  functional = torch.nn.functional
  variables = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), variables)
  params, statistics = variables['params'], variables['batch_stats']

  def layer(x, params, statistics, stride=1):
    kernel = params['conv']['kernel'].permute(3, 2, 0, 1)
    x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
    return functional.batch_norm(
      x, statistics['norm']['mean'], statistics['norm']['var'],
      params['norm']['scale'], params['norm']['bias'], train, eps=model.epsilon)

  x = layer(torch.tensor(images).permute(0, 3, 1, 2), params['stem'],
            statistics['stem']).relu()
  for stage in (1, 2, 3):
    for block in range(1, (model.depth - 2) // 6 + 1):
      stride = 2 if stage > 1 and block == 1 else 1
      names = f'stage{stage}', f'block{block}'
      p, s = (tree[names[0]][names[1]] for tree in (params, statistics))
      y = layer(x, p['layer1'], s['layer1'], stride).relu()
      y = layer(y, p['layer2'], s['layer2'])
      if 'shortcut' in p:
        x = layer(x, p['shortcut'], s['shortcut'], stride)
      elif stride == 2:
        x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))
      x = (x + y).relu()
  answer = x.mean((2, 3)) @ params['head']['kernel'] + params['head']['bias']
  return answer.numpy(), jax.tree.map(lambda x: x.numpy(), statistics)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('shortcut', ['zeros', 'projection'])
@pytest.mark.reference
def test_cifar_form_equals_pytorch(shortcut, train):
  model = CifarResNet(5, 14, 4, shortcut=shortcut)
  variables = random(model)
  expected, _ = by_torch(model, variables, IMAGES, train)
  actual = apply(model, variables, train=train)
  assert np.std(expected) > 0.3
  np.testing.assert_allclose(actual[0] if train else actual, expected, atol=2e-5)


@pytest.mark.reference
def test_statistics_move_in_training_only():
  model = CifarResNet(5, 8, 4)
  variables = random(model)
  statistics = apply(model, variables, train=True)[1]['batch_stats']
  _, expected = by_torch(model, variables, IMAGES, True)
  # Of the variance of n values PyTorch keeps that over n - 1: all maps are small.
  mean = partial(jax.tree.map_with_path, lambda path, x: x * ('mean' in str(path)))
  jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), mean(statistics),
               mean(expected))
  name, n = ('stem', 'norm', 'var'), IMAGES[..., 0].size
  before, ours, theirs = (tree[name[0]][name[1]][name[2]] for tree in (
    variables['batch_stats'], statistics, expected))
  np.testing.assert_allclose(
    ours, 0.9 * before + (theirs - 0.9 * before) * (n - 1) / n, rtol=1e-5)


def test_blocks_may_begin_as_identities():
  model = CifarResNet(3, 8, 4, zero_init=True)
  variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), IMAGES)
  for stage in ('stage1', 'stage2', 'stage3'):
    block = variables['params'][stage]['block1']
    assert np.all(block['layer2']['norm']['scale'] == 0)
    assert np.all(block['layer1']['norm']['scale'] == 1)
  plain = shapes(CifarResNet(3, 8, 4), 9, 8, 3)
  assert jax.tree.structure(plain) == jax.tree.structure(dict(variables))


def test_filters_begin_as_he_says():
  model = CifarResNet(2, 8, 64)
  params = jax.jit(partial(model.init, train=False))(
    jax.random.key(0), IMAGES)['params']
  kernel = np.asarray(params['stage2']['block1']['layer1']['conv']['kernel'])
  assert kernel.shape == (3, 3, 64, 128)
  assert kernel.var() == pytest.approx(
    2 / (9 * 128), rel=5 * math.sqrt(2 / kernel.size))  # five deviations
  assert np.asarray(params['head']['kernel']).std() == pytest.approx(0.01, rel=0.2)


def test_one_batch_is_learned_by_heart():
  model, labels = CifarResNet(4, 8, 8), jnp.arange(4)
  variables = random(model)
  optimizer = optax.adam(1e-2)

  def loss(params, statistics):
    logits, updated = model.apply(
      {'params': params, 'batch_stats': statistics}, IMAGES, train=True,
      mutable=['batch_stats'])
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, labels).mean(), updated['batch_stats']

  @jax.jit
  def step(params, statistics, state):
    (value, statistics), grads = jax.value_and_grad(loss, has_aux=True)(
      params, statistics)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), statistics, state, value

  params, statistics = variables['params'], variables['batch_stats']
  state, values = optimizer.init(params), []
  for _ in range(60):
    params, statistics, state, value = step(params, statistics, state)
    values.append(float(value))
  assert values[0] > 0.5 and values[-1] < 0.01
  logits = apply(model, {'params': params, 'batch_stats': statistics})
  np.testing.assert_array_equal(logits.argmax(-1), labels)


def test_bfloat16_answers_nearly_the_same():
  model = CifarResNet(5, 8, 8)
  variables = random(model)
  expected, _ = apply(model, variables, train=True)
  actual, updated = apply(in_precision(model, 'bfloat16'), variables, train=True)
  assert {x.dtype for x in jax.tree.leaves(updated)} == {np.dtype('float32')}
  assert actual.dtype == np.float32 and np.any(actual != expected)
  np.testing.assert_allclose(actual, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize('make, message', [
  (partial(ResNet, depth=20), 'depth: must be one of 18, 34, 50, 101, 152; got 20'),
  (partial(ResNet, stem='small'), "stem: must be one of .*; got 'small'"),
  (partial(ResNet, width=0), 'width: must be >= 1, got 0'),
  (partial(ResNet, momentum=1.0), 'momentum: must be >= 0 and < 1, got 1.0'),
  (partial(CifarResNet, epsilon=0.0), 'epsilon: must be > 0 and finite, got 0.0'),
  (partial(CifarResNet, shortcut='none'),
   "shortcut: must be one of 'zeros', 'projection'; got 'none'"),
  (partial(CifarResNet, depth=50 + 2),
   r'depth: must be 6 n \+ 2, such as 20, 56 or 110, got 52; the nearest is 50'),
  (partial(CifarResNet, depth=0), 'depth: .*, got 0; the nearest is 8')])
def test_wrong_fields_are_named(make, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    make(2)


@pytest.mark.parametrize('model, least', [
  (ResNet(2, 18), 17), (ResNet(2, 18, stem='cifar'), 5), (CifarResNet(2, 8), 3)])
def test_images_are_to_be_large_enough_for_the_strides(model, least):
  variables = shapes(model, least, least + 3, 3)
  answer = jax.eval_shape(lambda v: model.apply(
    v, jnp.zeros((7, least, least + 3, 3)), train=False), variables)
  assert answer.shape == (7, 2)
  assert maps(model, least)[-1][:2] == (1, 1) and maps(model, least)[-2][0] == 2
  for size in ((least - 1, 64, 3), (64, least - 1, 3), (64, 64)):
    with pytest.raises(ValueError, match=f'at least {least}x{least} pixels, got .1, '):
      shapes(model, *size)


def test_an_experiment_sets_the_depth():
  config = tree.override(partial(ResNet, depth=50), 'depth', '18')
  model = tree.complete(config, {'num_outputs': lambda: 10})
  assert (model.depth, model.num_outputs) == (18, 10)
  texts = dict(tree.describe(config, 'model'))
  assert texts['model.kernel_init'] == 'jax.nn.initializers.variance_scaling'
  assert texts['model.momentum'] == '0.9'
