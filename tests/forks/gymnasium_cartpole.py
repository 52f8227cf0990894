"""Deep Q-learning in Gymnasium's own CartPole: its episodes live on the host."""

from functools import partial

import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment


def config(*, steps: int = 600, seed: int = 0) -> Experiment:
  world = environments.Gymnasium('CartPole-v1', limit=100)
  episodes = data.Episodes(world, 4)
  return Experiment(
    model=partial(models.QNetwork, body=models.Mlp(num_outputs=16, widths=())),
    task=tasks.control,
    learner=partial(learners.dqn, capacity=1_000, warmup=100,
                    sample=16, epsilon=partial(optax.constant_schedule, 0.3)),
    optimizer=partial(optax.adam, 1e-3),
    train=data.Batches(source=episodes, batch_size=None),
    evals={'test': data.Batches(source=episodes.split('test', 5), batch_size=None)},
    evaluate_every=Duration(steps=300),
    duration=Duration(steps=steps),
    seed=seed)
