"""Metrics of answers that are texts, by the official rules of SQuAD 1.1."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_PUNCTUATION = {*string.punctuation}


def normalized(text: str) -> str:
  """Lower-cases a text and removes punctuation, articles and extra white space."""
  text = ''.join(c for c in text.lower() if c not in _PUNCTUATION)
  return ' '.join(re.sub(r'\b(a|an|the)\b', ' ', text).split())


def exact_match(prediction: str, reference: str) -> float:
  """Returns 1 if two texts are the same after normalization, else 0."""
  return float(normalized(prediction) == normalized(reference))


def f1(prediction: str, reference: str) -> float:
  """Returns the F1 of the words of two texts after normalization, 0 to 1."""
  predicted, true = normalized(prediction).split(), normalized(reference).split()
  same = sum((Counter(predicted) & Counter(true)).values())
  return 2 * same / (len(predicted) + len(true)) if same else 0.0


def best(score: Callable[[str, str], float], prediction: str,
         references: Sequence[str]) -> float:
  """The maximum of a score over right answers.

  Args:
    score: `exact_match` or `f1`.
    prediction: text of an answer.
    references: the right answers, at least one.
  """
  return max(score(prediction, reference) for reference in references)


def answers(predictions: Sequence[str], references: Sequence[Sequence[str]]
            ) -> dict[str, float]:
  """Computes F1 and exact match, 0 to 100: means over questions.

  Rajpurkar et al., *SQuAD: 100,000+ questions for machine comprehension of text*, 2016;
  as its evaluation script.

  Args:
    predictions: an answer to each question.
    references: the right answers to each question.
  """
  if not predictions:
    return {}
  pairs = [*zip(predictions, references, strict=True)]
  return {name: 100 * sum(best(score, *pair) for pair in pairs) / len(pairs)
          for name, score in (('f1', f1), ('exact_match', exact_match))}
