"""bigmodels.training.results: a result in a line."""

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
