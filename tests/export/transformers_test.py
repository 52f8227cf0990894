"""Tests that `transformers` loads what is exported, and computes the same."""

import dataclasses
import json
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import pytest

from bigmodels import data, models, tasks
from bigmodels.data import tokenizers, transforms
from bigmodels.data.texts import Labelled
from bigmodels.data.texts.documents import Documents
from bigmodels.export import safetensors
from tests.models.published import torch, transformers
from tests.training.untrained import logits_of, run_of

pytestmark = pytest.mark.reference

RNG = np.random.default_rng(0)
NAMES = ('cat', 'dog', 'eel', 'fox', 'gnu')
IMAGES = RNG.integers(0, 256, (12, 64, 64, 3)).astype(np.uint8)
LABELS = np.arange(12, dtype=np.int32) % 5
MEAN, STD = np.array([120.0, 125.0, 130.0]), np.array([60.0, 70.0, 80.0])
SPECIAL = ('pad', 'class', 'separator', 'mask', 'end')
TEXT = ' the cat sat on the mat, and the dog sat on the cat. ' * 30


class Lines:
  """What text sources need of a corpus."""

  name = 'lines'

  def read(self, split, context):
    del split, context
    return Documents([TEXT] * 4)


class Reviews:
  """What `data.Sentences` needs of labelled texts."""

  name = 'reviews'

  def read(self, split, context):
    del split, context
    texts = ['the cat sat', 'a dog', 'the mat', 'a cat and a dog']
    return Labelled(texts, ['bad', 'good'] * 2, lambda row: f'row {row}', '')


def images():
  return data.Arrays(inputs=IMAGES, labels=LABELS, classes=NAMES)


def of_images(model):
  return run_of(model, images(), transforms=(partial(
    transforms.standardize, mean=tuple(MEAN), std=tuple(STD)),))


RUNS = {
  'vit': lambda: of_images(models.Vit(
    5, size=64, patch=16, depth=2, width=32, heads=4)),
  'resnet18': lambda: of_images(models.ResNet(5, 18, 8)),
  'resnet50': lambda: of_images(models.ResNet(5, 50, 8, stride_first=True)),
  'mobilenet_v1': lambda: of_images(models.MobileNetV1(5, 0.25)),
  'mobilenet_v2': lambda: of_images(models.MobileNetV2(5, 0.35)),
}


def exported(run, folder, **settings):
  lines = []
  folder.mkdir(exist_ok=True)
  safetensors.write(run, folder, say=lines.append, **{
    'dtype': 'float32', 'shard_bytes': 10**9, **settings})
  return lines


def loaded(kind, folder):
  model, info = kind.from_pretrained(folder, output_loading_info=True)
  assert not any(info[name] for name in (
    'missing_keys', 'unexpected_keys', 'mismatched_keys')), info
  return model.eval()


def compared(run, model, *inputs, ours=lambda run, x: logits_of(run, x), **keywords):
  """Asserts that both compute the same; returns the differences in 32 and 64 bits.

  They are relative to the largest logit. In float32 each rounds in its own order, by
  more than 1e-6 in a deep network; float64 shows that nothing else differs.
  """
  found = []
  for dtype, bound in ((np.float32, 2e-5), (np.float64, 1e-12)):
    with jax.enable_x64(dtype == np.float64):
      cast = jax.tree.map(lambda x, dtype=dtype: np.asarray(x).astype(dtype) if (
        np.issubdtype(x.dtype, np.floating)) else x, (run.state, inputs))
      actual = ours(dataclasses.replace(run, state=cast[0]), *cast[1], **keywords)
    assert actual.dtype == dtype
    model.to(torch.float64 if dtype == np.float64 else torch.float32)
    with torch.no_grad():
      expected = theirs(model, *cast[1], **keywords)
    assert np.std(expected) > 0.05
    found.append(np.abs(actual - expected).max() / np.abs(expected).max())
    assert found[-1] < bound
  return found


def theirs(model, inputs, segments=None):
  tensor = torch.tensor(inputs)
  if inputs.ndim == 4:
    return model(tensor.permute(0, 3, 1, 2)).logits.numpy()
  mask = {} if segments is None else {'attention_mask': torch.tensor(segments)}
  return model(tensor, **mask).logits.numpy()


