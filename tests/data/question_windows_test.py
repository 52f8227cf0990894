"""Tests of bigmodels.data.question_windows: no token and no question is lost."""

import json

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import text_bytes, tokenizers
from bigmodels.data.question_windows import QuestionWindows
from bigmodels.data.texts.questions import Answer, Questions
from bigmodels.data.tokenizers import Bpe, Bytes, WordPiece, Words
from tests.data.given import Given, context

SPECIAL = ('pad', 'unknown', 'class', 'separator')
CONTEXTS = [*(' '.join(f'w{i}' for i in range(n)) for n in (3, 20, 31)),
  "Ça  coûte\n6½ € hier,\tdit-elle à l'Été; “NON” ! 日本語 naïve-té."]


def questions(*spans, contexts=CONTEXTS):
  """Questions by the numbers of contexts and the texts of their answers."""
  answers = [tuple(Answer(text, start := contexts[of].find(text), (
    start + len(text)) if start >= 0 else -1) for text in texts) for of, texts in spans]
  return Questions(contexts, [of for of, _ in spans],
                   [f'where is w{i} ?' for i in range(len(spans))], answers,
                   [f'q{i}' for i in range(len(spans))])


def opened(found, selected='test', tokenizer=None, length=20, **settings):
  source = QuestionWindows(
    Given({'train': found, 'test': found}), tokenizer or Words(200, special=SPECIAL),
    length, selected=selected, **{'stride': 6, 'question': 8, **settings})
  return source, source.open(context())


EVERY = questions((0, ['w1']), (1, ['w5 w6', 'w7']), (2, ['w0']), (2, ['w30']),
                  (1, ['gone']), (3, ['6½ €']))


def test_windows_cover_every_token_and_every_question_is_one_row():
  _, data = opened(EVERY)
  columns = data.load()
  assert data.length == 6 and columns['inputs'].shape[1:] == (4, 20)
  for row, of in enumerate(EVERY.of):
    places = columns['offsets'][row].reshape(-1, 2)
    found = sorted({tuple(place) for place in places[places[:, 0] >= 0].tolist()})
    text = CONTEXTS[of]
    assert [text[a:b] for a, b in found] == text.split()
  assert text_bytes.texts(columns['context']) == [CONTEXTS[of] for of in EVERY.of]
  assert text_bytes.texts(columns['answers'])[1] == 'w5 w6\nw7'


def test_the_layout_of_a_window():
  source, data = opened(questions((0, ['w1'])))
  tokenizer = tokenizers.load(source.tokenizer.fit(
    [*CONTEXTS, 'where is w0 ?']))
  columns = {name: column[0, 0] for name, column in data.load().items()
             if name not in ('context', 'answers')}
  first, separator = (tokenizer.special[name] for name in ('class', 'separator'))
  asked = tokenizer.encode('where is w0 ?').tolist()
  words = tokenizer.encode(CONTEXTS[0]).tolist()
  assert columns['inputs'].tolist() == [
    first, *asked, separator, *words, separator] + [0] * 10
  assert columns['types'].tolist() == [0] * 6 + [1] * 4 + [0] * 10
  assert columns['segments'].tolist() == [1] * 10 + [0] * 10
  assert columns['labels'].tolist() == [7, 7]
  _, data = opened(questions((0, ['w1'])), match=True)
  assert data.load()['types'][0, 0].tolist() == [0] * 6 + [2, 1, 1, 1] + [0] * 10


@pytest.mark.parametrize('tokenizer', [
  Words(200, special=SPECIAL), WordPiece(90, special=SPECIAL),
  Bpe(400, special=('pad', 'class', 'separator'))], ids=str)
def test_characters_of_answers_survive_the_tokenizer(tokenizer):
  texts = ('coûte', '6½', 'Ça', '日本語', 'naïve-té.')
  if not isinstance(tokenizer, Words):  # whose tokens are parted by white space
    texts += ('6½ €', '“NON”', 'Été', "à l'Été", 'dit')
  answers = [(3, [text]) for text in texts]
  found = questions(*answers)
  columns = opened(found, tokenizer=tokenizer, length=64, question=12)[1].load()
  for row, (_, (text,)) in enumerate(answers):
    window = int(np.argmax(columns['labels'][row, :, 0] > 0))
    first, last = columns['labels'][row, window]
    assert first > 0, text
    places = columns['offsets'][row, window]
    assert CONTEXTS[3][places[first, 0] : places[last, 1]] == text


