"""Linear regression on scikit-learn's diabetes table, by full-batch gradient descent.

Agrees with the closed-form least squares solution.

Needs: no download; 1 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, steps: int = 3000, learning_rate: float = 0.05,
           seed: int = 0) -> Experiment:
  diabetes = data.ScikitTable('diabetes')
  return Experiment(
    model=models.Linear(num_outputs=1),
    task=tasks.regression,
    optimizer=partial(optax.sgd, learning_rate, momentum=0.97, nesterov=True),
    train=data.Batches(
      source=diabetes.split('train'), batch_size=None,
      transforms=(transforms.standardize,)),
    evals={'test': data.Batches(
      source=diabetes.split('test'), batch_size=None,
      transforms=(transforms.standardize,))},
    evaluate_every=Duration(steps=500),
    log_every=Duration(steps=100),
    duration=Duration(steps=steps),
    seed=seed)