@pytest.mark.parametrize('name', RUNS)
def test_image_classifiers(tmp_path, name):
  run = RUNS[name]()
  lines = exported(run, tmp_path)
  assert lines[-1].startswith('read back: max difference 0, 0 in the outputs of 8 ran')
  model = loaded(transformers.AutoModelForImageClassification, tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  assert type(model).__name__ == config['architectures'][0]
  assert model.config.id2label == dict(enumerate(NAMES))
  processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
  pixels = processor(list(IMAGES), return_tensors='pt')['pixel_values']
  ours = ((IMAGES - MEAN) / STD).astype(np.float32)
  np.testing.assert_allclose(pixels.permute(0, 2, 3, 1), ours, rtol=0, atol=1e-5)
  print(name, compared(run, model, ours))


def encoder(**sizes):
  return partial(models.Bert, **{
    'length': 24, 'depth': 2, 'width': 32, 'heads': 4, 'hidden': 48, **sizes})


def packed(tokenizer):
  return data.Packed(Lines(), tokenizer, 24)


def of_gpt(tokenizer, **fields):
  return run_of(partial(models.Gpt, length=24, depth=2, width=32, heads=4, **fields),
                packed(tokenizer), tasks.next_token)


@pytest.mark.parametrize('tokenizer, fields', [
  (tokenizers.Bpe(280), {}),
  (tokenizers.Bytes(), {'hidden': 40, 'tied': False}),
  (tokenizers.Characters(), {'norm': partial(nn.LayerNorm, epsilon=1e-6)}),
])
def test_gpt2(tmp_path, tokenizer, fields):
  run = of_gpt(tokenizer, **fields)
  exported(run, tmp_path)
  model = loaded(transformers.AutoModelForCausalLM, tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  text = 'the cat\n and dog'.replace('\n', '' if 'Char' in str(tokenizer) else '\n')
  ids = theirs(text)['input_ids']
  assert ids == run.tokenizer.encode(text).tolist() and theirs.decode(ids) == text
  print('gpt2', compared(run, model, np.array([ids, ids[::-1]])[:, :24]))
  assert model.generate(torch.tensor([ids]), max_new_tokens=3, do_sample=False).shape[
    1] <= len(ids) + 3
  assert model.config.eos_token_id == run.tokenizer.special.get('end')


def test_masked_bert(tmp_path):
  run = run_of(
    partial(models.MaskedBert, encoder=encoder()), data.Packed(
      Lines(), tokenizers.Bpe(280, special=SPECIAL), 24, separate=True),
    tasks.masked_token)
  exported(run, tmp_path)
  model = loaded(transformers.AutoModelForMaskedLM, tmp_path)
  ids = run.tokenizer.encode(TEXT)[:24]
  print('bert', compared(run, model, np.stack([ids, ids[::-1]]).astype(np.int64)))
  fill = transformers.pipeline('fill-mask', model=str(tmp_path))
  found = fill('the cat <|mask|> on')
  assert len(found) == 5 and all('cat' in each['sequence'] for each in found)


@pytest.mark.parametrize('tokenizer', [
  tokenizers.Bpe(290, special=(*SPECIAL, 'unknown')), tokenizers.Words(20)])
def test_bert_classifier(tmp_path, tokenizer):
  source = data.Sentences(Reviews(), tokenizer, 12)
  run = run_of(partial(models.BertClassifier, encoder=encoder(length=12)), source)
  exported(run, tmp_path)
  model = loaded(transformers.AutoModelForSequenceClassification, tmp_path)
  texts = ['the cat sat', 'a dog', 'the mat and a cat']
  read = transformers.AutoTokenizer.from_pretrained(tmp_path)(
    texts, padding='max_length', max_length=12, return_tensors='np')
  ids, mask = read['input_ids'], read['attention_mask']
  special = run.tokenizer.special
  for row, text in zip(ids, texts, strict=True):
    expected = [special['class'], *run.tokenizer.encode(text)]
    expected += [special[name] for name in ('separator',) if name in special]
    assert row.tolist() == expected + [special['pad']] * (12 - len(expected))
  print('bert classifier', compared(run, model, ids, segments=mask, ours=lambda run, x,
                                    segments: logits_of(run, x, segments=segments)))
  classify = transformers.pipeline('text-classification', model=str(tmp_path))
  found, = classify(texts[:1])
  answer = run.predict(ids[:1].astype(np.uint16), segments=mask[:1].astype(np.int32))
  assert found['label'] == ('bad', 'good')[answer['predictions'][0]]
  np.testing.assert_allclose(found['score'], answer['probabilities'].max(), rtol=1e-5)


def test_shards_and_types(tmp_path):
  run = of_gpt(tokenizers.Bpe(280))
  lines = exported(run, tmp_path / 'shards', shard_bytes=20_000)
  index = json.loads((tmp_path / 'shards' / 'model.safetensors.index.json').read_text())
  assert len({*index['weight_map'].values()}) > 3
  ids = np.arange(24)[None]
  compared(run, loaded(transformers.AutoModelForCausalLM, tmp_path / 'shards'), ids)
  assert 'max difference 0, 0 in the outputs' in lines[-1]
  lines = exported(run, tmp_path / 'half', dtype='bfloat16')
  assert lines[-2] == 'the largest rounding to bfloat16 is 0.0039 of a value'
  model = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'half', dtype='auto')
  assert model.dtype == torch.bfloat16
  with torch.no_grad():
    rounded = model(torch.tensor(ids)).logits.float().numpy()
  assert 1e-4 < np.abs(rounded - logits_of(run, ids)).max() < 0.3
