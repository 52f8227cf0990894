"""Tests of files of torchvision's VGG: which parameters go where, what is refused."""

import re

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from bigmodels import models
from bigmodels.models import Vgg, VggFeatures
from tests.models.loading import refusal, started

IMAGES = np.random.default_rng(0).normal(size=(2, 33, 37, 3)).astype(np.float32)
PATTERN = 'features/.*'
# Positions of the convolutions in `torchvision.models.vgg...().features`, as its files
# have them: the depth, and whether there is batch normalization.
POSITIONS = {
  (11, False): (0, 3, 6, 8, 11, 13, 16, 18),
  (11, True): (0, 4, 8, 11, 15, 18, 22, 25),
  (13, False): (0, 2, 5, 7, 10, 12, 15, 17, 20, 22),
  (16, False): (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
  (16, True): (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40),
  (19, False): (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)}
STAGES = {11: (1, 1, 2, 2, 2), 13: (2,) * 5, 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def arrays(depth, batch_norm=False, width=2):
  """A file of VGG as torchvision writes it, narrow."""
  rng, last, found = np.random.default_rng(1), 3, {}
  stages = [stage for stage, count in enumerate(STAGES[depth]) for _ in range(count)]
  for stage, index in zip(stages, POSITIONS[depth, batch_norm], strict=True):
    outputs = width * min(2**stage, 8)
    found[f'features.{index}.weight'] = rng.normal(
      0, (2 / 9 / last) ** 0.5, (outputs, last, 3, 3))
    found[f'features.{index}.bias'] = rng.normal(0, 0.1, outputs)
    if batch_norm:
      for name in ('weight', 'bias', 'running_mean', 'running_var'):
        found[f'features.{index + 1}.{name}'] = 0.5 + rng.random(outputs)
    last = outputs
  found['classifier.6.weight'] = rng.normal(size=(5, 4))
  found = {name: x.astype(np.float32) for name, x in found.items()}
  if batch_norm:
    found |= {name.replace('running_mean', 'num_batches_tracked'): np.array(3)
              for name in found if name.endswith('running_mean')}
  return found


def write(path, *args, **kwargs):
  save_file(arrays(*args, **kwargs), path)
  return path


@pytest.mark.parametrize('depth, batch_norm', POSITIONS)
def test_every_array_has_its_place(tmp_path, depth, batch_norm):
  path, lines = write(tmp_path / 'vgg.safetensors', depth, batch_norm), []
  model = Vgg(5, depth, 2, (), batch_norm=batch_norm)
  state = started(model, path, IMAGES, PATTERN, say=lines.append)
  theirs, params = arrays(depth, batch_norm), state.params['features']
  names = [f'{stage}_{layer}' for stage, count in enumerate(STAGES[depth], 1)
           for layer in range(1, count + 1)]
  for name, index in zip(names, POSITIONS[depth, batch_norm], strict=True):
    conv = params[f'conv{name}']
    np.testing.assert_array_equal(
      conv['kernel'], theirs[f'features.{index}.weight'].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(conv['bias'], theirs[f'features.{index}.bias'])
    if batch_norm:
      norm = params[f'norm{name}'] | (
        state.model_state['batch_stats']['features'][f'norm{name}'])
      for ours, other in (('scale', 'weight'), ('bias', 'bias'), (
        'mean', 'running_mean'), ('var', 'running_var')):
        np.testing.assert_array_equal(
          norm[ours], theirs[f'features.{index + 1}.{other}'])
  assert np.all(state.params['head']['Dense_0']['kernel'] == 7)  # left as it was
  assert len(lines) == 1  # there are no settings that shapes do not show


@pytest.mark.parametrize('ours, theirs, missing', [
  ((16, False), (19, False), 'features.17.weight'),
  ((19, False), (16, False), 'features.16.weight'),
  ((13, False), (16, False), 'features.15.weight'),
  ((16, False), (16, True), 'features.2.weight'),
  ((16, True), (16, False), 'features.3.weight')])
def test_a_file_of_other_layers_is_refused_by_name(tmp_path, ours, theirs, missing):
  depth, batch_norm = ours
  text = refusal(Vgg(5, depth, 2, (), batch_norm=batch_norm),
                 write(tmp_path / 'vgg.safetensors', *theirs), IMAGES, PATTERN)
  assert re.search(rf'conv\d_\d/kernel.*{re.escape(missing)}', text), text


def test_a_file_of_another_width_is_refused(tmp_path):
  text = refusal(Vgg(5, 11, 4, ()), write(tmp_path / 'vgg.safetensors', 11), IMAGES,
                 PATTERN)
  assert 'features/conv1_1/kernel' in text and '(3, 3, 3, 2)' in text


def test_the_features_of_style_transfer_are_named_alike():
  features = VggFeatures(19)
  model = models.StyleTransfer(models.StyleNet(), features)
  assert model.hugging_face().locations == Vgg(9, 19).hugging_face().locations


@pytest.mark.reference
@pytest.mark.parametrize('depth, batch_norm', [(16, False), (16, True), (19, False)])
def test_features_are_those_of_pytorch(tmp_path, depth, batch_norm):
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  layers, last = [], 3
  for stage, count in enumerate(STAGES[depth]):
    for _ in range(count):
      outputs = 4 * min(2**stage, 8)
      layers += [torch.nn.Conv2d(last, outputs, 3, padding=1)]
      layers += [torch.nn.BatchNorm2d(outputs)] * batch_norm
      layers += [torch.nn.ReLU()]
      last = outputs
    layers += [torch.nn.MaxPool2d(2)]
  network = torch.nn.Sequential(*layers).eval()
  network.load_state_dict({
    name.removeprefix('features.'): torch.tensor(x)
    for name, x in arrays(depth, batch_norm, 4).items() if name.startswith('features')})
  path = write(tmp_path / 'vgg.safetensors', depth, batch_norm, 4)
  state = started(Vgg(5, depth, 4, (), batch_norm=batch_norm), path, IMAGES, PATTERN)
  variables = {'params': state.params['features']}
  if batch_norm:
    variables['batch_stats'] = state.model_state['batch_stats']['features']
  features = VggFeatures(depth, 4, batch_norm)
  ours = jax.jit(lambda v, x: features.apply(v, x, train=False))(variables, IMAGES)
  expected, x = [], torch.tensor(IMAGES.transpose(0, 3, 1, 2).copy())
  with torch.no_grad():
    for layer in network:
      x = layer(x)
      if isinstance(layer, torch.nn.ReLU):
        expected.append(x)
  assert len(ours) == len(expected) + 1
  for name, wanted in zip(features.layers, [*expected, x], strict=True):
    found, wanted = ours[name], wanted.numpy().transpose(0, 2, 3, 1)
    assert wanted.std() > 0.05, name
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(
      1, np.abs(wanted).max()), err_msg=name)
