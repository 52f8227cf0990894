"""bigmodels.training.run_context: what only the opened data knows, by name."""

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.training import run_context

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(2, 3, (40, 5)).astype(np.float32)


def supplied(source, steps=7):
  context = DataContext(None, None, {}, lambda line: None, lambda path: f'run {path}')
  return run_context.supplied(source.open(context), context, steps), context


def test_every_name_is_supplied_and_described():
  found, _ = supplied(data.Arrays(inputs=INPUTS, labels=np.arange(40) % 3))
  assert found.keys() == run_context.NAMES.keys()
  for what, needed in run_context.NAMES.values():
    assert what and needed


def test_what_is_fitted_is_that_of_numpy_and_kept():
  targets = np.stack([INPUTS.sum(1), INPUTS[:, 0]], 1)
  found, context = supplied(data.Arrays(inputs=INPUTS, labels=targets))
  np.testing.assert_allclose(found['mean'](), INPUTS.mean(0), rtol=1e-5)
  np.testing.assert_allclose(found['std'](), INPUTS.std(0), rtol=1e-5)
  np.testing.assert_allclose(found['target_mean'](), targets.mean(0), rtol=1e-5)
  np.testing.assert_allclose(found['target_std'](), targets.std(0), rtol=1e-5)
  assert found['num_outputs']() == 2 and found['steps']() == 7
  assert context.kept.keys() >= {'inputs', 'targets'}
  np.testing.assert_array_equal(found['examples']()(3), INPUTS[:3])
  assert found['open_run']()('x') == 'run x'


@pytest.mark.parametrize('labels, outputs', [
  (np.arange(40) % 3, 3), (np.zeros((40, 2, 3), np.float32), 6)])
def test_outputs_are_classes_or_targets(labels, outputs):
  assert supplied(data.Arrays(inputs=INPUTS, labels=labels))[0][
    'num_outputs']() == outputs


@pytest.mark.parametrize('name, words', [
  ('tokenizer', 'must be text that a tokenizer has read'),
  ('vocabulary', 'needs `vocabulary`, the number of tokens'),
  ('environment', 'must be data.Episodes of one')])
def test_what_the_data_cannot_supply_is_named(name, words):
  found, _ = supplied(data.Arrays(inputs=INPUTS, labels=np.arange(40) % 3))
  with pytest.raises(UserError, match=words):
    found[name]()


def test_data_without_labels_supplies_no_target():
  found, _ = supplied(data.Arrays(inputs=INPUTS))
  for name in ('num_outputs', 'target_mean', 'target_std'):
    with pytest.raises(UserError, match='training data must be labelled'):
      found[name]()
  np.testing.assert_allclose(found['mean'](), INPUTS.mean(0), rtol=1e-5)


@pytest.mark.parametrize('labels, expected', [
  (np.array([0, 2, 2, 0, 2]), {'0': 2, '1': 0, '2': 3}),
  (np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]]), {'0': 1.75, '1': 1.25}),
])
def test_examples_of_each_class_are_counted_when_asked_and_kept(labels, expected):
  found, context = supplied(data.Arrays(inputs=INPUTS[: len(labels)], labels=labels))
  counts = found['class_counts']()
  assert 'class counts' not in context.kept  # most tasks do not ask
  assert counts() == expected == context.kept['class counts']


def test_labels_that_are_not_classes_have_no_counts():
  found, _ = supplied(data.Arrays(inputs=INPUTS, labels=INPUTS[:, 0]))
  with pytest.raises(UserError, match=r'counts of classes need labels .* that are'):
    found['class_counts']()()
