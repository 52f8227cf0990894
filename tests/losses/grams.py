"""Gram matrices by NumPy's sums."""

import numpy as np


def gram(features: np.ndarray) -> np.ndarray:
  """Of one image `[height, width, channels]`, channel by channel, in float64."""
  height, width, channels = features.shape
  return np.array([[np.sum(features[..., i].astype(float) * features[..., j])
                    for j in range(channels)] for i in range(channels)]) / (
                      height * width * channels)
