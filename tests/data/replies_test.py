"""Tests of bigmodels.data.replies: what is read, what is predicted, who is drawn."""

import collections

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import replies
from bigmodels.data.replies import Candidates, Replies
from bigmodels.data.texts.dialogues import Dialogues
from bigmodels.data.tokenizers import Bytes, Words
from tests.data.given import Given, context

END = 256
TALK = Dialogues([('hi', 'yo'), ('a long first turn', 'hm')], [('ok', 'no'), ('well',)])


def opened(length, selected='train', found=TALK, world=None, **settings):
  source = Replies(Given({'train': found, 'test': found}), Bytes(), length, **settings)
  return source.split(selected).open(world or context()).load()


def text(ids):
  return ''.join('|' if i == END else chr(i) for i in ids)


def test_a_row_is_a_context_and_a_response():
  columns = opened(32)
  rows = [text(row[: mark.sum()]) for row, mark in zip(
    columns['inputs'], columns['segments'], strict=True)]
  assert rows == ['|hi\nyo\nok', '|hi\nyo\nno', '|a long first turn\nhm\nwell']
  labels = [text(row[weight > 0]) for row, weight in zip(
    columns['labels'], columns['weights'], strict=True)]
  assert labels == ['ok|', 'no|', 'well|']  # each token of a response and its end, once
  assert (columns['labels'][:, :-1] == columns['inputs'][:, 1:])[
    columns['segments'][:, 1:] > 0].all()


def test_the_oldest_turns_are_left_out_first_and_this_is_told():
  world = context()
  columns = opened(12, world=world)
  rows = [text(row[: mark.sum()]) for row, mark in zip(
    columns['inputs'], columns['segments'], strict=True)]
  assert rows[2] == '|hm\nwell'
  assert '1 context without their oldest turns' in world.said[-1]
  columns = opened(6, world=world)
  rows = [text(row[: mark.sum()]) for row, mark in zip(
    columns['inputs'], columns['segments'], strict=True)]
  assert rows == ['|yo\nok', '|yo\nno', '|m\nwel']  # the end of the last turn
  assert '2 contexts without their oldest turns; 1 response truncated to 3 tokens' in (
    world.said[-1])


def test_prompts_are_padded_on_the_left():
  columns = opened(24, 'test', prompt=8)
  assert columns['prompts'].shape == (3, 16)
  prompts = [text(row[mark > 0]) for row, mark in zip(
    columns['prompts'], columns['prompt_segments'], strict=True)]
  assert prompts == ['|hi\nyo\n', '|hi\nyo\n', '|hm\n']
  assert (np.diff(columns['prompt_segments'], axis=1) >= 0).all()
  for row, prompt in zip(columns['inputs'], prompts, strict=True):
    assert text(row).startswith(prompt)
  assert 'prompts' not in opened(24, prompt=8)
  with pytest.raises(ValueError, match='prompt: must be 0 to 7'):
    opened(8, prompt=8)
  with pytest.raises(UserError, match="need the special token 'end'"):
    Replies(Given({'train': TALK}), Words(99), 8).open(context())


def many(count):
  return Dialogues([(f'c{i}',) for i in range(count)],
                   [(f'r{i}', f's{i}') for i in range(count)])


def test_candidates_are_right_first_and_others_of_other_contexts():
  found = replies.candidates_of(many(300), 10, 'a')
  counts = collections.Counter()
  for row, texts in enumerate(found):
    assert texts[0] == f'r{row}' and len({*texts}) == 10
    assert not {f'r{row}', f's{row}'} & {*texts[1:]}
    counts.update(texts[1:])
  # 2,700 draws of 600: each as often as the others.
  assert len(counts) > 550 and max(counts.values()) < 16
  assert found == replies.candidates_of(many(300), 10, 'a')
  assert [texts[0] for texts in replies.candidates_of(many(5), 9, 'a')][4] == 'r4'
  assert {*replies.candidates_of(many(5), 9, 'a')[0][1:]} == {
    f'{kind}{i}' for kind in 'rs' for i in range(1, 5)}
  with pytest.raises(UserError, match='a: 8 other responses are too few for 10'):
    replies.candidates_of(many(5), 10, 'a')


def test_no_candidate_is_right_too():
  found = many(60)._replace(responses=[
    ('yes' if i % 2 else 'no', f'r{i}') for i in range(60)])
  for texts, own in zip(replies.candidates_of(found, 10, 'a'), found.responses,
                        strict=True):
    assert len({*texts}) == 10 and {*texts} & {*own} == {own[0]}


def test_columns_of_candidates():
  source = Candidates(Given({'train': many(6), 'test': many(6)}), Bytes(), 4,
                      candidates=3)
  train, test = (source.split(name).open(context()) for name in ('train', 'test'))
  columns = train.load()
  assert columns['responses'].shape == (12, 1, 4) and train.length == 12
  assert columns['contexts'].tolist() == [i // 2 for i in range(12)]
  assert bytes(columns['responses'][3, 0, :2].tolist()) == b's1'
  columns = test.load()
  assert columns['responses'].shape == (6, 3, 4)
  words = test.words(np.arange(6))
  for row, each in enumerate(words):
    for place in range(3):
      real = columns['response_segments'][row, place] > 0
      assert bytes(columns['responses'][row, place][real].tolist()).decode() == (
        each[f'candidate {place}'])
  with pytest.raises(ValueError, match='candidates: must be >= 2'):
    Candidates(None, Bytes(), 4, candidates=1)


def test_the_end_of_a_context_and_the_beginning_of_a_response_are_kept():
  world = context()
  source = Candidates(Given({'train': Dialogues([('abc', 'def')], [('uvwxyz',)])}),
                      Bytes(), 4)
  columns = source.open(world).load()
  assert bytes(columns['inputs'][0].tolist()) == b'\ndef'
  assert bytes(columns['responses'][0, 0].tolist()) == b'uvwx'
  assert '1 contexts and 1 candidates longer than 4 tokens' in world.said[-1]
