"""Tests of where published parameters go, against the library that publishes them."""

import json

import flax.linen as nn
import jax
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.models import (
  Bert,
  BertClassifier,
  BertSpans,
  Gpt,
  MaskedBert,
  Mlp,
  MobileNetV1,
  MobileNetV2,
  ModernGpt,
  ResNet,
  Vit,
)
from tests.models.published import (
  close,
  perturbed,
  refusal,
  started,
  torch,
  transformers,
)

pytestmark = pytest.mark.reference

TOKENS = np.random.default_rng(0).integers(1, 61, (3, 17))
LENGTHS = (17, 9, 1)
SEGMENTS = (np.arange(17) < np.array(LENGTHS)[:, None]).astype(np.int32)
GPT = Gpt(61, length=24, depth=2, width=32, heads=4)
BERT = Bert(61, length=24, depth=2, width=32, heads=4, hidden=48)


def gpt_config(**others):
  return transformers.GPT2Config(
    n_layer=2, n_embd=32, n_head=4, vocab_size=61, n_positions=24, bos_token_id=0,
    eos_token_id=0, **others)


def bert_config(**others):
  return transformers.BertConfig(
    num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=48,
    vocab_size=61, max_position_embeddings=24, hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0, **others)


def load(model, path, *others, **named):
  """The parameters that a fresh model has after `initialize.start`."""
  return started(model, path, TOKENS, *others, **named).params


def answer(model, params, **inputs):
  return np.asarray(jax.jit(lambda params: model.apply(
    {'params': params}, TOKENS, train=False, **inputs))(params))


def theirs(model, tokens=TOKENS, **inputs):
  with torch.no_grad():
    return model(torch.tensor(tokens), **inputs)[0].numpy()


@pytest.fixture(scope='module')
def gpt():
  return perturbed(transformers.GPT2LMHeadModel(gpt_config()))


@pytest.fixture(scope='module')
def masked_bert():
  return perturbed(transformers.BertForMaskedLM(bert_config()))


@pytest.mark.parametrize('size', ['1GB', '20KB'])
def test_gpt2_answers_the_same(gpt, tmp_path, size):
  gpt.save_pretrained(tmp_path, max_shard_size=size)
  shards = len(list(tmp_path.glob('*.safetensors')))
  assert (shards > 2) == (size == '20KB')
  params = load(GPT, tmp_path)
  close(answer(GPT, params), theirs(gpt))


def test_gpt2_without_its_head_has_names_without_a_prefix(gpt, tmp_path):
  gpt.transformer.save_pretrained(tmp_path)
  names = names_in(tmp_path)
  assert 'wte.weight' in names and not any('transformer' in n for n in names)
  close(answer(GPT, load(GPT, tmp_path)), theirs(gpt))


def test_gpt2_untied(tmp_path):
  untied = perturbed(transformers.GPT2LMHeadModel(gpt_config(
    tie_word_embeddings=False)))
  untied.save_pretrained(tmp_path)
  model = GPT.clone(tied=False)
  close(answer(model, load(model, tmp_path)), theirs(untied))
  assert 'tie_word_embeddings: there false, must be true' in refusal(
    GPT, tmp_path, TOKENS)
  (tmp_path / 'config.json').unlink()
  with pytest.raises(UserError, match=r'lm_head.weight differs from wte.weight; in '
                     'this model they are tied'):
    load(GPT, tmp_path)


def test_an_untied_head_begins_as_the_embedding_that_a_tied_file_has(gpt, tmp_path):
  gpt.save_pretrained(tmp_path)
  assert 'lm_head.weight' not in names_in(tmp_path)
  model = GPT.clone(tied=False)
  close(answer(model, load(model, tmp_path)), theirs(gpt))


def test_old_files_of_gpt2_have_buffers_and_copies(gpt, tmp_path):
  state = {k: v.contiguous() for k, v in gpt.transformer.state_dict().items()}
  for block in range(2):
    state[f'h.{block}.attn.bias'] = torch.tril(torch.ones(1, 1, 24, 24))
    state[f'h.{block}.attn.masked_bias'] = torch.tensor(-1e4)
  state['lm_head.weight'] = state['wte.weight'].clone()
  path = write(tmp_path / 'gpt2.safetensors', state)
  close(answer(GPT, load(GPT, path)), theirs(gpt))


