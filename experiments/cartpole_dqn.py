"""Deep Q-learning balances a pole: double, with a replay buffer and a target network.

CartPole-v1 gives a reward of 1 per step for at most 500 steps; Gymnasium calls a mean
return of 475 solved.

Needs: requirements-agents.txt; 15 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.optim import schedules


def config(*, environment: str = 'CartPole-v1', steps: int = 30_000,
           num_environments: int = 8, learning_rate: float = 1e-3,
           discount: float = 0.99, exploration_steps: int = 5_000, double: bool = True,
           dueling: bool = False, seed: int = 0) -> Experiment:
  episodes = data.Episodes(environments.Gymnax(environment), num_environments)

  def evaluation(split: str) -> data.Batches:
    return data.Batches(source=episodes.split(split, 100), batch_size=None)

  return Experiment(
    model=partial(models.QNetwork, body=models.Mlp(num_outputs=128, widths=(128,)),
                  dueling=dueling),
    task=tasks.control,
    learner=partial(
      learners.dqn, replay_capacity=50_000, min_replay_size=1_000, sample_size=128,
      target_update_period=100, discount=discount, double=double, epsilon=partial(
        optax.linear_schedule, init_value=1.0, end_value=0.05,
        transition_steps=max(exploration_steps, 1))),
    optimizer=partial(
      optax.chain, partial(optax.clip_by_global_norm, 10.0),
      partial(optax.adam, learning_rate=partial(
        schedules.warmup_linear, peak=learning_rate, warmup=0.0))),
    train=data.Batches(source=episodes, batch_size=None),
    evals={'validation': evaluation('validation'), 'test': evaluation('test')},
    evaluate_every=Duration(steps=1_000),
    log_every=Duration(steps=200),
    monitor=Monitor(metric='validation/return', goal='max'),
    duration=Duration(steps=steps),
    seed=seed)
