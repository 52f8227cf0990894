"""Tests of bigmodels.tasks.stories."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.models import MemoryNetwork
from bigmodels.plots import Inputs
from bigmodels.tasks import story_questions

RNG = np.random.default_rng(0)
BATCH = {'inputs': RNG.integers(0, 9, (8, 5, 4)),
         'questions': RNG.integers(1, 9, (8, 3)),
         'labels': RNG.integers(0, 3, 8), 'tasks': np.array([0, 0, 1, 1, 1, 2, 2, 2]),
         'mask': np.ones(8, np.float32)}


def test_errors_are_told_by_task():
  task = story_questions(MemoryNetwork(9, 3, width=4), groups=('a', 'b', 'c'))
  batch = jax.tree.map(jnp.asarray, BATCH)
  params, state = jax.jit(task.init)(jax.random.key(0), batch)
  _, (_, found, outputs) = jax.jit(partial(task.loss, train=False))(
    params, state, batch, jax.random.key(0))
  outputs = jax.device_get(outputs)
  wrong = outputs['predictions'] != BATCH['labels']
  expected = [wrong[BATCH['tasks'] == i].mean() for i in range(3)]
  summary = task.summarize(outputs)
  np.testing.assert_allclose([summary[f'error/{name}'] for name in 'abc'], expected)
  np.testing.assert_allclose(summary['mean_error'], np.mean(expected))
  np.testing.assert_allclose(summary['accuracy'], 1 - wrong.mean())
  np.testing.assert_allclose(found['accuracy'].compute(), 1 - wrong.mean())
  words = [{'story': f's{i}', 'question': f'q{i}'} for i in range(8)]
  drawn = task.plots(outputs, Inputs(None, lambda rows: [words[i] for i in rows]),
                     ('x', 'y', 'z'))
  row = drawn['Questions'].rows[3]
  assert row == ('b', 's3', 'q3', 'xyz'[outputs['predictions'][3]],
                 'xyz'[BATCH['labels'][3]])
  assert len(drawn['Errors of each task'].rows) == 3
