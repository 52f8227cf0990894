"""Tests of metrics.answers: hand-made cases of the rules of SQuAD 1.1."""

import pytest

from bigmodels import metrics
from bigmodels.metrics.answers import normalized


@pytest.mark.parametrize(('text', 'expected'), [
  ('The Cat.', 'cat'), ('a  an THE cat', 'cat'), ('theatre', 'theatre'),
  ('U.S.', 'us'), ("Fermat's", 'fermats'), ('6½ sacks', '6½ sacks'),
  ('well-known', 'wellknown'), ('the-end', 'theend'), ('\t x\ny ', 'x y'), ('the', ''),
  ('“the” end', '“ ” end')])  # only ASCII punctuation is removed
def test_normalization(text, expected):
  assert normalized(text) == expected


@pytest.mark.parametrize(('prediction', 'reference', 'exact', 'f1'), [
  ('the Denver Broncos', 'Denver Broncos.', 1, 1),
  ('Broncos', 'Denver Broncos', 0, 2 / 3),
  ('in 1876 in Kyiv', '1876', 0, 2 / 5),
  ('to be or not to be', 'to to', 0, 4 / 8),  # a word counts as often as in both
  ('', 'x', 0, 0), ('The', 'a', 1, 0), ('cat', 'dog', 0, 0)])
def test_one_reference(prediction, reference, exact, f1):
  assert metrics.exact_match(prediction, reference) == exact
  assert metrics.f1(prediction, reference) == pytest.approx(f1)


def test_the_best_of_all_references_counts_and_questions_are_averaged():
  found = metrics.answers(['Santa Clara', 'gold', 'blue'], [
    ["Levi's", 'Santa Clara, California', 'the Santa Clara'], ['"Gold"'], ['red']])
  assert found == {'f1': pytest.approx(200 / 3), 'exact_match': pytest.approx(200 / 3)}
  partly = metrics.answers(['Santa Clara'], [['x', 'Santa Clara California']])
  assert partly == {'f1': pytest.approx(80), 'exact_match': 0}
  assert metrics.answers([], []) == {}
