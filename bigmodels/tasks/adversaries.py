"""The type of a task of two adversaries: a generator and its discriminator."""

from collections.abc import Callable
from typing import NamedTuple

from bigmodels.tasks.task import Task


class Adversaries(NamedTuple):
  """A generator and a discriminator, as `learners.adversarial` needs them.

  The params have the parts `generator` and `discriminator`, and may have others, which
  are not trained. The gradient of each loss is zero for all parts but its own.

  Attributes:
    task: what a run evaluates and predicts; its `loss` is called with `train=False`
      alone.
    discriminator: (params, model_state, batch, key) -> loss, (model_state, metrics,
      outputs).
    generator: as `discriminator`.
  """

  task: Task
  discriminator: Callable
  generator: Callable
