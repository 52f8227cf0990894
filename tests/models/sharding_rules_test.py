"""bigmodels.models.sharding_rules: the specs of every parameter of the models."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from bigmodels.core.errors import UserError
from bigmodels.core.tree_paths import name_of
from bigmodels.data.sources import in_memory
from bigmodels.models import (
  Autoencoder,
  BagOfWords,
  Bert,
  BertClassifier,
  BertSpans,
  CenterNet,
  CifarResNet,
  Cnn,
  Conformer,
  DeepSvdd,
  Dlrm,
  DualEncoder,
  Edsr,
  Espcn,
  Gpt,
  MaskedBert,
  MatrixFactorization,
  Mlp,
  MobileNetV1,
  MobileNetV2,
  ModernGpt,
  NeuMf,
  Pictures,
  ResNet,
  SasRec,
  SegmentationUnet,
  SpeechTransformer,
  SrDiscriminator,
  SrGan,
  SrResNet,
  Ssd,
  StyleNet,
  StyleTransfer,
  Tacotron,
  Transformer,
  TwoTower,
  Vgg,
  VggFeatures,
  Vit,
  WaveNet,
  Yolo,
  sharding_rules,
)
from bigmodels.parallel.sharding import MeshShape, parameter_specs

TENSOR = MeshShape(data=2, tensor=2)


def by_name(specs):
  leaves = jax.tree.leaves_with_path(specs, is_leaf=lambda x: isinstance(x, P))
  return {name_of(path): spec for path, spec in leaves}


def params_of(model, *example):
  key = jax.random.key(0)
  return jax.eval_shape(
    lambda x: model.init(key, x, train=False), jnp.zeros((1, *example)))['params']


@pytest.mark.parametrize('model, heads', [
  (CenterNet, ('centres', 'sizes', 'offsets')), (Ssd, ('classes1', 'offsets1')),
  (Yolo, ('classes1', 'objects1', 'boxes1'))])
def test_rules_of_detectors(model, heads):
  params = params_of(model(3, CifarResNet(None, depth=8, width=4), 8, (4,)), 16, 16, 3)
  found = by_name(parameter_specs(params, sharding_rules.DETECTION, TENSOR))
  for head in heads:
    assert found[f'{head}/kernel'] == P(None, None, 'tensor')
    assert found[f'{head}/bias'] == P()
  assert found['pyramid/level1/conv/kernel'] == P(None, None, None, 'tensor')
  assert found['body/stage3/block1/layer1/norm/scale'] == P()


@pytest.mark.parametrize('batch_norm', [False, True])
@pytest.mark.parametrize('depth', [0, 1, 3, 11])
def test_rules_of_mlp(depth, batch_norm):
  params = params_of(Mlp(4, (8,) * depth, batch_norm=batch_norm), 6)
  expected = {}
  for n in range(depth + 1):
    outputs = n % 2 == 0
    expected[f'Dense_{n}/kernel'] = P(None, 'tensor') if outputs else P('tensor')
    if n == depth or not batch_norm:  # which has the bias of the layer before it
      expected[f'Dense_{n}/bias'] = P('tensor') if outputs else P()
  for n in range(depth if batch_norm else 0):
    expected |= {f'BatchNorm_{n}/{name}': P() for name in ('scale', 'bias')}
  assert by_name(parameter_specs(params, sharding_rules.MLP, TENSOR)) == expected


@pytest.mark.parametrize('model, layers', [
  (Autoencoder((8, 4)), 4), (Autoencoder((8, 6, 4)), 6), (DeepSvdd((8, 4)), 2)])
def test_rules_of_mlp_are_those_of_models_of_anomalies(model, layers):
  found = by_name(parameter_specs(params_of(model, 6), sharding_rules.MLP, TENSOR))
  assert {name: spec for name, spec in found.items() if name.endswith('kernel')} == {
    f'Dense_{n}/kernel': P('tensor') if n % 2 else P(None, 'tensor')
    for n in range(layers)}
  assert all(spec == (P() if int(name[6]) % 2 else P('tensor'))
             for name, spec in found.items() if name.endswith('bias'))


@pytest.mark.parametrize('batch_norm', [False, True])
@pytest.mark.parametrize('depth', [1, 2, 11])
def test_rules_of_cnn(depth, batch_norm):
  model = Cnn(4, (8,) * depth, pool=1, hidden=(8,), batch_norm=batch_norm)
  params = params_of(model, 5, 5, 3)
  expected = {
    'head/Dense_0/kernel': P(None, 'tensor'),
    'head/Dense_1/kernel': P('tensor'), 'head/Dense_1/bias': P()}
  for n in range(depth):
    expected[f'Conv_{n}/kernel'] = P(None, None, None, 'tensor')
    if batch_norm:
      expected |= {f'BatchNorm_{n}/{name}': P() for name in ('scale', 'bias')}
    else:
      expected[f'Conv_{n}/bias'] = P('tensor')
  if batch_norm:
    expected |= {f'head/BatchNorm_0/{name}': P() for name in ('scale', 'bias')}
  else:
    expected['head/Dense_0/bias'] = P('tensor')
  assert by_name(parameter_specs(params, sharding_rules.CNN, TENSOR)) == expected


@pytest.mark.parametrize('model', [
  Espcn(2, widths=(8, 4)), Edsr(2, depth=1, width=4), SrResNet(2, depth=1, width=4)],
  ids=lambda model: type(model).__name__)
def test_rules_of_super_resolution(model):
  """Filters are sharded along their outputs, or the one output's along their inputs."""
  params = jax.eval_shape(lambda x, inside: model.init(
    jax.random.key(0), x, inside, train=False), jnp.zeros((1, 8, 8, 1)),
    jnp.ones((1, 8, 8), bool))['params']
  specs = by_name(parameter_specs(params, sharding_rules.SUPER_RESOLUTION, TENSOR))
  for name, spec in specs.items():
    layer, _, kind = name.partition('/')
    if layer.endswith(('_norm', '_prelu')):
      expected = P()
    else:
      expected = {'kernel': P(None, None, None, 'tensor'), 'bias': P('tensor')}[kind]
    assert spec == {'head/kernel': P(None, None, 'tensor'), 'head/bias': P()}.get(
      name, expected), name


