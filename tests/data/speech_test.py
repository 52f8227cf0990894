"""Tests of data.Speech: transcripts, what is left out, and what is said of it."""

import dataclasses

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.recordings import FeatureTable
from tests.data.folders.written import context
from tests.data.recordings import written


def opened(tmp_path, counts, texts, test=None, **settings):
  folder = written.features(tmp_path / 'speech', counts, texts)
  asked, split = context(tmp_path), 'train'
  if test is not None:
    written.features(tmp_path / 'speech', (6,), (test,), 'test')
    split = 'test'
  source = written.speech(FeatureTable(folder), **settings)
  return source.split(split).open(asked), asked


def test_what_is_said(tmp_path):
  _, asked = opened(tmp_path, (5, 300, 4), ('AB', '', 'A A'))
  assert asked.said == [
    'tokenizer: Characters, 4 tokens',
    'speech, train: 3 recordings, 0.1 minutes, the longest 3.0 s; 5 tokens; 1 empty '
    'transcript (such as train1)']


def test_recordings_that_are_too_short_to_align_are_left_out_of_training(tmp_path):
  # AABA needs 5 outputs, a blank between the first two; of 9 frames there are 5, and
  # of 8 frames 4.
  dataset, asked = opened(tmp_path, (9, 8, 4), ('AABA', 'AABA', 'BA'), stride=2)
  assert dataset.length == 2
  assert [each['text'] for each in dataset.words(np.arange(2))] == ['AABA', 'BA']
  assert asked.said[-1].endswith('1 recording left out, too short for their '
                                 'transcripts (train1: 5 tokens in 4 outputs)')
  with pytest.raises(UserError, match='no recording of train is long enough'):
    opened(tmp_path, (3, 3), ('ABAB', 'BABA'), stride=2)
  # An evaluation has every recording, and names those that are too short.
  dataset, asked = opened(tmp_path, (9,), ('AB',), test='ABABABABAB', stride=2)
  assert dataset.length == 1
  assert asked.said[-1].endswith('1 recording evaluated, though too short for their '
                                 'transcripts (test0: 10 tokens in 3 outputs)')


def test_other_characters_are_refused_with_their_place(tmp_path):
  with pytest.raises(UserError, match=r"test.csv, line 2: the character 'é' at position"
                                      r" 1 of 'Bé' is not in the training text"):
    opened(tmp_path, (9,), ('AB',), test='Bé')
  dataset, _ = opened(tmp_path, (9,), ('AB',), test='bA', case='upper')
  assert dataset.words(np.array([0]))[0]['text'] == 'BA'
  with pytest.raises(ValueError, match="case: must be 'keep', 'lower' or 'upper', got"):
    opened(tmp_path, (9,), ('AB',), case='title')


def test_the_blank_is_the_first_special_token(tmp_path):
  folder = written.features(tmp_path / 'speech')
  for special in ((), ('begin', 'pad')):
    source = written.speech(FeatureTable(folder))
    object.__setattr__(source, 'tokenizer', tokenizers.Characters(special=special))
    with pytest.raises(UserError, match="first special token must be 'pad'"):
      source.open(context(tmp_path))


def test_references_that_the_tokenizer_changes_are_counted(tmp_path):
  folder = written.features(tmp_path / 'speech', (5, 5), ('one  two', 'two'))
  source = written.speech(FeatureTable(folder))
  object.__setattr__(source, 'tokenizer', tokenizers.Words(9, special=(
    'pad', 'unknown')))
  asked = context(tmp_path)
  source.open(asked)
  assert '1 reference of 2 changed by the tokenizer (such as that of train0)' in (
    asked.said[-1])


def test_training_batches_have_buckets(tmp_path):
  dataset, _ = opened(tmp_path, (5, 6, 50, 52), ('A', 'B', 'A', 'B'), buckets=2)
  assert dataset.buckets.lengths == (6, 52)
  assert dataset.buckets.of.tolist() == [0, 0, 1, 1]
  assert opened(tmp_path, (5, 6), ('A', 'B'))[0].buckets is None


def test_shapes_alone_are_those_of_the_data(tmp_path):
  folder = written.features(tmp_path / 'speech')
  asked = context(tmp_path)
  shapes = written.speech(FeatureTable(folder)).open(
    dataclasses.replace(asked, kept={}, shapes_only=True))
  real = written.speech(FeatureTable(folder)).open(asked)
  assert shapes.shapes_only and shapes.length == real.length
  for name, array in real.load().items():
    found = shapes.read(np.arange(3))[name]
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert not found.any()

