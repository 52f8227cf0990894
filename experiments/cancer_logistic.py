"""Logistic regression on scikit-learn's breast cancer table, with an L2 penalty.

Agrees with `sklearn.linear_model.LogisticRegression(C=...)`, whose objective is
`|w|^2 / 2 + C * sum of losses`. The loss here is the mean, the penalty 1 / (C * rows).

Needs: no download; 1 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms

ROWS = 455  # of the training split


def config(*, C: float = 1.0, steps: int = 4000, learning_rate: float = 0.2,
           seed: int = 0) -> Experiment:
  cancer = data.ScikitTable('breast_cancer')
  return Experiment(
    model=models.Linear(num_outputs=1),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, partial(optim.l2, 1 / (C * ROWS)),
      partial(optax.sgd, learning_rate, momentum=0.97, nesterov=True)),
    train=data.Batches(
      source=cancer.split('train'), batch_size=None,
      transforms=(transforms.standardize,)),
    evals={'test': data.Batches(
      source=cancer.split('test'), batch_size=None,
      transforms=(transforms.standardize,))},
    evaluate_every=Duration(steps=500),
    log_every=Duration(steps=100),
    duration=Duration(steps=steps),
    seed=seed)
