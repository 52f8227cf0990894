"""Tests of bigmodels.data.tokenized: a tokenizer is fitted once a run, on train."""

import dataclasses
from functools import partial

import flax.linen as nn
import optax
import pytest

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.packed import Packed
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import Documents
from bigmodels.data.tokenizers import Bpe, Bytes, Characters
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from tests.data.given import Given, context, given

ONE = layout.make_layout(MeshShape(), 'jit', ())


def test_the_tokenizer_is_fitted_to_training_text_and_kept():
  documents = given(train=['hello world'] * 9, validation=['zebra zebra'])
  source = Packed(documents, Bpe(265), 3)
  world = context()
  fitted = source.split('validation').open(world).tokenizer  # fits from 'train'
  assert fitted is source.open(world).tokenizer
  assert world.kept['tokenizer'] == Bpe(265).fit(['hello world'] * 9)
  assert [line.startswith('tokenizer: Bpe, 265 tokens') for line in world.said] == [
    True, False, False]
  # With what is kept, the training text is not even read.
  later = Packed(given(validation=['zebra zebra']), Bpe(265), 3, selected='validation')
  assert later.open(context(**world.kept)).tokenizer is fitted


def test_another_tokenizer_than_the_runs():
  kept = {'tokenizer': Bpe(260).fit(['abc'])}
  with pytest.raises(UserError, match=r'Bpe\(vocabulary=260.* this needs Bytes'):
    Packed(given(train=['abcabc']), Bytes(), 2).open(context(**kept))


def test_a_character_that_training_text_has_not():
  source = Packed(given(train=['abc'], validation=['abxc']), Characters(), 2)
  with pytest.raises(UserError, match="given, split 'validation': the character 'x' at "
                                      'position 2'):
    source.split('validation').open(context())


def test_what_is_printed_once_a_split():
  world = context()
  documents = Given({'train': Documents(['abc', 'é'], '1 file empty')})
  Packed(documents, Bytes(), 2).open(world)
  assert world.said == [
    'tokenizer: Bytes, 257 tokens',
    'given, train: 2 documents, 5 bytes, 5 tokens, 1.00 bytes per token; 4 blocks of '
    '2; '
    '1 file empty']


def test_identity_is_of_data_and_tokenizers():
  one, other = given(train=['abcdef']), given(train=['abcdeg'])
  sources = [Packed(one, Bytes(), 2), Packed(other, Bytes(), 2),
             Packed(one, Bytes(), 3), Packed(one, Characters(), 2),
             Packed(one, Bytes(), 2, separate=True)]
  assert len({s.open(context()).identity for s in sources}) == len(sources)
  assert sources[0].open(context()).identity == sources[0].open(context()).identity


def test_a_dataset_provides_tokenizer_and_vocabulary():
  opened = Packed(given(train=['hello world']), Characters(), 2).open(context())
  assert {*opened.provides} == {'tokenizer', 'vocabulary'}
  assert opened.provides['tokenizer']() is opened.tokenizer
  assert opened.provides['vocabulary']() == opened.tokenizer.size == 8


class Bigram(nn.Module):
  """A logit for every token that may follow."""

  vocabulary: int
  scale: float = 1.0

  @nn.compact
  def __call__(self, inputs, *, train):
    return nn.Embed(self.vocabulary, self.vocabulary)(inputs.astype('int32'))


def test_a_build_supplies_tokenizer_and_vocabulary(tmp_path):
  source = Packed(given(train=['hello world']), Characters(), 2)
  world = DataContext(None, tmp_path, {}, print)
  seen = []

  def task(model, tokenizer):
    seen.extend([tokenizer, model])
    return tasks.classification(model)

  record = Experiment(
    model=Bigram, task=task, optimizer=partial(optax.sgd, 1.0),
    train=data.Batches(source=source, batch_size=2), evals={},
    duration=Duration(steps=1))
  build.build(record, ONE, world).close()
  tokenizer, model = seen
  assert tokenizer is tokenizers.load(world.kept['tokenizer'])
  assert model.vocabulary == 8
  # A model may have its vocabulary in an encoder.
  bert = partial(models.Bert, length=2, depth=1, width=4, heads=2)
  for model in (models.MaskedBert, partial(models.BertClassifier, num_outputs=2)):
    build.build(dataclasses.replace(record, model=partial(model, encoder=bert)), ONE,
                world).close()
    assert seen[-1].encoder.vocabulary == 8
    with pytest.raises(UserError, match=r'--config.model.encoder.vocabulary=7: the '
                                        r'tokenizer of the data has 8'):
      build.build(dataclasses.replace(
        record, model=partial(model, encoder=partial(bert, 7))), ONE, world)
  roomy = dataclasses.replace(record, model=Bigram(64))
  build.build(roomy, ONE, world).close()
  with pytest.raises(UserError, match=r'vocabulary=7: the tokenizer of the data has 8'):
    build.build(dataclasses.replace(record, model=partial(Bigram, 7)), ONE, world)
  with pytest.raises(UserError, match='needs `vocabulary`, the number of tokens'):
    build.build(dataclasses.replace(record, train=data.Batches(
      source=data.Digits(), batch_size=2)), ONE, world)
