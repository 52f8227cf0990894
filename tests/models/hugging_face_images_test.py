"""Tests of where the parameters and statistics of published image models go."""

import jax
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.models import MobileNetV1, MobileNetV2, ResNet
from tests.models.published import started, torch, transformers

pytestmark = pytest.mark.reference

# Odd sides: paddings at the left and at the right differ.
IMAGES = np.random.default_rng(0).normal(size=(2, 47, 50, 3)).astype(np.float32)


def resnet(widths=(8, 16, 24, 32), depths=(2, 2, 2, 2), layer_type='basic', **others):
  return transformers.ResNetForImageClassification(transformers.ResNetConfig(
    embedding_size=8, hidden_sizes=widths, depths=depths, layer_type=layer_type,
    num_labels=5, **others))


def resnet18():
  return resnet((8, 16, 32, 64))


def mobilenet(version, multiplier, **others):
  config = getattr(transformers, f'MobileNetV{version}Config')(
    depth_multiplier=multiplier, num_labels=5, **others)
  return getattr(transformers, f'MobileNetV{version}ForImageClassification')(config)


def perturbed(model):
  """Every parameter and statistic matters: none is 0 or 1; answers are up to 3."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, array in model.state_dict().items():
      noise = torch.randn(array.shape, generator=generator)
      if name.endswith(('running_var', 'normalization.weight')):
        array.copy_(torch.exp(0.3 * noise))
      elif array.ndim == 4:  # for what comes out to be about as large as what goes in
        array.copy_(noise * (2 / array[0].numel()) ** 0.5)
      elif array.ndim:
        array.copy_(0.3 * noise)
    head, = (m for m in model.modules() if isinstance(m, torch.nn.Linear))
    largest = np.abs(theirs(model.eval())).max()
    head.weight *= 3 / largest
    head.bias *= 3 / largest
  return model


def load(model, path, *others, **named):
  """The parameters and statistics of a fresh model after `initialize.start`."""
  return started(model, path, IMAGES, *others, **named)


def answer(model, state):
  return np.asarray(jax.jit(lambda state: model.apply(
    {'params': state.params, **state.model_state}, IMAGES, train=False))(state))


def theirs(model):
  with torch.no_grad():
    return model(torch.tensor(IMAGES).permute(0, 3, 1, 2)).logits.numpy()


def names_of(tree):
  return {jax.tree_util.keystr(path, simple=True, separator='/'): x
          for path, x in jax.tree.leaves_with_path(tree)}


@pytest.mark.parametrize('model, reference', [
  pytest.param(ResNet(5, 18, 8), resnet18, id='basic'),
  pytest.param(ResNet(5, 50, 8), lambda: resnet(
    (32, 64, 128, 256), (3, 4, 6, 3), 'bottleneck'), id='bottleneck'),
  pytest.param(ResNet(5, 50, 8, stride_first=True), lambda: resnet(
    (32, 64, 128, 256), (3, 4, 6, 3), 'bottleneck', downsample_in_bottleneck=True),
    id='stride_first'),
  pytest.param(MobileNetV1(5, 0.2), lambda: mobilenet(1, 0.2), id='v1'),
  pytest.param(MobileNetV2(5, 0.2), lambda: mobilenet(2, 0.2), id='v2'),
  pytest.param(MobileNetV2(5, 0.2, padding='symmetric'),
               lambda: mobilenet(2, 0.2, tf_padding=False), id='symmetric'),
])
def test_answers_the_same(tmp_path, model, reference):
  reference = perturbed(reference())
  reference.save_pretrained(tmp_path)
  lines = []
  state = load(model, tmp_path, say=lines.append)
  norms = len([n for n in names_of(state.params) if n.endswith('norm/scale')])
  assert lines == [f'{len(names_of(state.params))} parameters and {2 * norms} batch '
                   f'statistics from {tmp_path}']
  expected = theirs(reference)
  assert np.std(expected, 0).max() > 0.05  # the answer depends on the image
  np.testing.assert_allclose(answer(model, state), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize('multiplier', [0.35, 0.75, 1.4])
def test_widths_of_mobilenet_v2(multiplier):
  with torch.device('meta'):
    reference = mobilenet(2, multiplier)
  variables = jax.eval_shape(lambda: MobileNetV2(5, multiplier).init(
    jax.random.key(0), IMAGES, train=False))
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == sum(
    p.numel() for p in reference.parameters())


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A folder with a ResNet of 18 layers."""
  path = tmp_path_factory.mktemp('resnet')
  perturbed(resnet18()).save_pretrained(path)
  return path