@pytest.mark.parametrize('dtype, digits', [('float16', 10), ('bfloat16', 7)])
def test_half_precision_becomes_float32(gpt, tmp_path, dtype, digits):
  gpt.save_pretrained(tmp_path / 'whole')
  state = {k: v.to(getattr(torch, dtype)) for k, v in gpt.state_dict().items()
           if k != 'lm_head.weight'}
  half = load(GPT, write(tmp_path / 'half.safetensors', state))
  whole = load(GPT, tmp_path / 'whole')
  errors = jax.tree.map(lambda h, w: float(abs(h - w).max()), half, whole)
  assert max(jax.tree.leaves(errors)) < 4 * 2.0**-digits  # values are less than 4
  assert min(jax.tree.leaves(errors)) > 0
  assert {x.dtype for x in jax.tree.leaves(half)} == {np.dtype('float32')}


@pytest.mark.parametrize('size', ['1GB', '20KB'])
def test_bert_guesses_the_same_tokens(masked_bert, tmp_path, size):
  masked_bert.save_pretrained(tmp_path, max_shard_size=size)
  model = MaskedBert(BERT)
  params = load(model, tmp_path)
  expected = theirs(masked_bert, attention_mask=torch.tensor(SEGMENTS))
  real = SEGMENTS > 0
  close(answer(model, params, segments=SEGMENTS)[real], expected[real])
  close(answer(model, params), theirs(masked_bert))


def test_bert_of_the_first_files(masked_bert, tmp_path):
  """Norms had a gamma and a beta; a head for pairs of sentences came with them."""
  old = transformers.BertForPreTraining(bert_config())
  old.bert.load_state_dict(masked_bert.bert.state_dict(), strict=False)
  old.cls.predictions.load_state_dict(masked_bert.cls.predictions.state_dict())
  state = {}
  for name, value in old.state_dict().items():
    name = name.replace('LayerNorm.weight', 'LayerNorm.gamma')
    state[name.replace('LayerNorm.bias', 'LayerNorm.beta')] = value.clone()
  assert 'bert.embeddings.LayerNorm.gamma' in state
  state['bert.embeddings.position_ids'] = torch.arange(24)[None]
  lines, model = [], MaskedBert(BERT)
  params = load(model, write(tmp_path / 'old.safetensors', state), say=lines.append)
  close(answer(model, params), theirs(masked_bert))
  assert 'no config.json beside it' in lines[0] and 'hidden_act' in lines[0]
  assert lines[1].endswith(
    'not taken, since this model has no such parts: cls.seq_relationship.bias, '
    'cls.seq_relationship.weight, pooler.dense.bias, pooler.dense.weight')
  assert len(lines) == 3


def test_bert_for_question_answering_answers_the_same(tmp_path):
  answering = perturbed(transformers.BertForQuestionAnswering(bert_config()))
  answering.save_pretrained(tmp_path)
  model = BertSpans(BERT)
  types = np.random.default_rng(1).integers(0, 2, TOKENS.shape)
  params = load(model, tmp_path)
  found = answer(model, params, segments=SEGMENTS, types=types)
  with torch.no_grad():
    output = answering(torch.tensor(TOKENS), attention_mask=torch.tensor(SEGMENTS),
                       token_type_ids=torch.tensor(types))
  for index, logits in enumerate((output.start_logits, output.end_logits)):
    real = SEGMENTS > 0
    close(found[..., index][real], logits.numpy()[real])


def test_bert_classifies_the_same(tmp_path):
  reference = perturbed(transformers.BertForSequenceClassification(
    bert_config(num_labels=3)))
  reference.save_pretrained(tmp_path)
  model = BertClassifier(BERT, 3)
  params = load(model, tmp_path)
  close(answer(model, params, segments=SEGMENTS),
        theirs(reference, attention_mask=torch.tensor(SEGMENTS)))


def test_bert_reads_the_same(masked_bert, tmp_path):
  """The encoder by itself, without a prefix, and with sentences of two types."""
  masked_bert.bert.save_pretrained(tmp_path)
  assert 'embeddings.word_embeddings.weight' in names_in(tmp_path)
  types = TOKENS % 2
  params = load(BERT, tmp_path)
  close(answer(BERT, params, types=types),
        theirs(masked_bert.bert, token_type_ids=torch.tensor(types)))