def test_rules_of_srgan():
  """Of each part as of it alone; the dense layers in turn."""
  model = SrGan(
    SrResNet(2, depth=1, width=4), SrDiscriminator(2, 4), VggFeatures(11, 2))
  params = jax.eval_shape(lambda x, inside: model.init(
    jax.random.key(0), x, inside, train=False), jnp.zeros((1, 16, 16, 1)),
    jnp.ones((1, 16, 16), bool))['params']
  specs = by_name(parameter_specs(params, sharding_rules.SRGAN, TENSOR))
  exceptions = {
    'generator/head/kernel': P(None, None, 'tensor'), 'generator/head/bias': P(),
    'discriminator/hidden/kernel': P(None, 'tensor'),
    'discriminator/logit/kernel': P('tensor'), 'discriminator/logit/bias': P()}
  for name, spec in specs.items():
    layer, _, kind = name.rpartition('/')
    expected = P() if layer.endswith(('_norm', '_prelu')) else {
      'kernel': P(None, None, None, 'tensor'), 'bias': P('tensor')}[kind]
    assert spec == exceptions.get(name, expected), name


def test_rules_of_segmentation():
  params = params_of(SegmentationUnet(3, width=4, halvings=1), 4, 4, 1)
  specs = by_name(parameter_specs(params, sharding_rules.SEGMENTATION, TENSOR))
  for name, leaf in by_name(params).items():
    expected = P('tensor') if name == 'enlarge0/bias' else P()
    if leaf.ndim == 4:  # of a transposed one, outputs come third
      expected = P(None, None, 'tensor') if name == 'enlarge0/kernel' else (
        P(None, None, None, 'tensor'))
    assert specs[name] == (P('tensor') if name == 'head/kernel' else expected), name


