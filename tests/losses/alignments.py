"""Alignments of labels, for tests that try all of them."""

import itertools

import numpy as np


def collapsed(path):
  """The labels of an alignment: without repetitions, then without blanks, 0."""
  return tuple(token for token, _ in itertools.groupby(path) if token)


def by_alignments(logits, labels):
  """-log of the probability of all alignments of labels, one after another."""
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  paths = itertools.product(range(logits.shape[1]), repeat=len(logits))
  total = [sum(logs[t, c] for t, c in enumerate(path)) for path in paths
           if collapsed(path) == tuple(labels)]
  return -np.logaddexp.reduce(total) if total else np.inf