def test_a_classifier_takes_the_encoder_of_a_language_model(masked_bert, tmp_path):
  masked_bert.save_pretrained(tmp_path)
  lines, model = [], BertClassifier(BERT, 3)
  params = load(model, tmp_path, 'encoder/.*', say=lines.append)
  close(answer(BERT, params['encoder']), theirs(masked_bert.bert))
  assert np.all(params['head']['kernel'] == 7) and np.all(params['pooler']['bias'] == 7)
  taken = 3 + 2 + 16  # embeddings, their norm, and the stacked arrays of the blocks
  assert len(jax.tree.leaves(params['encoder'])) == taken
  assert lines == [f'{taken} parameters from {tmp_path} (encoder/.*), 4 are fresh; '
                   '5 there are not taken']
  with pytest.raises(UserError) as error:
    load(model, tmp_path)
  text = str(error.value)
  assert '  head/kernel: missing (classifier.weight)' in text
  assert '  cls.predictions.transform.dense.weight: unexpected' in text
  assert 'init_pattern' in text and 'encoder' not in text


def names_in(folder):
  from safetensors import safe_open

  with safe_open(folder / 'model.safetensors', 'numpy') as file:
    return list(file.keys())


def write(path, state):
  from safetensors.torch import save_file

  save_file(state, path)
  return path


def test_every_parameter_that_does_not_fit_is_named(gpt, tmp_path):
  gpt.save_pretrained(tmp_path)
  other = Gpt(64, length=20, depth=1, width=32, heads=4)
  lines = refusal(other, tmp_path, TOKENS).split('\n')
  assert '  tokens/embedding: shape must be (64, 32), got (61, 32)' in lines
  assert '  positions/embedding: shape must be (20, 32), got (24, 32)' in lines
  left = [line for line in lines if line.endswith(': unexpected')]
  assert len(left) == 12 and '  h.1.ln_1.weight: unexpected' in left
  assert len(lines) == 1 + 2 + 12 + 1
  lines = refusal(GPT.clone(depth=4, hidden=30), tmp_path, TOKENS).split('\n')
  assert '  blocks/block/attention_norm/scale: missing (h.2.ln_1.weight to ' \
    'h.3.ln_1.weight (2))' in lines
  lines = refusal(GPT.clone(hidden=30), tmp_path, TOKENS).split('\n')
  assert '  blocks/block/feed_forward/in/kernel: shape must be (2, 32, 30), got ' \
    '(2, 32, 128)' in lines
  assert len(lines) == 1 + 3 + 1


@pytest.mark.parametrize('config', [True, False])
def test_another_architecture_is_refused_shortly(masked_bert, tmp_path, config):
  masked_bert.save_pretrained(tmp_path)
  if not config:
    (tmp_path / 'config.json').unlink()
  text = refusal(GPT, tmp_path, TOKENS)
  assert len(text) < 1000
  assert ('model_type: there "bert", must be "gpt2"' in text) == config
  assert ('none of the parameters is there' in text and ' more' in text) != config


def test_what_the_shapes_do_not_tell_is_refused(gpt, tmp_path):
  """Fewer, wider heads have arrays of the same shapes."""
  gpt.save_pretrained(tmp_path)
  assert 'n_head: there 4, must be 2' in refusal(GPT.clone(heads=2), tmp_path, TOKENS)
  path = tmp_path / 'config.json'
  config = json.loads(path.read_text())
  path.write_text(json.dumps(config | {'activation_function': 'relu'}))
  assert 'there "relu", must be "gelu_new"' in refusal(GPT, tmp_path, TOKENS)


@pytest.mark.parametrize('model, words', [
  (Mlp(2), 'Mlp has no published parameters, as these have: Bert, BertClassifier, '
           'BertSpans, Gpt'),
  (ModernGpt(61, depth=1, width=32, heads=4), 'positions: must be learned for GPT-2'),
  (GPT.clone(activation=nn.relu), 'activation: must be <function gelu'),
  (GPT.clone(kv_heads=2), 'kv_heads: must be 4 for GPT-2, got 2')])