@pytest.mark.parametrize('model', [
  ResNet(4, depth=18), ResNet(4, depth=50), CifarResNet(4, depth=8), MobileNetV1(4),
  MobileNetV2(4), Vgg(4, depth=11)], ids=lambda model: type(model).__name__)
def test_rules_of_convolutional_networks(model):
  """Filters are sharded along their outputs, a head along its inputs."""
  params = params_of(model, 64, 64, 3)
  rules = sharding_rules.VGG if isinstance(model, Vgg) else sharding_rules.CNN
  specs = by_name(parameter_specs(params, rules, TENSOR))
  ranks = {name: leaf.ndim for name, leaf in by_name(params).items()}
  for name, spec in specs.items():
    if ranks[name] == 4:
      assert spec == P(None, None, None, 'tensor'), name
    elif name == 'head/kernel':
      assert spec == P('tensor'), name
    elif '/norm/' in name or name == 'head/bias':
      assert spec == P(), name
  assert 4 in ranks.values()


@pytest.mark.parametrize('network', [
  StyleNet(4, 1),
  Pictures(in_memory({'inputs': np.zeros((2, 32, 32, 3))}, None), 'noise')],
  ids=lambda model: type(model).__name__)
def test_rules_of_style_transfer(network):
  """Filters are sharded along their outputs, those of three along their inputs."""
  model = StyleTransfer(network, VggFeatures(11, 4, True))
  params = jax.eval_shape(lambda x, row: model.init(
    jax.random.key(0), x, row, train=False), jnp.zeros((2, 32, 32, 3)),
    jnp.zeros(2, int))['params']
  specs = by_name(parameter_specs(params, sharding_rules.STYLE_TRANSFER, TENSOR))
  exceptions = {'network/pictures': P(), 'network/last/bias': P(),
                'network/last/kernel': P(None, None, 'tensor')}
  for name, spec in specs.items():
    layer, _, kind = name.rpartition('/')
    expected = P() if 'norm' in layer else {
      'kernel': P(None, None, None, 'tensor'), 'bias': P('tensor')}.get(kind)
    assert spec == exceptions.get(name, expected), name


SMALL = {'vocabulary': 6, 'depth': 2, 'width': 8, 'heads': 2}


def transformer_params(model, texts=1):
  tokens = [jnp.zeros((1, 4), int)] * texts
  return jax.eval_shape(
    lambda: model.init(jax.random.key(0), *tokens, train=False))['params']


def test_rules_of_gpt():
  found = by_name(parameter_specs(
    transformer_params(Gpt(**SMALL)), sharding_rules.TRANSFORMER, TENSOR))
  columns, rows = P(None, None, 'tensor'), P(None, 'tensor')
  expected = {f'attention/{name}/{part}': spec for name in ('query', 'key', 'value')
              for part, spec in (('kernel', columns), ('bias', rows))}
  expected |= {'feed_forward/in/kernel': columns, 'feed_forward/in/bias': rows}
  for part in ('attention', 'feed_forward'):
    expected |= {f'{part}/out/kernel': rows, f'{part}/out/bias': P(),
                 f'{part}_norm/scale': P(), f'{part}_norm/bias': P()}
  assert found == {
    **{f'blocks/block/{name}': spec for name, spec in expected.items()},
    'tokens/embedding': rows, 'positions/embedding': rows,
    'norm/scale': P(), 'norm/bias': P()}


