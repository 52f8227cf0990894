"""The type of a task of two adversaries: a generator and its discriminator."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bigmodels.tasks.task import Split


class Adversaries(NamedTuple):
  """A generator and a discriminator, as `learners.adversarial` needs them.

  The params have the parts `generator` and `discriminator`, and may have others, which
  are not trained. The gradient of each loss is zero for all parts but its own. See
  `Task` for the other fields.

  Attributes:
    init: (key, batch) -> params, model_state.
    discriminator: (params, model_state, batch, key) -> loss, (model_state, metrics,
      outputs).
    generator: as `discriminator`.
    evaluate: (params, model_state, batch) -> metrics, outputs.
    inputs, predictions, check, summarize, plots, snapshot: as in `Task`.
    generate, answers, samples, sounds, image_to_image, channels: as in `Task`.
    calibration, threshold, findings: as in `Task`.
  """

  init: Callable[..., tuple[Any, Any]]
  discriminator: Callable
  generator: Callable
  evaluate: Callable[..., tuple[Any, Any]]
  inputs: tuple[str, ...] = ('inputs',)
  predictions: tuple[str, ...] = ()
  check: Callable[[Split], None] | None = None
  summarize: Callable[..., dict[str, float]] | None = None
  plots: Callable[..., dict[str, Any]] | None = None
  snapshot: Callable[..., dict[str, np.ndarray]] | None = None
  generate: None = None
  answers: None = None
  samples: None = None
  sounds: None = None
  image_to_image: Callable[..., np.ndarray] | None = None
  channels: int | None = None
  calibration: None = None
  threshold: None = None
  findings: None = None
