"""Deep Q-learning balances a pole: double, with a replay buffer and a target network.

CartPole-v1 gives a reward of 1 a step for at most 500 steps; Gymnasium calls a mean
return of 475 solved.
"""

from functools import partial

import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.optim import schedules


def config(*, environment: str = 'CartPole-v1', steps: int = 30_000, count: int = 8,
           learning_rate: float = 1e-3, discount: float = 0.99,
           exploration: int = 5_000, double: bool = True, dueling: bool = False,
           seed: int = 0) -> Experiment:
  world = environments.Gymnax(environment)
  episodes = data.Episodes(world, count)

  def played(split: str) -> data.Batches:
    return data.Batches(source=episodes.split(split, 100), batch_size=None)

  return Experiment(
    model=partial(models.QNetwork, body=models.Mlp(num_outputs=128, widths=(128,)),
                  dueling=dueling),
    task=tasks.control,
    learner=partial(
      learners.dqn, capacity=50_000, warmup=1_000, sample=128,
      target_every=100, discount=discount, double=double, epsilon=partial(
        optax.linear_schedule, init_value=1.0, end_value=0.05,
        transition_steps=max(exploration, 1))),
    optimizer=partial(
      optax.chain, partial(optax.clip_by_global_norm, 10.0),
      partial(optax.adam, learning_rate=partial(
        schedules.warmup_linear, peak=learning_rate, warmup=0.0))),
    train=data.Batches(source=episodes, batch_size=None),
    evals={'validation': played('validation'), 'test': played('test')},
    evaluate_every=Duration(steps=1_000),
    log_every=Duration(steps=200),
    monitor=Monitor(metric='validation/return', goal='max'),
    duration=Duration(steps=steps),
    seed=seed)