@pytest.mark.parametrize('model, texts, others', [
  (ModernGpt(**SMALL), 1, {
    'head/kernel': P('tensor'), 'norm/scale': P(),
    'blocks/block/feed_forward/gate/kernel': P(None, None, 'tensor')}),
  (MaskedBert(Bert(**SMALL)), 1, {
    'encoder/tokens/embedding': P(None, 'tensor'), 'encoder/norm/scale': P(),
    'encoder/sentences/embedding': P(None, 'tensor'), 'bias': P(),
    'transform/kernel': P(None, 'tensor'), 'transform/bias': P('tensor'),
    'encoder/blocks/block/attention/out/kernel': P(None, 'tensor')}),
  (BertClassifier(Bert(**SMALL), 3), 1, {
    'pooler/kernel': P(None, 'tensor'), 'pooler/bias': P('tensor'),
    'head/kernel': P('tensor'), 'head/bias': P()}),
  (BertSpans(Bert(**SMALL)), 1, {'head/kernel': P('tensor'), 'head/bias': P()}),
  (Transformer(**SMALL, norm_first=True), 2, {
    'tokens/embedding': P(None, 'tensor'), 'encoder_norm/scale': P(),
    'decoder_norm/bias': P(), 'decoder/block/cross_norm/scale': P(),
    'encoder/block/attention/query/kernel': P(None, None, 'tensor'),
    'decoder/block/cross/key/kernel': P(None, None, 'tensor'),
    'decoder/block/cross/out/kernel': P(None, 'tensor')}),
], ids=lambda x: type(x).__name__)
def test_rules_of_transformers(model, texts, others):
  params = transformer_params(model, texts)  # all are covered, or it raises
  found = by_name(parameter_specs(params, sharding_rules.TRANSFORMER, TENSOR))
  assert {name: found[name] for name in others} == others


@pytest.mark.parametrize('encoder', [Bert(**SMALL), BagOfWords(20, 8)])
def test_rules_of_the_dual_encoder(encoder):
  tokens = jnp.zeros((1, 4), int)
  params = jax.eval_shape(lambda: DualEncoder(encoder).init(
    jax.random.key(0), tokens, tokens[None], train=False))['params']
  found = by_name(parameter_specs(params, sharding_rules.DUAL_ENCODER, TENSOR))
  assert found['context_head/kernel'] == found['response_head/kernel'] == P('tensor')
  assert found['log_scale'] == P()
  assert found['encoder/tokens/embedding'] == P(None, 'tensor')


@pytest.mark.parametrize('pooling', ['first', 'mean'])
def test_rules_of_vit(pooling):
  model = Vit(3, size=8, patch=4, depth=2, width=8, heads=2, pooling=pooling)
  found = by_name(parameter_specs(
    params_of(model, 8, 8, 3), sharding_rules.TRANSFORMER, TENSOR))
  expected = {
    'patches/kernel': P(None, 'tensor'), 'patches/bias': P('tensor'),
    'positions/embedding': P(None, 'tensor'), 'norm/scale': P(), 'norm/bias': P(),
    'head/kernel': P('tensor'), 'head/bias': P(),
    **({'class_token': P()} if pooling == 'first' else {})}
  blocks = {name for name in found if name.startswith('blocks/block/')}
  assert len(blocks) == 16
  assert {name: spec for name, spec in found.items() if name not in blocks} == expected


@pytest.mark.parametrize('model, inputs, others', [
  (Conformer(6, width=8, depth=2, heads=2, kernel=3), (), {
    'stack/block/first/in/kernel': P(None, None, 'tensor'),
    'stack/block/second/out/kernel': P(None, 'tensor'),
    'stack/block/convolution/depthwise/kernel': P(),
    'stack/block/attention/query/kernel': P(None, None, 'tensor'),
    'stack/block/norm/scale': P(), 'head/kernel': P('tensor'), 'head/bias': P()}),
  (SpeechTransformer(6, width=8, depth=2, decoder_depth=1, heads=2), (
    jnp.zeros((1, 4), int),), {
    'decoder/block/cross/key/kernel': P(None, None, 'tensor'),
    'subsampling/out/kernel': P('tensor'), 'ctc/kernel': P('tensor'),
    'tokens/embedding': P(None, 'tensor'), 'encoder_norm/scale': P()})],
  ids=lambda x: type(x).__name__)
