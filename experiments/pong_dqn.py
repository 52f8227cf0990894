"""Deep Q-learning plays Pong from its pixels, as in Mnih et al., 2015 (Nature 518).

The numbers are those of the paper's Extended Data Table 1: batches of 32, one update
every 4 actions, here one in each of 4 games; a target network 10,000 updates old; a
discount of 0.99; errors and rewards clipped at 1; RMSProp, centered, at 0.00025 with a
decay of 0.95; the probability of a random action from 1 to 0.1 over the first million
actions; 50,000 actions before the first update. RMSProp's 0.01 under the root is for
gradients summed over the batch; here gradients are averaged, so it is 0.01 / 32^2.

Differences from the paper: the buffer has 100,000 transitions instead of a million (3.5
GB instead of 35, and each checkpoint contains it: set `learner.replay_capacity` as
memory allows), a run is 10 million actions instead of 50, and in the 30 games of an
evaluation no action is random (5 % in the paper), only the number of no-ops at the
start.

The paper's mean score after 50 million actions is 18.9 of at most 21; a human's 9.3,
random play's -20.7 (its Extended Data Table 2).

Needs: requirements-agents.txt; a GPU, 4 GB of memory.
"""

from functools import partial

import optax

from bigmodels import data, environments, learners, models, tasks
from bigmodels.config import Duration, Experiment, Monitor


def config(*, game: str = 'Pong', steps: int = 2_500_000, num_environments: int = 4,
           learning_rate: float = 2.5e-4, exploration_steps: int = 250_000,
           double: bool = False, dueling: bool = False, seed: int = 0) -> Experiment:
  episodes = data.Episodes(environments.Atari(game), num_environments)

  def evaluation(split: str) -> data.Batches:
    return data.Batches(source=episodes.split(split, 30), batch_size=None)

  return Experiment(
    model=partial(models.QNetwork, body=models.NatureCnn(), dueling=dueling),
    task=tasks.control,
    learner=partial(
      learners.dqn, discount=0.99, replay_capacity=100_000, min_replay_size=50_000,
      sample_size=32, target_update_period=10_000, double=double, huber_delta=1.0,
      max_abs_reward=1.0, epsilon=partial(
        optax.linear_schedule, init_value=1.0, end_value=0.1,
        transition_steps=max(exploration_steps, 1))),
    optimizer=partial(
      optax.rmsprop, learning_rate=learning_rate, decay=0.95, eps=0.01 / 32**2,
      centered=True),
    train=data.Batches(source=episodes, batch_size=None),
    evals={'validation': evaluation('validation'), 'test': evaluation('test')},
    evaluate_every=Duration(steps=50_000),
    log_every=Duration(steps=1_000),
    checkpoint_every=Duration(minutes=30),
    monitor=Monitor(metric='validation/return', goal='max'),
    duration=Duration(steps=steps),
    seed=seed)
