"""Tests of the models of users and items, against NumPy."""

import functools

import jax
import numpy as np
import pytest

from bigmodels.models import Dlrm, MatrixFactorization, NeuMf, TwoTower

USERS = np.array([0, 3, 5, -1])
ITEMS = np.array([[0, 4], [8, 2], [3, 3], [1, 0]])
MODELS = {
  'mf': MatrixFactorization(6, 9, width=5),
  'neumf': NeuMf(6, 9, width=4, hidden=(8, 6)),
  'gmf': NeuMf(6, 9, width=4, hidden=()),
  'mlp': NeuMf(6, 9, width=0, hidden=(8, 6)),
  'two_tower': TwoTower(6, 9, width=4, hidden=(8,)),
  'dlrm': Dlrm(6, 9, 1, width=4)}


def variables(model, seed=0, **features):
  """Parameters that are all drawn, biases too."""
  found = jax.eval_shape(lambda: model.init(
    jax.random.key(0), USERS, ITEMS, **features, train=False))
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), found)


def apply(model, found, users, items, **features):
  return np.asarray(jax.jit(functools.partial(model.apply, train=False))(
    found, users, items, **features))


@pytest.mark.parametrize('name', MODELS)
def test_the_same_items_for_all_users_have_the_same_scores(name):
  model = MODELS[name]
  found = variables(model)
  every = apply(model, found, USERS, np.arange(9))
  some = apply(model, found, USERS, ITEMS)
  assert every.shape == (4, 9) and some.shape == (4, 2)
  np.testing.assert_allclose(some, np.take_along_axis(every, ITEMS, 1),
                             rtol=1e-4, atol=1e-5)


def tables(found):
  return {name: np.asarray(value['embedding'])
          for name, value in found['params'].items() if 'embedding' in value}


def test_matrix_factorization_is_a_product_and_biases():
  found = variables(MODELS['mf'])
  t = tables(found)
  scores = apply(MODELS['mf'], found, USERS, ITEMS)
  for row, user in enumerate(USERS[:3]):
    for column, item in enumerate(ITEMS[row]):
      assert scores[row, column] == pytest.approx(
        t['users'][user] @ t['items'][item] + t['user_biases'][user, 0]
        + t['item_biases'][item, 0], rel=1e-4)


def test_neumf_is_a_weighted_product_beside_layers_of_both_vectors():
  found = variables(MODELS['neumf'])
  p, t = found['params'], tables(found)
  scores = apply(MODELS['neumf'], found, USERS, ITEMS)

  def relu(x):
    return np.maximum(x, 0)

  for row, user in enumerate(USERS[:3]):
    for column, item in enumerate(ITEMS[row]):
      kernel = np.concatenate([p['user_in']['kernel'], p['item_in']['kernel']])
      both = np.concatenate([t['users'][user], t['items'][item]])
      x = relu(both @ kernel + p['user_in']['bias'])
      x = relu(x @ p['hidden_0']['kernel'] + p['hidden_0']['bias'])
      product = t['product_users'][user] * t['product_items'][item]
      x = np.concatenate([product, x]) @ p['out']['kernel'] + p['out']['bias']
      assert scores[row, column] == pytest.approx(
        float(x[0] + t['user_biases'][user, 0] + t['item_biases'][item, 0]), rel=1e-3)


def test_the_towers_are_of_unit_length():
  model = MODELS['two_tower']
  scores = apply(model, variables(model), USERS, np.arange(9))
  assert np.abs(scores).max() <= 10.001  # 1 / temperature


def test_dlrm_is_the_products_of_pairs():
  features = {'user_numbers': np.float32([[1, 2]] * 4),
              'item_categories': np.int32([[[0], [1]]] * 4)}
  model = Dlrm(6, 9, 2, width=3, bottom=(4,), top=(5,))
  found = variables(model, **features)
  p, t = found['params'], tables(found)
  scores = apply(model, found, USERS, ITEMS, **features)

  def layer(name, x):
    return np.maximum(x @ p[name]['kernel'] + p[name]['bias'], 0)

  dense = layer('bottom_out', layer('bottom_0', np.array([1.0, 2])))
  vectors = [t['users'][3], t['items'][2], t['categories'][1], dense]
  pairs = [a @ b for i, a in enumerate(vectors) for b in vectors[i + 1:]]
  x = layer('top_0', np.concatenate([pairs, dense]))
  expected = x @ p['out']['kernel'] + p['out']['bias'] + t['user_biases'][3] + (
    t['item_biases'][2])
  assert scores[1, 1] == pytest.approx(float(expected[0]), rel=1e-3)


@pytest.mark.parametrize('name', MODELS)
def test_an_unknown_user_has_a_vector_of_zeros(name):
  """The parameters of users do not matter, but for those that all share."""
  model, found = MODELS[name], variables(MODELS[name])

  changed = jax.tree_util.tree_map_with_path(
    lambda path, x: x + 1 if 'user' in path[1].key and 'embedding' in str(path) else x,
    found)
  one, other = (apply(model, each, USERS, ITEMS) for each in (found, changed))
  assert (other[3] == one[3]).all() and (other[:3] != one[:3]).all()


def test_tables_have_a_multiple_of_64_rows_that_nothing_reads():
  model, found = MODELS['mf'], variables(MODELS['mf'])
  assert tables(found)['users'].shape == (64, 5)
  gradient = jax.jit(jax.grad(
    lambda x: model.apply(x, USERS, ITEMS, train=True).sum()))(found)
  used = np.abs(tables(gradient)['users']).sum(1) > 0
  assert np.flatnonzero(used).tolist() == [0, 3, 5]


def test_the_penalty_is_of_the_vectors_of_each_example():
  model = MatrixFactorization(6, 9, width=5, penalty=0.5, bias_penalty=0.25)
  found = variables(model)
  t = tables(found)
  _, updated = model.apply(found, USERS, ITEMS, train=True, mutable=['losses'])
  values = sum(np.asarray(x) for x in jax.tree.leaves(updated))
  items = t['items'][ITEMS[1]]
  expected = 0.5 * ((t['users'][3] ** 2).sum() + (items ** 2).sum(1).mean()) + 0.25 * (
    t['user_biases'][3, 0] ** 2 + (t['item_biases'][ITEMS[1], 0] ** 2).mean())
  assert values[1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(('make', 'message'), [
  (lambda: NeuMf(2, 2, width=0, hidden=()), 'width: must be >= 0, and >= 1 without'),
  (lambda: MatrixFactorization(2, 2, width=0), 'width: must be >= 1'),
  (lambda: MatrixFactorization(2, 2, penalty=-1), 'penalty: must be >= 0'),
  (lambda: MatrixFactorization(2, 2, bias_penalty=-1), 'bias_penalty: must be >= 0'),
  (lambda: NeuMf(2, 2, penalty=-1), 'penalty: must be >= 0'),
  (lambda: Dlrm(2, 2, 0, penalty=-1), 'penalty: must be >= 0'),
  (lambda: TwoTower(2, 2, temperature=0), 'temperature: must be > 0'),
  (lambda: Dlrm(2, 2, 0, dropout=1), 'dropout: must be >= 0 and < 1')])
def test_settings_out_of_range_are_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()
