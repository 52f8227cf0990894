"""Tests of where the parameters of a ViT go, against the library that publishes them.

As tests/models/hugging_face_test.py, for images.
"""

import json

import jax
import numpy as np
import pytest

from bigmodels.models import Vit
from tests.models.published import (
  close,
  perturbed,
  refusal,
  started,
  torch,
  transformers,
)

pytestmark = pytest.mark.reference

VIT = Vit(5, size=12, patch=4, depth=2, width=32, heads=4, hidden=48)
IMAGES = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32)


def config(**others):
  return transformers.ViTConfig(
    num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=48,
    image_size=12, patch_size=4, num_labels=5, **others)


@pytest.fixture(scope='module')
def vit():
  return perturbed(transformers.ViTForImageClassification(config()))


def answer(model, params):
  return np.asarray(jax.jit(lambda params: model.apply(
    {'params': params}, IMAGES, train=False))(params))


def load(model, path, *others, **named):
  return started(model, path, IMAGES, *others, **named).params


def theirs(model):
  with torch.no_grad():
    return model(torch.tensor(IMAGES.transpose(0, 3, 1, 2)))[0].numpy()


@pytest.mark.parametrize('size', ['1GB', '20KB'])
def test_it_answers_the_same(vit, tmp_path, size):
  vit.save_pretrained(tmp_path, max_shard_size=size)
  close(answer(VIT, load(VIT, tmp_path)), theirs(vit))


def test_the_transformer_by_itself_goes_under_a_new_head(vit, tmp_path):
  encoder = transformers.ViTModel(config())  # with a pooler
  encoder.load_state_dict(vit.vit.state_dict(), strict=False)
  encoder.save_pretrained(tmp_path)
  params = load(VIT, tmp_path, r'(?!head/).*')
  assert np.all(params['head']['kernel'] == 7)
  head = {'kernel': vit.classifier.weight.detach().numpy().T,
          'bias': vit.classifier.bias.detach().numpy()}
  close(answer(VIT, {**params, 'head': head}), theirs(vit))
  text = refusal(VIT, tmp_path, IMAGES)
  assert 'head/kernel: missing (classifier.weight)' in text and 'pooler' not in text


def test_every_parameter_of_another_size_is_named(vit, tmp_path):
  vit.save_pretrained(tmp_path)

  def lines(**fields):
    model = VIT.clone(**fields)
    images = np.zeros((1, model.size, model.size, model.channels), np.float32)
    return refusal(model, tmp_path, images).split('\n')[1:-1]

  assert lines(size=16) == ['  image_size: there 12, must be 16 or [16, 16]']
  assert lines(patch=3, size=9) == [
    '  image_size: there 12, must be 9 or [9, 9]',
    '  patch_size: there 4, must be 3 or [3, 3]']
  (tmp_path / 'config.json').unlink()
  assert lines(size=16) == [
    '  positions/embedding: shape must be (17, 32), got (10, 32)']
  assert lines(channels=1) == ['  patches/kernel: shape must be (16, 32), got (48, 32)']
  assert lines(patch=3, size=9) == [
    '  patches/kernel: shape must be (27, 32), got (48, 32)']
  assert lines(num_outputs=7) == ['  head/bias: shape must be (7,), got (5,)',
                              '  head/kernel: shape must be (32, 7), got (32, 5)']


def test_positions_of_another_size_can_begin_afresh(vit, tmp_path):
  vit.save_pretrained(tmp_path)
  model = VIT.clone(size=16)
  params = started(model, tmp_path, np.zeros((1, 16, 16, 3), np.float32),
                   r'(?!positions/).*').params
  assert np.all(params['positions']['embedding'] == 7)
  assert np.abs(jax.tree.leaves(params['blocks'])[0]).max() < 7


def test_what_the_shapes_do_not_tell_is_refused(vit, tmp_path):
  vit.save_pretrained(tmp_path)
  heads = refusal(VIT.clone(heads=2), tmp_path, IMAGES)
  assert 'num_attention_heads: there 4, must be 2' in heads
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {'hidden_act': 'relu'}))
  assert 'hidden_act: there "relu", must be "gelu"' in refusal(
    VIT, tmp_path, IMAGES)


@pytest.mark.parametrize('fields, words', [
  ({'pooling': 'mean'}, "pooling: must be 'first' as in the published ViT, got 'mean'"),
  ({'positions': 'sincos'}, "positions: must be 'learned' as in the published ViT")])
def test_other_variants_are_not_published(vit, tmp_path, fields, words):
  vit.save_pretrained(tmp_path)
  assert words in refusal(VIT.clone(**fields), tmp_path, IMAGES)
