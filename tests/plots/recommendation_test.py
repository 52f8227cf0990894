"""Tests of plots of recommendations."""

import numpy as np
import pytest

from bigmodels import metrics, plots
from tests.plots.rendering import render


def outputs(count=80, items=40):
  rng = np.random.default_rng(0)
  found = {f'{prefix}{name}': rng.integers(0, 20, count) * (name == 'above')
           for prefix in ('', 'sampled_', 'popularity_', 'popularity_sampled_')
           for name in ('above', 'equal')}
  return {**found, 'recommended': rng.integers(-1, items, (count, 5)),
          'targets': rng.integers(0, items, count), 'items': np.full(count, items)}


def test_hit_rates_are_those_of_the_metrics():
  made = outputs()
  made['equal'][:] = 3
  drawn = render(plots.recommendation(made, None, None, popularity=np.arange(40.0)))
  axes, = drawn['Hit rate by length of the list'].axes
  lines = {line.get_label(): line.get_ydata() for line in axes.lines}
  found = metrics.recommendation(made)
  for prefix, name in (('', 'all items'), ('sampled_', 'sampled candidates'),
                       ('popularity_', 'all items, by popularity')):
    for k in (1, 5, 10, 20):
      assert lines[name][k - 1] == pytest.approx(found[f'{prefix}hr{k}'])


def test_the_share_of_popular_items():
  """All lists have the two most popular of four items; users got the last two."""
  made = outputs(items=4)
  made['recommended'][:], made['targets'][:] = 0, 3
  made['recommended'][:, 1] = 1
  drawn = render(plots.recommendation(
    made, None, None, popularity=np.array([9.0, 8, 2, 1])))
  axes, = drawn['Popularity of recommended items'].axes
  shown, got = (line.get_ydata() for line in axes.lines[:2])
  share = axes.lines[0].get_xdata()
  assert shown[np.searchsorted(share, 0.5)] == 1 and got[share < 0.99].max() == 0
  assert '2 of 4 items' in axes.get_title(loc='left')


def test_the_hit_rate_by_popularity():
  made = outputs(4, 40)
  made['above'][:], made['targets'][:] = [0, 0, 50, 50], [0, 5, 5, 6]
  drawn = render(plots.recommendation(
    made, None, None, popularity=np.array([0.0] * 5 + [6, 7] + [1.0] * 33)))
  axes, = drawn['Hit rate by popularity of the item'].axes
  assert axes.lines[0].get_ydata().tolist() == [1.0, pytest.approx(1 / 3)]
  assert [text.get_text() for text in axes.get_xticklabels()] == ['0\n(1)', '4+\n(3)']


def ratings(count=60):
  rng = np.random.default_rng(0)
  targets = rng.integers(1, 6, (count, 1)).astype(np.float32)
  return {'targets': targets, 'predictions': targets + 0.5, 'of_biases': targets - 1,
          'asked': rng.integers(0, 9, count)}


def test_errors_of_ratings_by_popularity_beside_the_biases():
  drawn = render(plots.ratings(ratings(), None, None, popularity=np.arange(9.0)))
  assert [*drawn] == ['Predicted rating by rating', 'Residuals',
                      'Error by number of ratings']
  axes, = drawn['Error by number of ratings'].axes
  model, biases = (line.get_ydata() for line in axes.lines)
  np.testing.assert_allclose(model, 0.5)
  np.testing.assert_allclose(biases, 1)


def test_ratings_of_many_values_and_of_one_have_a_figure():
  made = ratings()
  made['targets'] = np.random.default_rng(0).uniform(0, 100, (60, 1))
  render(plots.ratings(made, None, None, popularity=np.arange(9.0)))
  made['targets'] = np.full((60, 1), 3.0)
  render(plots.ratings(made, None, None, popularity=np.arange(9.0)))


def test_no_example_has_no_figure():
  assert plots.recommendation(
    {name: x[:0] for name, x in outputs().items()}, None, None,
    popularity=np.ones(40)) == {}
  made = ratings()
  made['predictions'] = np.full((60, 1), np.nan)
  assert plots.ratings(made, None, None, popularity=np.ones(9)) == {}
