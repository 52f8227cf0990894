"""The train steps of an experiment, compiled as in a run, to be timed."""

import pathlib

import jax
import numpy as np

from bigmodels.config import Experiment
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.training.build import Built, build
from bigmodels.training.compile import compile_traced, trace


def build_quietly(experiment: Experiment, data_dir: str | None = None,
                  folder: pathlib.Path = pathlib.Path('.')) -> Built:
  """Builds an experiment for the devices of this process, and prints nothing.

  Args:
    experiment: to build.
    data_dir: of its data.
    folder: for the cache.

  Raises:
    UserError: as `build`.
  """
  return build(experiment, layout.make_layout(experiment.mesh, 'jit', experiment.rules),
               DataContext(data_dir, folder, {}, say=lambda _: None))


class TrainSteps:
  """Takes train steps of an experiment.

  Attributes:
    built: the experiment.
    programs: compiled from it.
    carry: after the last step.
    most: steps in a dispatch.
    hlo: () -> their optimized program.
  """

  def __init__(self, built: Built, *, repeat: bool = False):
    """Compiles the steps and initializes the carry.

    Args:
      built: the experiment.
      repeat: whether each call and dispatch takes the first batches again.
    """
    self.built, self._repeat = built, repeat
    self.programs = compile_traced(trace(built.learner, built.train, {}, built.layout))
    self.carry = self.programs.init(np.asarray(jax.random.PRNGKey(0)))
    self.most, self.hlo = self.programs.traced.most, self.programs.hlo

  def __call__(self, times: int) -> None:
    """Takes this number of steps and waits for them."""
    for step in range(0, times, self.most):
      count = min(self.most, times - step)
      host_batch = self.built.train.host_batch(0 if self._repeat else step, count)
      self.carry, _ = self.programs.advance(
        self.carry, host_batch, count, False, [0, 0, 0])
    jax.block_until_ready(self.carry.fault)
