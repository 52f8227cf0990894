"""Tests of bigmodels.data.sentences."""

import dataclasses

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sentences import Sentences
from bigmodels.data.texts import Labelled
from bigmodels.data.tokenizers import Words
from tests.data.given import Given, context


def labelled(**splits):
  return Given({name: Labelled([t for t, _ in rows], [c for _, c in rows],
                               lambda i: f'file, line {i + 2}')
                for name, rows in splits.items()})


def test_sentences_are_padded_and_truncated():
  documents = labelled(train=[('b a', '10'), ('a c a d', '9')], test=[('z a', '9')])
  source, world = Sentences(documents, Words(7), 4), context()
  opened = source.open(world)
  columns = opened.load()  # pad 0, unknown 1, class 2, a 3, b 4, c 5, d 6
  assert columns['inputs'].tolist() == [[2, 4, 3, 0], [2, 3, 5, 3]]
  assert columns['segments'].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
  assert columns['labels'].tolist() == [1, 0] and opened.classes == ('9', '10')
  assert [c.dtype for c in columns.values()] == [np.uint16, np.int32, np.int32]
  assert '1 longer than 4 tokens, so truncated' in world.said[-1]
  test = source.split('test').open(world).load()
  assert test['inputs'].tolist() == [[2, 1, 3, 0]] and test['labels'].tolist() == [0]
  plain = dataclasses.replace(source, tokenizer=Words(6, special=('unknown',)))
  assert plain.open(context()).load()['inputs'].tolist() == [
    [2, 1, 0, 0], [1, 3, 1, 4]]


def test_a_separator_ends_every_sentence():
  documents = labelled(train=[('b a', '10'), ('a c a d', '9')])
  words = Words(9, special=('pad', 'unknown', 'class', 'separator'))
  columns = Sentences(documents, words, 5).open(context()).load()
  assert columns['inputs'].tolist() == [[2, 5, 4, 3, 0], [2, 4, 6, 4, 3]]
  assert columns['segments'].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
  with pytest.raises(UserError, match='length=2: leaves no room'):
    Sentences(documents, words, 2).open(context())


def test_labels_that_are_not_in_training():
  documents = labelled(train=[('a', 'x'), ('b', 'y')], test=[('a', 'x'), ('a', 'z')])
  with pytest.raises(UserError, match=r"file, line 3: the label 'z' is not .*: x, y"):
    Sentences(documents, Words(6), 4, 'test').open(context())
  with pytest.raises(UserError, match="every label of the split 'train' is 'x'"):
    Sentences(labelled(train=[('a', 'x')]), Words(6), 4).open(context())
