"""What the tests of transforms fraction: batches of noise, and a transform applied."""

from functools import partial

import jax
import numpy as np

KEY = jax.random.key(0)


def pixels(n=1, height=7, width=6, channels=2, dtype=np.uint8, seed=0):
  images = np.random.default_rng(seed).integers(1, 256, (n, height, width, channels))
  return images.astype(dtype)


def batch(images):
  n = len(images)
  rows = np.arange(n, dtype=np.int32)
  return {'inputs': images, 'labels': rows, 'mask': np.float32(rows < n - 1),
          'row': rows, 'epoch': np.zeros(n, np.int32)}


def apply(transform, images, key=KEY, **keywords):
  transform = jax.jit(partial(transform, **keywords))
  return np.asarray(transform(batch(images), key)['inputs'])
