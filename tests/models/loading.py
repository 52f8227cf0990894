"""What tests of weights from files share: loading them into a fresh model."""

import functools

import jax
import numpy as np
import pytest

from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.learners import State
from bigmodels.training import initialize
from bigmodels.training.build import Built
from bigmodels.training.compile import Carry


@functools.cache
def _shapes(model, inputs):
  return jax.eval_shape(
    lambda inputs: model.init(jax.random.key(0), inputs, train=False), inputs)


def started(model, path, inputs, pattern='.*', kept=None, say=lambda line: None,
            train=None):
  """The state of a fresh model, all of it sevens, after `initialize.start`."""
  shapes = _shapes(model, jax.ShapeDtypeStruct(inputs.shape, inputs.dtype))
  fresh = jax.tree.map(lambda x: jax.device_put(np.full(x.shape, 7, x.dtype)), shapes)
  state = State(None, fresh.pop('params'), fresh, None, None, None)
  experiment = Experiment(
    model=None, task=lambda: None, optimizer=lambda: None, train=None, evals={},
    duration=Duration(steps=1), init_from=str(path), init_pattern=pattern)
  built = Built(experiment, model, None, None, None, 'float32', train, {}, 1,
                {'kept': {} if kept is None else {'tokenizer': kept}})
  return initialize.start(built, Carry(state, None, None), say).state


def refusal(model, path, inputs, pattern='.*', kept=None, train=None) -> str:
  """What `initialize.start` says against a file, without where it is."""
  with pytest.raises(UserError) as error:
    started(model, path, inputs, pattern, kept, train=train)
  text = str(error.value)
  assert text.startswith('--config.init_from=')
  return text.partition(': ')[2]


def close(actual, expected):
  assert np.std(expected) > 0.3  # neither is constant
  np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)
