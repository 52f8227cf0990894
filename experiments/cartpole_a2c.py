"""Advantage actor-critic balances a pole: environments, policy and update in one step.

CartPole-v1 gives a reward of 1 per step for at most 500 steps; Gymnasium calls a mean
return of 475 solved. `--config.ppo=True` makes several clipped updates on each rollout.

Needs: requirements-agents.txt; 7 s on two cores.
"""

from functools import partial

import flax.linen as nn
import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.optim import schedules


def config(*, environment: str = 'CartPole-v1', steps: int = 3_000,
           num_environments: int = 64, rollout_length: int = 16,
           learning_rate: float = 2e-3, ppo: bool = False,
           seed: int = 0) -> Experiment:
  episodes = data.Episodes(environments.Gymnax(environment), num_environments)

  def evaluation(split: str) -> data.Batches:
    return data.Batches(source=episodes.split(split, 100), batch_size=None)

  num_epochs = 4 if ppo else 1
  body = models.Mlp(num_outputs=64, widths=(64,), activation=nn.tanh,
                    kernel_init=partial(
    nn.initializers.orthogonal, 2**0.5))
  return Experiment(
    model=partial(models.ActorCritic, body=body, critic=body),
    task=tasks.control,
    learner=partial(
      learners.actor_critic, rollout_length=rollout_length, normalize_advantage=True,
      clip_epsilon=0.2 if ppo else None, num_epochs=num_epochs),
    optimizer=partial(
      optax.chain, partial(optax.clip_by_global_norm, 0.5),
      partial(optax.adam, learning_rate=partial(
        schedules.warmup_linear, steps=steps * num_epochs,
        peak=learning_rate, warmup=0.0))),
    train=data.Batches(source=episodes, batch_size=None),
    evals={'validation': evaluation('validation'), 'test': evaluation('test')},
    evaluate_every=Duration(steps=200),
    log_every=Duration(steps=50),
    monitor=Monitor(metric='validation/return', goal='max'),
    duration=Duration(steps=steps),
    seed=seed)