def test_other_models_are_refused(gpt, tmp_path, model, words):
  gpt.save_pretrained(tmp_path)
  assert words in refusal(model, tmp_path, TOKENS)


def test_unfit_files_are_refused(gpt, tmp_path):
  gpt.save_pretrained(tmp_path / 'gpt')
  good = (tmp_path / 'gpt' / 'model.safetensors').read_bytes()
  assert 'no such file or folder' in refusal(GPT, tmp_path / 'nowhere', TOKENS)
  (tmp_path / 'empty').mkdir()
  assert 'a folder with model.safetensors' in refusal(GPT, tmp_path / 'empty', TOKENS)
  (tmp_path / 'empty' / 'pytorch_model.bin').touch()
  assert 'can run any program' in refusal(GPT, tmp_path / 'empty', TOKENS)
  bad = tmp_path / 'bad.safetensors'
  for content in (b'', good[:-10], b'x' * 100):
    bad.write_bytes(content)
    assert 'bad.safetensors cannot be read as safetensors' in refusal(GPT, bad, TOKENS)
  state = {k: v.clone() for k, v in gpt.transformer.state_dict().items()}
  state['ln_f.bias'] = state['ln_f.bias'].to(torch.int8)
  assert 'ln_f.bias is of the type I8' in refusal(GPT, write(bad, state), TOKENS)


def test_a_missing_shard_is_named(gpt, tmp_path):
  gpt.save_pretrained(tmp_path, max_shard_size='20KB')
  gone = sorted(tmp_path.glob('*.safetensors'))[2]
  gone.unlink()
  assert f'1 of 7 files that model.safetensors.index.json names are not there: ' \
    f'{gone.name}' in refusal(GPT, tmp_path, TOKENS)
  (tmp_path / 'model.safetensors.index.json').write_text('{')
  assert 'index.json cannot be read' in refusal(GPT, tmp_path, TOKENS)


def test_the_tokenizer_of_a_folder_has_to_be_that_of_the_run(gpt, tmp_path):
  tokenizers = pytest.importorskip('tokenizers')
  gpt.save_pretrained(tmp_path)

  def made(*words):
    return tokenizers.Tokenizer(tokenizers.models.WordLevel(
      {word: i for i, word in enumerate(words)}, unk_token='a')).to_str()

  def kept(*words):
    return {'kind': 'TokenizerFile', 'settings': {}, 'tokenizer': made(*words)}

  words = {'kind': 'Words', 'settings': {}, 'words': ['a']}
  load(GPT, tmp_path, kept=words)  # nothing is known there
  (tmp_path / 'tokenizer.json').write_text(made('a', 'b', 'c'))
  load(GPT, tmp_path)  # no text
  load(GPT, tmp_path, kept=kept('a', 'b', 'c'))
  text = refusal(GPT, tmp_path, TOKENS, kept=kept('a', 'c', 'b', 'd'))
  assert "there has 3 tokens, the run's tokenizer 4, of which 1 are the same" in text
  text = refusal(GPT, tmp_path, TOKENS, kept=words)
  assert "there has 3 tokens, the run's tokenizer 1, of which 1 are the same" in text


@pytest.mark.parametrize('model, config', [
  (GPT, transformers.GPT2Config), (BERT, transformers.BertConfig),
  (MaskedBert(BERT), transformers.BertConfig),
  (BertClassifier(BERT, 3), transformers.BertConfig),
  (ResNet(5, 18, 8), transformers.ResNetConfig),
  (MobileNetV1(5), transformers.MobileNetV1Config),
  (MobileNetV2(5), transformers.MobileNetV2Config), (Vit(5), transformers.ViTConfig)])
def test_absent_keys_are_the_librarys_defaults(model, config):
  published, theirs = model.hugging_face(), config()
  assert published.model_type == theirs.model_type
  assert config.__name__.startswith(published.architecture)
  assert len(published.config) > 2
  for key, setting in published.config.items():
    if key == 'position_embedding_type':  # of older releases, whose default this was
      continue
    assert getattr(theirs, key) == setting.default, key
    if setting.alias:
      assert config.attribute_map[setting.alias] == key
