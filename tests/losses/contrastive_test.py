"""Tests of bigmodels.losses.contrastive: against the full matrix in float64."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels import losses

N, WIDTH = 7, 5
TEXTS = np.array([3, 1, 3, 0, 2, 1, 1])  # rows 0 and 2, and 1, 5 and 6, say the same
MASK = np.array([1, 1, 1, 0, 1, 1, 1])


def vectors(seed, count=N):
  found = np.random.default_rng(seed).normal(size=(2, count, WIDTH))
  return found / np.linalg.norm(found, axis=-1, keepdims=True)


def negatives(texts, mask):
  return {i: [j for j in range(len(texts)) if j != i and mask[j]
              and texts[j] != texts[i]] for i in range(len(texts))}


def softmax_by_hand(images, captions, texts, mask, scale, bias):
  logits = scale * images @ captions.T + bias
  values = []
  for i, others in negatives(texts, mask).items():
    kept = [i, *others]
    values.append(np.mean([np.log(np.exp(side[i, kept]).sum()) - side[i, i]
                           for side in (logits, logits.T)]))
  return values


def sigmoid_by_hand(images, captions, texts, mask, scale, bias):
  logits = scale * images @ captions.T + bias
  return [np.log1p(np.exp(-logits[i, i])) + sum(
    np.log1p(np.exp(logits[i, j])) for j in others)
    for i, others in negatives(texts, mask).items()]


BOTH = pytest.mark.parametrize(('loss', 'by_hand'), [
  (losses.softmax_contrastive, softmax_by_hand),
  (losses.sigmoid_contrastive, sigmoid_by_hand)])


@BOTH
def test_the_loss_is_that_of_the_full_matrix(loss, by_hand):
  images, captions = vectors(0)
  found = jax.jit(loss)(np.float32(images), np.float32(captions), TEXTS, MASK,
                        logit_scale=4.0, bias=-1.5)
  np.testing.assert_allclose(
    found, by_hand(images, captions, TEXTS, MASK, 4.0, -1.5), rtol=2e-6)


@BOTH
def test_the_gradient_is_that_of_differences(loss, by_hand):
  images, captions = vectors(1)

  def total(images, captions, scale, bias):
    return loss(images, captions, TEXTS, MASK, logit_scale=scale, bias=bias).sum()

  point = (images, captions, 3.0, -0.5)
  found = jax.jit(jax.grad(total, (0, 1, 2, 3)))(*map(np.float32, point))
  for place in range(4):
    rng = np.random.default_rng(place)
    step = 1e-5 * rng.normal(size=np.shape(point[place]))
    ends = [np.sum(by_hand(*(
      x + sign * step if i == place else x for i, x in enumerate(point[:2])), TEXTS,
      MASK, *(x + sign * step if i == place else x for i, x in enumerate(
        point[2:], 2)))) for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(found[place] * step), (ends[0] - ends[1]) / 2,
                               rtol=1e-4, atol=1e-11)


@pytest.mark.reference
def test_the_losses_are_those_of_pytorch():
  torch = pytest.importorskip('torch', reason='torch is not installed')
  images, captions = vectors(2)
  distinct, mask = np.arange(N), np.ones(N)
  logits = 5 * torch.tensor(images) @ torch.tensor(captions).T
  right = torch.arange(N)
  cross = partial(torch.nn.functional.cross_entropy, target=right)
  clip = (cross(logits) + cross(logits.T)) / 2
  sign = 2 * torch.eye(N, dtype=torch.float64) - 1
  siglip = -torch.nn.functional.logsigmoid(sign * (logits - 3)).sum() / N
  for loss, expected in ((losses.softmax_contrastive, clip),
                         (losses.sigmoid_contrastive, siglip)):
    found = loss(np.float32(images), np.float32(captions), distinct, mask,
                 logit_scale=5.0, bias=-3.0)
    np.testing.assert_allclose(found.mean(), float(expected), rtol=1e-6)
