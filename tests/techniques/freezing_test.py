"""Tests of bigmodels.techniques.freezing."""

from functools import partial

import jax
import numpy as np
import optax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.learners import mean_gradient, supervised
from bigmodels.models import Mlp
from bigmodels.tasks import classification, with_frozen_statistics
from bigmodels.techniques import freezing

KEY = jax.random.PRNGKey(0)
RNG = np.random.default_rng(0)
DATA = {'inputs': RNG.normal(2, 1, (8, 5)).astype(np.float32),
        'labels': np.arange(8) % 3, 'mask': np.ones(8, np.float32)}
TASK = classification(Mlp(3, (4,), batch_norm=True))


def ran(pattern, task=TASK):
  learner = freezing.frozen(supervised(
    task, optax.adamw(0.1, weight_decay=0.5),
    freezing.without_gradient(mean_gradient, pattern)), pattern)
  before = learner.init(KEY, DATA)
  return before, jax.jit(learner.step)(before, DATA)[0]


def test_what_matches_stays_and_the_rest_is_trained():
  before, after = ran('(Dense_0|BatchNorm_0)/.*')
  for module in before.params:
    for name, x in before.params[module].items():
      same = (x == after.params[module][name]).all()
      assert same == (module != 'Dense_1'), (module, name)


def test_the_gradient_is_that_of_the_other_parameters():
  pattern = 'Dense_0/.*'
  params, model_state = TASK.init(KEY, DATA)
  loss = partial(TASK.loss, train=True)
  (_, whole), (_, part) = (make(loss)(params, model_state, DATA, KEY) for make in (
    mean_gradient, freezing.without_gradient(mean_gradient, pattern)))
  for module in params:
    for name, x in whole[module].items():
      expected = np.zeros_like(x) if module == 'Dense_0' else x
      np.testing.assert_allclose(part[module][name], expected, rtol=1e-6)


@pytest.mark.parametrize(('pattern', 'same'), [
  ('BatchNorm_0/(scale|bias)', True), ('BatchNorm_0/.*', True), ('Dense_0/.*', False),
  ('.*/bias', False)])
def test_statistics_beside_frozen_parameters_stay(pattern, same):
  before, after = ran(pattern, with_frozen_statistics(TASK, (pattern,)))
  moved = [np.abs(a - b).max() for a, b in zip(
    jax.tree.leaves(before.model_state), jax.tree.leaves(after.model_state),
    strict=True)]
  assert (max(moved) == 0) == same


def test_sizes():
  params = {'a': np.ones((2, 3)), 'b': np.ones(4)}
  assert freezing.sizes(params, 'a') == (6, 10)
  assert freezing.sizes(params, None) == (0, 10)


@pytest.mark.parametrize(('pattern', 'message'), [
  ('Dens_0/.*', "'Dens_0/.*' matches the whole name of no parameter, such as Dense_0/"),
  ('.*', '--config.freeze=.*: matches all 5 parameters')])
def test_a_pattern_of_none_or_all_is_refused(pattern, message):
  with pytest.raises(UserError) as error:
    ran(pattern)
  assert message in str(error.value)
