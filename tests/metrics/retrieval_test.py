"""Tests of bigmodels.metrics.retrieval: against sorting all pairs."""

import sys

import numpy as np
import pytest

from bigmodels import metrics


def outputs_of(count, most, seed=0, missing=()):
  rng = np.random.default_rng(seed)
  images = rng.normal(size=(count, 4))
  captions = images[:, None] + 1.5 * rng.normal(size=(count, most, 4))
  groups = np.arange(count * most).reshape(count, most)
  for place in missing:
    groups[place], captions[place] = -1, images[0]  # which must not count
  return {'images': images, 'captions': captions, 'caption_groups': groups}


def by_hand(outputs, at):
  pairs = [(i, c) for i in range(len(outputs['images'])) for c in range(
    outputs['captions'].shape[1]) if outputs['caption_groups'][i, c] >= 0]

  def product(image, pair):
    return float(outputs['images'][image] @ outputs['captions'][pair])

  found = {}
  owners = {i for i, _ in pairs}
  ranked = {i: sorted(pairs, key=lambda pair: -product(i, pair)) for i in owners}
  for k in at:
    found[f'image_to_text_r@{k}'] = np.mean([
      any(owner == i for owner, _ in ranked[i][:k]) for i in owners])
  for k in at:
    found[f'text_to_image_r@{k}'] = np.mean([
      pair[0] in sorted(range(len(outputs['images'])),
                        key=lambda i: -product(i, pair))[:k] for pair in pairs])
  return found


@pytest.mark.parametrize('missing', [(), ((3, 4), (3, 3), (7, 4)),
                                     tuple((5, c) for c in range(5))])
def test_recall_is_that_of_sorting_all_pairs(missing, monkeypatch):
  monkeypatch.setattr(
    sys.modules['bigmodels.metrics.retrieval'], '_ROWS', 7)  # several parts
  outputs = outputs_of(24, 5, len(missing), missing)
  found = metrics.retrieval(outputs)
  assert found == pytest.approx(by_hand(outputs, (1, 5, 10)))
  assert 0 < found['image_to_text_r@1'] < found['image_to_text_r@10'] < 1


def test_equal_products_rank_before_the_right_one():
  same = {'images': np.ones((4, 2)), 'captions': np.ones((4, 2, 2)),
          'caption_groups': np.zeros((4, 2), int)}
  of_images, of_texts = metrics.retrieval_ranks(same)
  assert of_images.tolist() == [7] * 4  # after the six captions of others
  assert of_texts.tolist() == [4] * 8


def test_few_images_have_few_values():
  assert [*metrics.retrieval(outputs_of(5, 2))] == [
    'image_to_text_r@1', 'text_to_image_r@1']
  broken = outputs_of(5, 2)
  broken['images'][0] = np.nan
  assert metrics.retrieval(broken) == {}