OURS = ResNet(5, 18, 8)


@pytest.mark.parametrize('pattern, parameters, statistics', [
  (r'(?!head/).*', 60, 40),  # 20 convolutions, each with a scale and a bias
  (r'stem/conv/.*', 1, 0),
  (r'(.*/)?norm/bias', 20, 40),  # with the parameters of the same normalisation
  (r'stage1/.*', 12, 8),
])
def test_statistics_go_with_the_parameters_of_their_module(
    saved, pattern, parameters, statistics):
  lines = []
  whole, state = load(OURS, saved), load(OURS, saved, pattern, say=lines.append)
  for kind, wanted in (('params', parameters), ('model_state', statistics)):
    before, after = (names_of(getattr(s, kind)) for s in (whole, state))
    taken = [n for n, x in after.items() if not np.all(x == 7)]
    assert len(taken) == wanted
    for name in taken:
      np.testing.assert_array_equal(after[name], before[name])
  beside = f' and {statistics} batch statistics' if statistics else ''
  # A file has 62 parameters, 40 statistics and 20 counters.
  assert lines == [
    f'{parameters} parameters{beside} from {saved} ({pattern}), '
    f'{102 - parameters - statistics} are fresh; '
    f'{102 - parameters - statistics} there are not taken']


def refusal(model, path, pattern='.*'):
  with pytest.raises(UserError) as error:
    load(model, path, pattern)
  return str(error.value).split('\n')


def test_every_array_that_does_not_fit_is_named(saved, tmp_path):
  from safetensors.torch import load_file, save_file

  lines = refusal(ResNet(4, 18, 8), saved)
  assert lines[1:-1] == ['  head/bias: shape must be (4,), got (5,)',
                         '  head/kernel: shape must be (64, 4), got (64, 5)']
  lines = refusal(ResNet(5, 34, 8), saved)
  assert '  stage4/block3/layer2/norm/var: missing (encoder.stages.3.layers.2.' \
    'layer.1.normalization.running_var)' in lines
  state = load_file(saved / 'model.safetensors')
  gone = 'resnet.embedder.embedder.normalization.running_mean'
  bad = 'resnet.encoder.stages.1.layers.0.shortcut.normalization.running_var'
  del state[gone]
  state[bad] = state[bad][:3].clone()
  save_file(state | {'more.running_mean': torch.zeros(3)}, tmp_path / 'bad.safetensors')
  lines = refusal(OURS, tmp_path / 'bad.safetensors')
  assert lines[1:-1] == [
    '  stem/norm/mean: missing (embedder.embedder.normalization.running_mean)',
    '  more.running_mean: unexpected',
    '  stage2/block1/shortcut/norm/var: shape must be (16,), got (3,)']


@pytest.mark.parametrize('model, words', [
  (ResNet(5, 50, 8), 'layer_type: there "basic", must be "bottleneck"'),
  (MobileNetV2(5), 'model_type: there "resnet", must be "mobilenet_v2"'),
  (ResNet(5, 18, 8, stem='cifar'),
   'stem: must be imagenet as in the published ResNet, got'),
  (ResNet(5, 18, 8, epsilon=1e-3),
   'epsilon: must be 1e-05 as in the published ResNet, got'),
])
def test_other_models_are_refused(saved, model, words):
  assert words in '\n'.join(refusal(model, saved))


def test_another_padding_is_refused(tmp_path):
  mobilenet(2, 0.1).save_pretrained(tmp_path)
  model = MobileNetV2(5, 0.1, padding='symmetric', epsilon=1e-5)
  assert refusal(model, tmp_path)[1:-1] == [
    '  tf_padding: there true, must be false',
    '  layer_norm_eps: there 0.001, must be 1e-05']
