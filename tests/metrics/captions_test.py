"""Tests of bigmodels.metrics.captions: against counting by hand."""

import collections
import math

import pytest

from bigmodels import metrics

WRITTEN = ['a dog runs on the grass', 'Two men play football here', 'a cat']
REFERENCES = [['A dog runs on grass', 'the dog is on the green grass today'],
              ['two men play football', 'men play', 'two men are here to play'],
              ['the cat sleeps']]


def by_hand(order):
  """Clipped precisions of 1 to `order` words, and the brevity penalty."""
  right, total = [0] * order, [0] * order
  length = nearest = 0
  for text, many in zip(WRITTEN, REFERENCES, strict=True):
    words, others = text.lower().split(), [each.lower().split() for each in many]
    length += len(words)
    nearest += min((abs(len(o) - len(words)), len(o)) for o in others)[1]
    for n in range(order):
      grams, *theirs = (collections.Counter(zip(*(x[i:] for i in range(n + 1)),
                                                strict=False))
                        for x in (words, *others))
      total[n] += grams.total()
      right[n] += sum(min(count, max(t[gram] for t in theirs))
                      for gram, count in grams.items())
  penalty = min(1.0, math.exp(1 - nearest / length))
  return 100 * penalty * math.exp(sum(
    math.log(r / t) for r, t in zip(right, total, strict=True)) / order)


def test_bleu_is_that_of_counting():
  found = metrics.caption_bleu(WRITTEN, REFERENCES)
  assert found == {'bleu_1': pytest.approx(by_hand(1)),
                   'bleu_4': pytest.approx(by_hand(4))}
  assert 0 < found['bleu_4'] < found['bleu_1'] < 100


def test_nothing_has_no_bleu():
  assert metrics.caption_bleu([], []) == {}
  assert metrics.caption_bleu(['x'], [['a b c d']])['bleu_4'] == 0