def test_labels_of_windows_without_the_answer_and_of_no_span():
  columns = opened(EVERY)[1].load()
  labels, real = columns['labels'], columns['segments'].any(-1)
  assert (labels[~real] == -1).all()  # windows that are padding
  assert (labels[4] == -1).all()  # no span
  for row in (0, 1, 2, 3, 5):
    inside = labels[row][real[row]]
    assert (inside[:, 0] > 0).any() and (inside >= 0).all()
    for window, (first, last) in enumerate(labels[row].tolist()):
      if first <= 0:
        continue
      places = columns['offsets'][row, window]
      text = CONTEXTS[EVERY.of[row]][places[first, 0] : places[last, 1]]
      assert text == EVERY.answers[row][0].text
  # Only windows that have all of 'w5 w6' have it.
  assert [tuple(each) == (0, 0) for each in labels[1].tolist()].count(True) >= 1


def test_training_has_a_row_for_each_window_and_no_answers_that_are_no_span():
  _, data = opened(EVERY, 'train')
  columns, test = data.load(), opened(EVERY)[1].load()
  assert {*columns} == {'inputs', 'segments', 'types', 'offsets', 'labels'}
  kept = [0, 1, 2, 3, 5]
  real = test['segments'][kept].any(-1)
  np.testing.assert_array_equal(columns['inputs'][:, 0], test['inputs'][kept][real])
  np.testing.assert_array_equal(columns['labels'][:, 0], test['labels'][kept][real])
  with pytest.raises(UserError, match="no question of 'train' has an answer that is a"):
    opened(questions((0, ['gone'])), 'train')


def test_long_questions_are_truncated_and_told():
  found = EVERY._replace(questions=['what ' * 9] * 6)
  said = context()
  QuestionWindows(Given({'train': found}), Words(200, special=SPECIAL), 20, stride=6,
                  question=8).open(said)
  assert '5 questions longer than 8 tokens, so truncated' in said.said[-1]


def test_what_new_questions_lack_is_told(tmp_path):
  (tmp_path / 'a.json').write_text(json.dumps({'data': [{'paragraphs': [{
    'context': 'w1 w2', 'qas': [{'id': 'x', 'question': 'w1 ?', 'answers': [
      {'text': text, 'answer_start': 0}]} for text in ('w1', 'gone')]}]}]}))
  world = context()
  source = QuestionWindows(Given({'train': EVERY}), Words(200, special=SPECIAL), 20,
                           question=8)
  source.open(world)
  world.said.clear()
  source.reader(world).examples([tmp_path / 'a.json'], labels=True)
  assert world.said == ['a.json: 1 of the file with the id of an earlier question (x); '
                        '1 with an answer that is not a span of the context (x)']
  world.said.clear()
  source.reader(world).examples([tmp_path / 'a.json'], labels=False)
  assert world.said == [
    'a.json: 1 of the file with the id of an earlier question (x)']


def test_what_is_refused():
  with pytest.raises(UserError, match=r"'class', 'separator' not among \('pad', "):
    opened(EVERY, tokenizer=Words(99, special=('pad', 'unknown')))
  special = tokenizers.SentencePiece(400, special=('pad', 'class', 'separator'))
  with pytest.raises(UserError, match='SentencePiece does not know where its tokens'):
    opened(EVERY._replace(contexts=[text * 40 for text in CONTEXTS]), tokenizer=special)
  for settings, message in (({'stride': 0}, 'stride: must be >= 1'), (
    {'question': 17}, 'question: must be 1 to 16')):
    with pytest.raises(ValueError, match=message):
      opened(EVERY, **settings)
  assert tokenizers.load(Bytes().fit(())).offsets is None
