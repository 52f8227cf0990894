"""Tests of metrics.bleu against the definition."""

import math

import pytest

from bigmodels import metrics


def bleu(translation, reference):
  """Papineni et al., equations 1 to 3, for one pair of texts of words."""
  one, two, logs = translation.split(), reference.split(), []
  for n in range(1, 5):
    found, known = ([tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
                    for words in (one, two))
    right = sum(min(found.count(gram), known.count(gram)) for gram in set(found))
    logs.append(math.log(right / len(found)))
  return 100 * math.exp(min(0, 1 - len(two) / len(one)) + sum(logs) / 4)


@pytest.mark.parametrize(('translation', 'reference'), [
  ('the cat sat on the mat', 'the cat sat on the mat'),
  ('the cat sat on a mat today', 'the cat sat on the mat'),
  ('the the cat sat on the', 'the cat sat on the old mat with a hat')])
def test_bleu_by_its_definition(translation, reference):
  found = metrics.bleu([translation], [reference])
  assert found == {'bleu': pytest.approx(bleu(translation, reference))}


def test_bleu_is_of_the_corpus_cased_and_of_detokenized_text():
  references = ['A dog runs in the park.', 'Two men sit here.']
  assert metrics.bleu(references, references) == {'bleu': pytest.approx(100)}
  lower = metrics.bleu([text.lower() for text in references], references)
  # Lengths are of all texts together: what one lacks another may have too much of.
  apart = metrics.bleu(['A dog runs in the park.', 'Two men sit here on it.'],
                       ['A dog runs in the park now.', 'Two men sit here.'])
  assert 0 < lower['bleu'] < 100 and 0 < apart['bleu'] < 100
  # By hand: 7 + 5 of 7 + 7 words are right, 5 + 3 pairs, ...; a full stop is a word.
  ratios = [12 / 14, 8 / 12, 6 / 10, 4 / 8]
  assert apart['bleu'] == pytest.approx(100 * math.prod(ratios) ** 0.25)


def test_bleu_of_texts_without_a_word():
  assert metrics.bleu(['', ''], ['a b', 'c']) == {'bleu': 0.0}
