"""The type of a detector: how a network's outputs are learned, and read as boxes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Truth(NamedTuple):
  """The objects in images.

  Attributes:
    boxes: `[batch, objects, 4]`, in pixels of the images.
    labels: int `[batch, objects]`, classes.
    present: bool `[batch, objects]`, whether there is such an object to be learned.
  """

  boxes: jax.Array
  labels: jax.Array
  present: jax.Array


class Loss(NamedTuple):
  """The losses of images.

  Attributes:
    parts: name -> sum over an image, weighted, `[batch]`; they add up to the loss.
    positives: what they are to be divided by after the sum over all images of all
      devices, `[batch]`.
  """

  parts: dict[str, jax.Array]
  positives: jax.Array


class Detector(NamedTuple):
  """Pure functions of the outputs of a network.

  Attributes:
    loss: (outputs, `Truth`, (height, width) of the images) -> `Loss`.
    decode: (outputs, (height, width)) -> boxes `[batch, n, 4]`, in pixels, and the
      scores of all classes `[batch, n, classes]`.
    iou_threshold: intersection over union above which the worse of two boxes of a class
      is dropped; None for a detector that gives each object once.
  """

  loss: Callable[[Any, Truth, tuple[int, int]], Loss]
  decode: Callable[[Any, tuple[int, int]], tuple[jax.Array, jax.Array]]
  iou_threshold: float | None = None


def check_not_negative(**weights: float) -> None:
  """Checks that settings, such as weights of losses, are >= 0 and finite.

  Raises:
    ValueError: for the first that is not.
  """
  for name, value in weights.items():
    if not 0 <= value < math.inf:
      raise ValueError(f'{name}: must be >= 0 and finite, got {value}')
