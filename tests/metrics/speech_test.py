"""Tests of word and character error rates against counts by hand."""

import builtins

import pytest

from bigmodels import metrics
from bigmodels.core.errors import UserError
from bigmodels.metrics import speech


@pytest.fixture(autouse=True)
def _needs_jiwer(request):
  if 'absent' not in request.node.name:
    pytest.importorskip('jiwer', reason='jiwer is not installed: pip install -r '
                                        'requirements-audio.txt')


def test_errors_of_all_transcripts_over_the_words_of_all_references():
  references = ['the cat sat', 'a dog', 'no', 'one two three four']
  transcripts = ['the bat sat down', 'dog', 'no', '']
  # One substitution and one insertion; a deletion; none; four deletions: of 10 words.
  found = metrics.error_rates(transcripts, references)
  assert found['wer'] == pytest.approx(7 / 10)
  assert found['substitutions'] == pytest.approx(1 / 10)
  assert found['deletions'] == pytest.approx(5 / 10)
  assert found['insertions'] == pytest.approx(1 / 10)
  assert found['sentence_error'] == pytest.approx(3 / 4)
  # c/b and five inserted; two deleted; none; 18 deleted: of 11 + 5 + 2 + 18.
  assert found['cer'] == pytest.approx((6 + 2 + 18) / 36)
  assert next(iter(found)) == 'wer'


@pytest.mark.parametrize(('transcript', 'reference', 'expected', 'length'), [
  ('a b', 'a b', (0, 0, 0), 2), ('a  b ', ' a b', (0, 0, 0), 2),
  ('A b', 'a b', (1, 0, 0), 2), ('b c', '', (0, 0, 2), 0), ('', '', (0, 0, 0), 0),
  ('', 'a', (0, 1, 0), 1)])
def test_words_of_one_transcript(transcript, reference, expected, length):
  counts, lengths = speech.edits([transcript], [reference])
  assert counts.tolist() == [[*expected]] and lengths.tolist() == [length]


def test_characters_of_one_transcript():
  counts, lengths = speech.edits(['kitten'], ['sitting'], words=False)
  assert counts.sum() == 3 and lengths.tolist() == [7]


def test_references_without_words_give_no_rate():
  assert metrics.error_rates(['', 'a'], ['', '']) == {'sentence_error': 0.5}


def test_an_absent_library_is_named(monkeypatch):
  real = builtins.__import__

  def refuse(name, *args, **kwargs):
    if name == 'jiwer':
      raise ImportError('No module named jiwer')
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', refuse)
  with pytest.raises(UserError, match=r'need the package jiwer .*requirements-audio'):
    metrics.error_rates(['a'], ['a'])
