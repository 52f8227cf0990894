"""Metrics of retrieval: the captions of an image among all, and the reverse."""

from collections.abc import Mapping

import numpy as np

_ROWS = 512  # that are compared with all others at a time


def retrieval_ranks(outputs: Mapping[str, np.ndarray]
                    ) -> tuple[np.ndarray, np.ndarray]:
  """Returns ranks from 1: of the best own caption of each image; of each one's image.

  One with an equal product, or with one that is not a number, ranks before it.

  Args:
    outputs: see `retrieval`.

  Returns:
    Int `[images with captions]`, among all captions; int `[captions]`, among all
    images.
  """
  images, captions = outputs['images'], outputs['captions']
  owner, place = np.nonzero(outputs['caption_groups'] >= 0)
  texts = captions[owner, place]
  of_images, of_texts = [], []
  for start in range(0, len(images), _ROWS):
    part = images[start : start + _ROWS]
    rows = np.arange(start, start + len(part))
    products = part @ texts.T
    own = owner == rows[:, None]
    best = np.where(own, products, -np.inf).max(1, keepdims=True)
    # Own captions are no rivals of the best one.
    rivals = (~own & ~(products < best)).sum(1)
    of_images.append((rivals + 1)[own.any(1)])
  for start in range(0, len(texts), _ROWS):
    products = texts[start : start + _ROWS] @ images.T
    right = owner[start : start + _ROWS, None]
    own = np.take_along_axis(products, right, 1)
    of_texts.append(images.shape[0] - (products < own).sum(1))
  empty = np.zeros(0, int)
  return (np.concatenate([empty, *of_images]), np.concatenate([empty, *of_texts]))


def retrieval(outputs: Mapping[str, np.ndarray], at: tuple[int, ...] = (1, 5, 10)
              ) -> dict[str, float]:
  """Computes R@k: how often one of the k nearest is a right one.

  `image_to_text_r@k` is the fraction of the images of which a caption is among the k
  nearest captions of the split; `text_to_image_r@k` that of the captions whose image is
  among the k nearest images.

  Args:
    outputs: `images` of length 1, `[n, width]`; `captions` of length 1, `[n, most,
      width]`; and `caption_groups`, int `[n, most]`, -1 for no caption.
    at: values of k; those of at least the number of images are left out.

  Returns:
    Name -> number; empty if a vector is not finite.
  """
  count = len(outputs['images'])
  if not count or not all(np.isfinite(outputs[name]).all()
                          for name in ('images', 'captions')):
    return {}
  found = dict(zip(('image_to_text', 'text_to_image'), retrieval_ranks(outputs),
                   strict=True))
  return {f'{way}_r@{k}': float((ranks <= k).mean()) for way, ranks in found.items()
          for k in at if k < count and len(ranks)}
