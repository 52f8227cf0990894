"""Tests of plots.verification against brute force and scikit-learn."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from bigmodels import plots
from tests.plots.rendering import render

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 6)
VECTORS = RNG.normal(size=(4, 5))[LABELS] + 0.7 * RNG.normal(size=(24, 5))
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
OUTPUTS = {'embeddings': VECTORS, 'labels': LABELS}
IMAGES = RNG.integers(0, 256, (24, 4, 4, 1)).astype(np.uint8)
FIRST, SECOND = np.triu_indices(24, 1)
PAIRS = SimpleNamespace(
  first=FIRST, second=SECOND, same=LABELS[FIRST] == LABELS[SECOND],
  similarities=(VECTORS[FIRST] * VECTORS[SECOND]).sum(1))


def test_pairs_and_embeddings():
  asked = []
  inputs = plots.Inputs(lambda rows: asked.append(rows) or IMAGES[rows], lambda rows: [
    {'identity': f'person {LABELS[row]}'} for row in rows])
  drawn = render(plots.verification(OUTPUTS, inputs, PAIRS, threshold=0.4))
  area = roc_auc_score(PAIRS.same, PAIRS.similarities)
  assert f'AUC {area:.4f}' in drawn['ROC curve'].axes[0].get_title(loc='left')
  axes = drawn['Similarities'].axes[0]
  assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(2)
  # The hardest: of two identities the most similar, of one the least.
  similar = [(PAIRS.similarities[i], i) for i in range(len(FIRST)) if not PAIRS.same[i]]
  unlike = [(PAIRS.similarities[i], i) for i in range(len(FIRST)) if PAIRS.same[i]]
  expected = [[i for _, i in sorted(similar)[::-1][:10]],
              [i for _, i in sorted(unlike)[:10]]]
  hardest = [rows for rows in asked if len(rows) == 10]
  for rows, sides in zip(expected, (hardest[:2], hardest[2:]), strict=True):
    np.testing.assert_array_equal(sides, [FIRST[rows], SECOND[rows]])
  axes = drawn['Embeddings'].axes[0]
  points = PCA(2).fit_transform(VECTORS)
  assert [text.get_text() for text in axes.get_legend().get_texts()] == [
    f'person {person}' for person in range(4)]
  for line, person in zip(axes.lines[1:], range(4), strict=True):
    np.testing.assert_allclose(
      np.abs(line.get_data()), np.abs(points[person == LABELS].T), atol=1e-9)


def test_what_cannot_be_drawn():
  assert [*plots.verification(OUTPUTS, None, None)] == ['Embeddings']
  broken = {**OUTPUTS, 'embeddings': np.full((24, 5), np.nan)}
  assert plots.verification(broken, None, PAIRS) == {}
