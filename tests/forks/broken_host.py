"""An environment on the host that fails in an episode: its error ends the run."""

from functools import partial

import gymnasium
import numpy as np
import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment


class Motor(gymnasium.Env):
  action_space = gymnasium.spaces.Discrete(2)
  observation_space = gymnasium.spaces.Box(0, 1, (3,), np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.steps = 0
    return np.zeros(3, np.float32), {}

  def step(self, action):
    self.steps += 1
    if self.steps > 20:
      raise RuntimeError('the motor is hot')
    return np.zeros(3, np.float32), 1.0, False, False, {}


def config() -> Experiment:
  gymnasium.register('Motor-v0', Motor, max_episode_steps=50)
  environment = environments.Gymnasium('Motor-v0')
  return Experiment(
    model=partial(models.QNetwork, body=models.Mlp(num_outputs=4, widths=())),
    task=tasks.control,
    learner=partial(learners.dqn,
                    epsilon=partial(optax.constant_schedule, 0.5)),
    optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(source=data.Episodes(environment, 2), batch_size=None),
    evals={},
    evaluate_every=Duration(steps=1_000),
    duration=Duration(steps=100))
