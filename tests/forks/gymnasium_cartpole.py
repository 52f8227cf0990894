"""Deep Q-learning in Gymnasium's own CartPole: its episodes run on the host."""

from functools import partial

import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment


def config(*, steps: int = 600, seed: int = 0) -> Experiment:
  episodes = data.Episodes(
    environments.Gymnasium('CartPole-v1', max_episode_steps=100), 4)
  return Experiment(
    model=partial(models.QNetwork, body=models.Mlp(num_outputs=16, widths=())),
    task=tasks.control,
    learner=partial(
      learners.dqn, replay_capacity=1_000, min_replay_size=100, sample_size=16,
      epsilon=partial(optax.constant_schedule, 0.3)),
    optimizer=partial(optax.adam, 1e-3),
    train=data.Batches(source=episodes, batch_size=None),
    evals={'test': data.Batches(source=episodes.split('test', 5), batch_size=None)},
    evaluate_every=Duration(steps=300),
    duration=Duration(steps=steps),
    seed=seed)
