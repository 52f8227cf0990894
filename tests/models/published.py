"""What tests of published weights share: the library that publishes them, and loading.

Importing this skips the test module where PyTorch or transformers is absent.
"""

import jax
import numpy as np
import pytest

from bigmodels import initialize
from bigmodels.build import Built
from bigmodels.errors import UserError
from bigmodels.experiment import Experiment, Span
from bigmodels.learners import State
from bigmodels.parallel.compile import Carry

torch = pytest.importorskip('torch', reason='torch is not installed')
transformers = pytest.importorskip(
  'transformers', reason='transformers is not installed')


def perturbed(model):
  """Every parameter matters: no bias is 0 and no scale is 1, and attention is sharp."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
  return model.eval()


def started(model, path, inputs, pattern='.*', kept=None, say=lambda line: None):
  """The state of a fresh model, all of it sevens, after `initialize.start`."""
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
  fresh = jax.tree.map(lambda x: jax.device_put(np.full(x.shape, 7, x.dtype)), shapes)
  state = State(None, fresh.pop('params'), fresh, None, None, None)
  experiment = Experiment(
    model=None, task=lambda: None, optimizer=lambda: None, train=None, evals={},
    duration=Span(steps=1), init_from=str(path), init_pattern=pattern)
  built = Built(experiment, model, None, None, 'float32', None, {}, 1,
                {'kept': {} if kept is None else {'tokenizer': kept}})
  return initialize.start(built, Carry(state, None, None), say).state


def close(actual, expected):
  assert np.std(expected) > 0.3  # neither is constant
  np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


def refusal(model, path, inputs, pattern='.*', kept=None) -> str:
  """What `initialize.start` says against a file, without where it is."""
  with pytest.raises(UserError) as error:
    started(model, path, inputs, pattern, kept)
  start = f'--config.init_from={path}: '
  assert str(error.value).startswith(start)
  return str(error.value).removeprefix(start)