def test_rules_of_speech(model, inputs, others):
  params = jax.eval_shape(lambda: model.init(
    jax.random.key(0), jnp.zeros((1, 12, 8)), *inputs, train=False))['params']
  found = by_name(parameter_specs(params, sharding_rules.SPEECH, TENSOR))
  assert {name: found[name] for name in others} == others


def test_rules_of_wavenet():
  model = WaveNet(levels=8, classes=2, width=4, skip=8, depth=2, stacks=1)
  params = jax.eval_shape(lambda: model.init(
    jax.random.key(0), jnp.zeros((1, 4), int), jnp.zeros(1, int), train=False))[
      'params']
  found = by_name(parameter_specs(params, sharding_rules.WAVENET, TENSOR))
  sharded = {'skip/kernel': P(None, 'tensor'), 'skip/bias': P('tensor'),
             'hidden/kernel': P('tensor'), 'head/kernel': P(None, 'tensor'),
             'head/bias': P('tensor')}
  assert {name: spec for name, spec in found.items() if spec != P()} == sharded


def test_rules_of_tacotron():
  model = Tacotron(9, bins=4, width=8, attention=4, filters=4, filter_size=3, prenet=4,
                   decoder=4, postnet=8)
  key = jax.random.key(0)
  params = jax.eval_shape(lambda: model.init(
    {'params': key, 'dropout': key}, jnp.ones((1, 3), int), jnp.zeros((1, 5, 4)),
    train=False))['params']
  found = by_name(parameter_specs(params, sharding_rules.TACOTRON, TENSOR))
  sharded = {name for name, spec in found.items() if spec != P()}
  assert sharded == {
    'embedding/embedding', *(f'encoder/conv_{i}/kernel' for i in range(3)),
    *(f'postnet_layers/conv_{i}/kernel' for i in range(5)),
    'prenet_layers_0/kernel', 'prenet_layers_0/bias', 'prenet_layers_1/kernel'}


def test_keys_and_values_that_tensor_does_not_divide_are_refused():
  params = transformer_params(Gpt(**{**SMALL, 'heads': 4}, kv_heads=1))
  words = ('tensor:4', 'block/attention/key/bias (2, 2)', 'axis of 2')
  with pytest.raises(UserError, match='.*'.join(map(re.escape, words))):
    parameter_specs(params, sharding_rules.TRANSFORMER, MeshShape(data=1, tensor=4))


def recommender_params(model):
  numbers = jnp.zeros(2, int)
  return jax.eval_shape(lambda: model.init(
    jax.random.key(0), numbers, numbers[:, None], train=False))['params']


@pytest.mark.parametrize('model', [
  MatrixFactorization(100, 90, width=64), NeuMf(100, 90), TwoTower(100, 90),
  Dlrm(100, 90, 0)], ids=lambda model: type(model).__name__)
def test_rules_of_models_of_users_and_items(model):
  """Rows of tables are sharded along fsdp, vectors along tensor."""
  found = by_name(parameter_specs(recommender_params(model), sharding_rules.RECOMMENDER,
                                  MeshShape(data=1, fsdp=4, tensor=2)))
  tables = {name for name in found if name.endswith('/embedding')}
  assert len(tables) >= 2
  for name, spec in found.items():
    if name in tables:
      assert spec == (P('fsdp') if 'biases' in name else P('fsdp', 'tensor')), name
    else:  # large ones along fsdp
      assert 'tensor' not in spec, name


def test_rules_of_sasrec():
  items = jnp.zeros((1, 4), int)
  params = jax.eval_shape(lambda: SasRec(90, length=4, width=8, heads=2).init(
    jax.random.key(0), items, items[..., None], train=False))['params']
  found = by_name(parameter_specs(
    params, sharding_rules.SASREC, MeshShape(data=1, fsdp=4, tensor=2)))
  assert found['items/embedding'] == P('fsdp', 'tensor')
  assert found['blocks/block/attention/query/kernel'] == P(None, None, 'tensor')
