"""Tests of bigmodels.training.results."""

from types import SimpleNamespace

from bigmodels.learners import State
from bigmodels.training import results


def test_a_headline_has_means_over_members_and_no_matrices():
  result = {
    'step': 1200, 'best_step': 900, 'train_seconds': 2.0, 'examples_per_second': 600.0,
    'utilization': {'train_fraction': 0.5},
    'metrics': {'train/loss': 9.0, 'test/loss': 0.25, 'test/accuracy': [0.5, 1.0],
                'test/confusion': [[1.0, 0.0], [0.0, 1.0]], 'test/f1/3': 0.1}}
  assert results.headline(result, 'test/loss') == (
    'step 1,200, best 900: test/accuracy 0.7500, test/loss 0.2500; '
    'trained 2.0 s at 600 examples/s, 50% of the time')


def test_the_samples_of_a_report_are_those_of_the_average():
  found, lines = [], []
  built = SimpleNamespace(
    evals={'test': SimpleNamespace(
      dataset=SimpleNamespace(words=None, features=None))},
    layout=SimpleNamespace(mesh=SimpleNamespace(size=1)),
    task=SimpleNamespace(plots=None, samples=lambda *given: found.append(given) or {}))
  state = State(0, 'last', {}, (), None, (), {'params': 'mean', 'model_state': {}})
  assert results.plots_of(built, 'test', {'row': [0, 1]}, lines.append, state) == {}
  assert not lines and found[0][0] == 'mean' and found[0][-1] == 2
