"""Tests of what published weights may look like on a disk, and what is refused.

No other library is needed: the files are written here, as Hugging Face lays them out.
"""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from bigmodels.core.paths import resolved_except_last
from bigmodels.models import (
  Bert,
  BertClassifier,
  Gpt,
  MaskedBert,
  MobileNetV1,
  MobileNetV2,
  ResNet,
  Vit,
)
from tests.models.gpt2_files import (
  CONFIG,
  GPT,
  TOKENS,
  arrays,
  cache,
  halves,
  write,
  write_shards,
)
from tests.models.loading import refusal, started

# --- where config.json is -------------------------------------------------------


def linked(place, target):
  place.parent.mkdir(parents=True, exist_ok=True)
  place.symlink_to(target)
  return place


def linked_shards(tmp):
  write_shards(tmp / 'blobs', halves(), config=None)
  (tmp / 'snap').mkdir()
  for name in ('a.safetensors', 'b.safetensors', 'model.safetensors.index.json'):
    (tmp / 'snap' / name).symlink_to(f'../blobs/{name}')
  (tmp / 'snap' / 'config.json').write_text(json.dumps(CONFIG))
  return tmp / 'snap'


LAYOUTS = {
  'folder': lambda tmp: write(tmp / 'gpt'),
  'file': lambda tmp: write(tmp / 'gpt') / 'model.safetensors',
  'folder of a cache': lambda tmp: cache(tmp),
  'file of a cache': lambda tmp: cache(tmp) / 'model.safetensors',
  'link to a folder': lambda tmp: linked(tmp / 'a' / 'link', cache(tmp)),
  'file in a link to a folder': lambda tmp: (
    linked(tmp / 'a' / 'link', cache(tmp)) / 'model.safetensors'),
  'link to a link': lambda tmp: linked(
    tmp / 'a' / 'gpt.safetensors', cache(tmp) / 'model.safetensors'),
  'chain of links': lambda tmp: linked(tmp / 'b' / 'x', linked(
    tmp / 'a' / 'gpt.safetensors', os.path.relpath(
      cache(tmp) / 'model.safetensors', tmp / 'a'))),
  'up through a link': lambda tmp: (
    linked(tmp / 'a' / 'link', cache(tmp)) / '..' / '0123abcd' / 'model.safetensors'),
  'up at the end': lambda tmp: linked(tmp / 'a' / 'link', (
    write(tmp / 'gpt') / 'sub', (tmp / 'gpt' / 'sub').mkdir())[0]) / '..',
  'shards': lambda tmp: write_shards(tmp / 'gpt', halves()),
  'shards that are links': linked_shards,
  'relative': lambda tmp: os.path.relpath(cache(tmp) / 'model.safetensors'),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_config_beside_what_is_given_is_checked(tmp_path, monkeypatch, layout):
  monkeypatch.chdir(tmp_path)
  path = LAYOUTS[layout](tmp_path)
  lines = []
  params = started(GPT, path, TOKENS, say=lines.append).params
  np.testing.assert_array_equal(params['tokens']['embedding'], arrays()['wte.weight'])
  assert len(lines) == 1
  text = refusal(GPT.clone(heads=2), path, TOKENS)
  assert '  n_head: there 4, must be 2' in text.split('\n')


def test_a_file_that_is_a_link_stays_one(tmp_path, monkeypatch):
  """What is kept with the run is the link, absolute, wherever it goes on."""
  monkeypatch.chdir(tmp_path)
  snapshot = cache(tmp_path)
  file = snapshot / 'model.safetensors'
  assert resolved_except_last(os.path.relpath(file)) == file
  assert resolved_except_last(linked(tmp_path / 'link', snapshot)) == snapshot
  assert resolved_except_last('link/../0123abcd') == snapshot
  assert resolved_except_last('gone') == tmp_path / 'gone'
  assert resolved_except_last('.') == tmp_path
  assert str(resolved_except_last('~')) == os.path.expanduser('~')


def test_without_a_config_a_line_says_what_is_not_checked(tmp_path):
  path, lines = write(tmp_path / 'gpt', config=None), []
  started(GPT.clone(heads=2), path, TOKENS, say=lines.append)
  assert lines[0] == (
    f'{path}: no config.json beside it, so what shapes do not show is not checked: '
    'n_head, activation_function, layer_norm_epsilon, scale_attn_weights, '
    'scale_attn_by_inverse_layer_idx, add_cross_attention, tie_word_embeddings')
  assert len(lines) == 2


def test_a_config_that_is_no_file_is_refused(tmp_path):
  folder = write(tmp_path / 'gpt', config=None)
  (folder / 'config.json').symlink_to('blobs/gone')
  assert 'config.json is not a file, or links to none' in refusal(GPT, folder, TOKENS)
  (folder / 'config.json').unlink()
  (folder / 'config.json').mkdir()
  assert 'config.json is not a file' in refusal(
    GPT, folder / 'model.safetensors', TOKENS)


def test_paths_without_weights(tmp_path):
  snapshot = cache(tmp_path)
  assert f'; did you mean {snapshot}?' in refusal(GPT, tmp_path, TOKENS)
  other = tmp_path / 'other'
  other.mkdir()
  save_file(arrays(), other / 'gpt.safetensors')
  assert 'mean one of its files: gpt.safetensors?' in refusal(GPT, other, TOKENS)
  index = write_shards(tmp_path / 'shards', halves()) / 'model.safetensors.index.json'
  assert f'did you mean its folder, {index.parent}?' in refusal(GPT, index, TOKENS)
  text = refusal(GPT, linked(tmp_path / 'link', 'gone.safetensors'), TOKENS)
  assert text == 'a link to gone.safetensors, which is not there'


# --- what config.json says ------------------------------------------------------

IMAGES = np.zeros((1, 33, 33, 3), np.float32)
VIT = Vit(5, size=8, patch=4, depth=1, width=8, heads=2)
BERT = Bert(11, length=6, depth=1, width=8, heads=2)
FIFTY, EIGHTEEN = ResNet(5, 50, 8), ResNet(5, 18, 8)
TINY1, TINY2 = MobileNetV1(5, 0.1), MobileNetV2(5, 0.1)
_VIT = {'num_attention_heads': 2, 'image_size': 8, 'patch_size': 4}


def says(folder, model, config):
  """What is said against a config.json beside a file without arrays, or None."""
  save_file({}, folder / 'model.safetensors')
  (folder / 'config.json').write_text(
    config if isinstance(config, str) else json.dumps(config))
  inputs = (TOKENS if isinstance(model, Gpt | Bert | MaskedBert | BertClassifier) else
            np.zeros((1, 8, 8, 3), np.float32) if isinstance(model, Vit) else IMAGES)
  text = refusal(model, folder, inputs)
  return None if text.startswith('none of the parameters is there') else text


@pytest.mark.parametrize('model, config', [
  (GPT, {'n_head': 4}),
  (GPT, {'num_attention_heads': 4}),  # the other name that is read
  (GPT, {'n_head': 4, 'num_attention_heads': 2}),
  (GPT, {'n_head': 4.0, 'layer_norm_epsilon': 9.999999747378752e-06}),
  (GPT, {**CONFIG, 'activation_function': 'gelu_fast', 'n_inner': None}),
  (GPT, {**CONFIG, 'architectures': None, 'reorder_and_upcast_attn': True}),
  (GPT.clone(heads=1, width=12 * 8).clone(heads=12), {}),
  (BERT, {'num_attention_heads': 2, 'architectures': ['BertForMaskedLM']}),
  (BERT, {'num_attention_heads': 2, 'tie_word_embeddings': False}),
  (FIFTY, {}), (FIFTY, {'downsample_in_bottleneck': 0}),
  (FIFTY.clone(stride_first=True), {'downsample_in_bottleneck': True}),
  (EIGHTEEN, {'layer_type': 'basic', 'downsample_in_bottleneck': True}),
  (TINY1, {}), (TINY2, {'tf_padding': True, 'expand_ratio': 6}),
  (VIT, _VIT), (VIT, {**_VIT, 'image_size': [8, 8], 'layer_norm_eps': 1e-6}),
  (GPT, '\ufeff' + json.dumps(CONFIG)),
], ids=lambda x: type(x).__name__ if not isinstance(x, dict | str) else str(x)[:50])
def test_configs_of_the_same_model(tmp_path, model, config):
  assert says(tmp_path, model, config) is None


@pytest.mark.parametrize('model, config, line', [
  (GPT, {}, 'n_head: absent, which means 12, must be 4'),
  (GPT, {'num_attention_heads': 2}, 'num_attention_heads: there 2, must be 4'),
  (GPT, {'n_head': None}, 'n_head: there null, must be 4'),
  (GPT, {'n_head': '4'}, 'n_head: there "4", must be 4'),
  (GPT, {'n_head': 10**400}, 'n_head: there 1' + '0' * 59 + '..., must be 4'),
  (GPT, {**CONFIG, 'activation_function': 'gelu'},
   'activation_function: there "gelu", must be "gelu_new"'),
  (GPT, {**CONFIG, 'layer_norm_epsilon': 1e-3},
   'layer_norm_epsilon: there 0.001, must be 1e-05'),
  (GPT, '{"n_head": 4, "layer_norm_epsilon": NaN}', 'layer_norm_epsilon: there NaN'),
  (GPT.clone(norm=lambda **kw: __import__('flax').linen.LayerNorm(epsilon=1e-6, **kw)),
   CONFIG, 'layer_norm_epsilon: absent, which means 1e-05, must be 1e-06'),
  (GPT, {**CONFIG, 'scale_attn_weights': False}, 'scale_attn_weights: there false'),
  (GPT, {**CONFIG, 'scale_attn_by_inverse_layer_idx': True},
   'scale_attn_by_inverse_layer_idx: there true, must be false'),
  (GPT, {**CONFIG, 'add_cross_attention': True}, 'add_cross_attention: there true'),
  (GPT, {**CONFIG, 'tie_word_embeddings': False}, 'tie_word_embeddings: there false'),
  (GPT, {**CONFIG, 'auto_map': {'AutoModel': 'their.py'}}, 'auto_map: there {"Auto'),
  (GPT, {**CONFIG, 'per_layer_config': {'0': {'n_head': 2}}}, 'per_layer_config: the'),
  (GPT, {'model_type': 'bert'}, 'model_type: there "bert", must be "gpt2"'),
  (GPT, {'model_type': ['gpt2']}, 'model_type: there ["gpt2"], must be "gpt2"'),
  (GPT, {'architectures': ['BertModel'], 'n_head': 4},
   'architectures: there ["BertModel"], must begin with "GPT2"'),
  (GPT, {**CONFIG, 'architectures': 'GPT2Model'}, 'architectures: there "GPT2Model"'),
  (BERT, {'num_attention_heads': 2, 'is_decoder': True}, 'is_decoder: there true'),
  (BERT, {'num_attention_heads': 2, 'hidden_act': 'gelu_new'}, 'hidden_act: there "g'),
  (BERT, {'num_attention_heads': 2, 'layer_norm_eps': 1e-5}, 'layer_norm_eps: there'),
  (BERT, {'num_attention_heads': 2, 'position_embedding_type': 'relative_key'},
   'position_embedding_type: there "relative_key"'),
  (BertClassifier(BERT, 3), {'model_type': 'distilbert'}, 'model_type: there "distil'),
  (MaskedBert(BERT), {'num_attention_heads': 2, 'tie_word_embeddings': False},
   'tie_word_embeddings: there false, must be true'),
  (FIFTY.clone(stride_first=True), {},
   'downsample_in_bottleneck: absent, which means false, must be true'),
  (FIFTY, {'downsample_in_bottleneck': True}, 'downsample_in_bottleneck: there true'),
  (FIFTY, {'downsample_in_first_stage': 1}, 'downsample_in_first_stage: there 1'),
  (EIGHTEEN, {}, 'layer_type: absent, which means "bottleneck", must be "basic"'),
  (EIGHTEEN, {'layer_type': 'basic', 'hidden_act': 'gelu'}, 'hidden_act: there "gelu"'),
  (TINY1.clone(padding='symmetric'), {},
   'tf_padding: absent, which means true, must be false'),
  (TINY1.clone(epsilon=1e-5), {}, 'layer_norm_eps: absent, which means 0.001, must be'),
  (TINY1, {'tf_padding': None}, 'tf_padding: there null, must be true'),
  (TINY2, {'output_stride': 16}, 'output_stride: there 16, must be 32'),
  (TINY2, {'first_layer_is_expansion': False}, 'first_layer_is_expansion: there false'),
  (TINY2, {'hidden_act': 'relu'}, 'hidden_act: there "relu", must be "relu6"'),
  (VIT, {}, 'num_attention_heads: absent, which means 12, must be 2'),
  (VIT, {**_VIT, 'image_size': [4, 16]}, 'image_size: there [4, 16], must be 8 or'),
  (VIT, {**_VIT, 'patch_size': [2, 8]}, 'patch_size: there [2, 8], must be 4 or [4'),
  (VIT, {**_VIT, 'qkv_bias': False}, 'qkv_bias: there false, must be true'),
], ids=lambda x: type(x).__name__ if not isinstance(x, dict | str) else str(x)[:50])
def test_configs_of_another_model(tmp_path, model, config, line):
  found = says(tmp_path, model, config).split('\n')
  assert any(each.startswith(f'  {line}') for each in found), found
  assert found[0].startswith('its config.json is of another model than this ')


@pytest.mark.parametrize('data, words', [
  (b'[]', 'config.json must be a JSON object, got a list'),
  (b'null', 'must be a JSON object, got a NoneType'), (b'"gpt2"', 'got a str'),
  (b'', 'config.json cannot be read: '), (b'{"n_head": 4', 'cannot be read: '),
  (b'{"n_head": 4}, {}', 'cannot be read: Extra data'),
  (b'\xff\xfe{\x00}\x00', "cannot be read: 'utf-8' codec"),
  (b'{"name": "caf\xe9"}', "cannot be read: 'utf-8' codec"),
  (b"{'n_head': 4}", 'cannot be read: Expecting property name'),
  (b'[' * 100_000, 'config.json cannot be read: ')])
def test_configs_that_cannot_be_read(tmp_path, data, words):
  write(tmp_path, config=None)
  (tmp_path / 'config.json').write_bytes(data)
  text = refusal(GPT, tmp_path, TOKENS)
  assert words in text and '\n' not in text


def test_what_is_not_taken_is_not_checked(tmp_path):
  """Heads are nothing to an embedding, nor are the sides of images to a patch."""
  write(tmp_path, {'n_head': 2})
  lines = []
  params = started(GPT, tmp_path, TOKENS, 'tokens/.*', say=lines.append).params
  np.testing.assert_array_equal(params['tokens']['embedding'], arrays()['wte.weight'])
  assert 'n_head' in refusal(GPT, tmp_path, TOKENS, 'blocks/.*')
  assert len(lines) == 1


def test_the_pooling_of_a_classifier(tmp_path):
  model = BertClassifier(BERT, 3, pooling='mean')
  save_file({'bert.embeddings.LayerNorm.weight': np.ones(8, np.float32)},
            tmp_path / 'model.safetensors')
  assert "  head/bias: missing (published with pooling='first', here it is 'mean')" \
    in refusal(model, tmp_path, TOKENS).split('\n')


@pytest.mark.parametrize('theirs, line', [
  (['cat', 'dog'], None), (['Cat', 'dog '], None), (['LABEL_0', 'LABEL_1'], None),
  (['a', 'b', 'c'], None),  # which shapes show
  (['tabby', 'dog'], "class 0 of its config.json (id2label) is 'tabby', that of this "
   "run 'cat'; taken by number"),
  (['dog', 'cat'], "refused: class 0 of its config.json (id2label) is 'dog', that of "
   "this run 'cat': the same classes in another order; "
   "--config.init_pattern='(?!head/).*' takes all but the last layer")])
def test_classes_of_a_published_head(tmp_path, theirs, line):
  train = SimpleNamespace(dataset=SimpleNamespace(classes=('cat', 'dog'), named=True))
  config = {'num_attention_heads': 2, 'id2label': dict(enumerate(theirs))}
  model, lines = BertClassifier(BERT, 2), []
  save_file({'classifier.weight': np.ones((2, 8), np.float32),
             'classifier.bias': np.ones(2, np.float32)}, tmp_path / 'model.safetensors')
  (tmp_path / 'config.json').write_text(json.dumps(config))
  if line and line.startswith('refused: '):
    assert refusal(model, tmp_path, TOKENS, 'head/.*', train=train) == (
      line.removeprefix('refused: '))
    return
  started(model, tmp_path, TOKENS, 'head/.*', say=lines.append, train=train)
  assert lines[:-1] == ([f'{tmp_path}: {line}'] if line else [])
