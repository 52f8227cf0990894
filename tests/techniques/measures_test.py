"""Tests of bigmodels.techniques.measures."""

import jax
import numpy as np
import optax

from bigmodels.learners import supervised
from bigmodels.models import Mlp
from bigmodels.optim.measured import measured
from bigmodels.tasks import classification
from bigmodels.techniques import measures

DATA = {'inputs': np.ones((8, 5), np.float32), 'labels': np.arange(8) % 3,
        'mask': np.ones(8, np.float32)}


def test_what_is_measured_is_among_the_metrics_of_a_step():
  schedule = optax.linear_schedule(1.0, 0.0, 10)
  learner = measures.logged(supervised(
    classification(Mlp(3, (4,))),
    measured(optax.sgd(schedule), {'learning_rate': schedule})))
  state, step = learner.init(jax.random.PRNGKey(0), DATA), jax.jit(learner.step)
  for index in range(3):
    norm = np.sqrt(sum(np.sum(np.float64(x) ** 2)
                       for x in jax.tree.leaves(state.params)))
    state, metrics = step(state, DATA)
    found = {name: metric.compute() for name, metric in metrics.items()}
    np.testing.assert_allclose(found['learning_rate'], 1 - index / 10, rtol=1e-6)
    np.testing.assert_allclose(found['parameter_norm'], norm, rtol=1e-6)
    assert found['gradient_norm'] > 0 and found['loss'] > 0


def test_an_optimizer_that_is_not_measured_adds_nothing():
  learner = measures.logged(supervised(classification(Mlp(3, (4,))), optax.sgd(0.1)))
  _, metrics = learner.step(learner.init(jax.random.PRNGKey(0), DATA), DATA)
  assert set(metrics) == {'loss', 'accuracy'}
