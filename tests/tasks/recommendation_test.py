"""Tests of tasks.ratings and tasks.implicit, against plain loops."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models, tasks
from bigmodels.core.errors import UserError
from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.readers.users import NONE
from tests.tasks.recommending import (
  ITEMS,
  KEY,
  USERS,
  batch,
  catalog,
  had,
  parameters,
  ranks,
  score,
)

MF = models.MatrixFactorization(USERS, ITEMS, width=4)
FIXED = {'target_mean': np.array([3.0]), 'target_std': np.array([2.0])}


def implicit(found, model=MF, **settings):
  task = tasks.implicit(model, catalog=found, **settings)
  return task, parameters(task, batch(found, 0))


def all_scores(model, params, users, **features):
  return np.asarray(jax.jit(lambda: model.apply(
    {'params': params}, users, np.arange(ITEMS), **features, train=False))())


def rating_batch(found, part, padding=0, seed=0):
  rows = int((found.part == part).sum())
  labels = np.random.default_rng(seed).integers(1, 6, rows).astype(np.float32)
  return batch(found, part, padding, labels=labels)


# --- rankings ---------------------------------------------------------------------


def test_ranks_are_those_of_a_plain_loop():
  """Among all items that the user does not have, and among a sample of these."""
  found = catalog()
  task, params = implicit(found, candidates=500)
  draw = jax.jit(lambda row, user: catalogs.sampler(found).draw(
    jax.random.fold_in(jax.random.key(0), row), user, 500))
  for part in (1, 2):
    check_ranks(found, task, params, part, draw)


def check_ranks(found, task, params, part, draw):
  one = batch(found, part)
  _, _, outputs = score(task, params, one)
  scores = all_scores(MF, params, one['users'])
  popularity = found.popularity
  top = outputs['recommended']
  for row, (user, target) in enumerate(zip(
    np.asarray(one['users']), np.asarray(one['items']), strict=True)):
    others = {*range(ITEMS)} - had(found, user)
    assert (int(outputs['above'][row]), int(outputs['equal'][row])) == ranks(
      scores[row], target, others)
    assert (int(outputs['popularity_above'][row]),
            int(outputs['popularity_equal'][row])) == ranks(popularity, target, others)
    # Items of later splits can be recommended; those seen before cannot.
    free = {*range(ITEMS)} - had(found, user, part - 1)
    best = sorted(free, key=lambda item: -scores[row][item])[:10]
    assert top[row].tolist() == best
    drawn = np.asarray(draw(row, user))
    assert not {*drawn.tolist()} & had(found, user)
    assert (int(outputs['sampled_above'][row]), int(outputs['sampled_equal'][row])) == (
      ranks(scores[row], target, drawn.tolist()))
    assert outputs['popularity_sampled_equal'][row] == (
      popularity[drawn] == popularity[target]).sum()


def test_equal_scores_are_ties_and_nan_is_the_worst_rank():
  found = catalog()
  task, params = implicit(found)
  one = batch(found, 2)
  _, _, outputs = score(task, jax.tree.map(np.zeros_like, params), one)
  for row, user in enumerate(np.asarray(one['users'])):
    assert outputs['above'][row] == 0
    assert outputs['equal'][row] == ITEMS - len(had(found, user))
    assert outputs['sampled_equal'][row] == 99
  nan = jax.tree.map(lambda x: x * np.float32('nan'), params)
  _, _, outputs = score(task, nan, one)
  for row, user in enumerate(np.asarray(one['users'])):
    assert outputs['above'][row] >= ITEMS - len(had(found, user))


@pytest.mark.parametrize('train', [True, False])
def test_masked_rows_change_nothing(train):
  """Whatever is in them; and the mean is over the others."""
  found = catalog()
  task, params = implicit(found, loss='in_batch')
  one = batch(found, 2, padding=3)
  two = {**one, **{name: one[name].at[-3:].set(5) for name in ('users', 'items')}}
  value, metrics, outputs = score(task, params, one, train)
  again, other, found_again = score(task, params, two, train)
  assert again == value == pytest.approx(
    float(metrics['loss'].total) / USERS, rel=1e-6)
  assert metrics['loss'].count == other['loss'].count == USERS
  for name, array in outputs.items():
    np.testing.assert_array_equal(found_again[name][:-3], array[:-3])


# --- losses -----------------------------------------------------------------------


def test_negatives_of_a_step_are_a_function_of_seed_and_step():
  """Two learners at the same step have the same bits; other seeds and steps not."""
  found = catalog()
  task, _ = implicit(found)
  learner = learners.supervised(task, optax.sgd(0.0))
  one = batch(found, 0)

  init, step = jax.jit(learner.init), jax.jit(learner.step)

  def losses_of(seed, steps):
    state = init(jax.random.PRNGKey(seed), one)
    state = state._replace(params=jax.tree.map(lambda x: x + 0.5, state.params))
    out = []
    for _ in range(steps):
      state, metrics = step(state, one)
      out.append(float(metrics['loss'].total))
    return out

  first = losses_of(0, 3)
  assert losses_of(0, 3) == first
  assert len({*first, *losses_of(1, 3)}) == 6


def test_training_draws_no_item_that_the_user_has_in_training():
  """With a score of -1e4 for those of training, no other item may cost anything."""
  found = catalog()

  known = np.zeros((USERS, ITEMS), bool)
  known[found.user[found.part == 0], found.item[found.part == 0]] = True

  class Known(nn.Module):
    @nn.compact
    def __call__(self, users, items, *, train):
      scale = self.param('scale', lambda key: jnp.ones(()))
      return scale * jnp.where(jnp.asarray(known)[users[:, None], items], 1e4, -1e4)

  for loss in ('binary', 'softmax'):
    task = tasks.implicit(Known(), catalog=found, loss=loss, negatives=64)
    ones, of_train = {'scale': np.float32(1)}, batch(found, 0)
    assert score(task, ones, of_train, train=True)[0] == 0.0
    # Those of other splits are drawn: they are not known in training.
    of_test = batch(found, 2, padding=len(of_train['users']) - USERS)
    assert score(task, ones, of_test, train=True)[0] > 4


def test_in_batch_negatives_are_items_of_other_rows_that_the_user_does_not_have():
  found = catalog()
  task, params = implicit(found, loss='in_batch')
  one = batch(found, 0)
  users, items = (np.asarray(one[name]) for name in ('users', 'items'))
  value, *_ = score(task, params, one, train=True)
  scores = all_scores(MF, params, users)[:, items].astype(np.float64)
  q = np.bincount(items, minlength=ITEMS) / len(items)
  total = 0.0
  for row, user in enumerate(users):
    logits = [scores[row, row] - np.log(q[items[row]])]
    logits += [scores[row, j] - np.log(q[items[j]]) for j in range(len(items))
               if items[j] not in had(found, user, 0)]
    total += np.log(np.sum(np.exp(logits))) - logits[0]
  assert value == pytest.approx(total / len(users), rel=1e-4)


@pytest.mark.slow('train')
@pytest.mark.parametrize(('model', 'loss'), [
  (models.NeuMf(USERS, ITEMS, width=8, hidden=(16, 8)), 'binary'),
  (models.TwoTower(USERS, ITEMS, width=16, hidden=(32,)), 'in_batch')],
  ids=['neumf', 'two towers'])
def test_overfits_what_users_have(model, loss):
  """All that a user has in training comes before all that the user does not."""
  found = catalog()
  task = tasks.implicit(model, catalog=found, loss=loss)
  learner = learners.supervised(task, optax.adam(0.02))
  one = batch(found, 0)

  @jax.jit
  def trained():
    return jax.lax.fori_loop(0, 300, lambda _, s: learner.step(s, one)[0],
                             learner.init(KEY, one))

  scores = all_scores(model, trained().params, np.arange(USERS))
  # What nobody has in training is in no batch.
  of_train = {*found.item[found.part == 0].tolist()}
  every = {*range(ITEMS)} if loss == 'binary' else of_train
  for user in range(USERS):
    mine = [*had(found, user, 0)]
    others = [*(every - {*mine})]
    assert scores[user][mine].min() > scores[user][others].max()


# --- ratings ----------------------------------------------------------------------


def test_ratings_are_scaled_clipped_and_beside_the_biases():
  found = catalog(ratings=True)
  task = tasks.ratings(MF, catalog=found, **FIXED)
  one = rating_batch(found, 2, padding=2)
  params = parameters(task, one)
  value, metrics, outputs = score(task, params, one)
  users, items, targets = (np.asarray(one[name])[:-2]
                           for name in ('users', 'items', 'labels'))
  raw = all_scores(MF, params, users)[np.arange(len(users)), items]
  np.testing.assert_allclose(outputs['predictions'][:-2, 0], np.clip(2 * raw + 3, 1, 5),
                             rtol=1e-5)
  assert metrics['loss'].count == len(users)
  expected = np.mean((raw - (targets - 3) / 2) ** 2)
  assert value == pytest.approx(expected, rel=1e-5)
  biases = found.biases
  expected = np.clip(
    biases['mean'] + biases['users'][users] + biases['items'][items], 1, 5)
  np.testing.assert_allclose(outputs['of_biases'][:-2, 0], expected, rtol=1e-5)
  summary = task.summarize({name: x[:-2] for name, x in outputs.items()})
  assert summary['rmse'] == pytest.approx(
    np.sqrt(np.mean((np.clip(2 * raw + 3, 1, 5) - targets) ** 2)), rel=1e-5)
  assert summary['biases_rmse'] == pytest.approx(
    np.sqrt(np.mean((expected - targets) ** 2)), rel=1e-5)


def test_unknown_users_and_items_are_rated_by_what_is_known():
  found = catalog(ratings=True)
  task = tasks.ratings(MF, catalog=found, **FIXED)
  one = rating_batch(found, 2)
  params = jax.tree.map(lambda x: 0.3 * x, parameters(task, one))
  one = {**one, 'items': jnp.full_like(one['items'], -1)}
  _, _, outputs = score(task, params, one)
  users = np.asarray(one['users'])
  bias = params['user_biases']['embedding'][users]
  np.testing.assert_allclose(outputs['predictions'], np.clip(3 + 2 * bias, 1, 5),
                             rtol=1e-5)
  np.testing.assert_allclose(
    outputs['of_biases'][:, 0], found.biases['mean'] + found.biases['users'][users],
    rtol=1e-5)


def test_lists_are_of_rated_items_that_the_user_does_not_have():
  found = catalog(ratings=True)
  task = tasks.ratings(MF, catalog=found, top=4, **FIXED)
  one = rating_batch(found, 2)
  params = parameters(task, one)
  asked = {**one, 'items': jnp.full_like(one['items'], NONE),
           'seen': jnp.full_like(one['seen'], 3)}
  _, _, outputs = score(task, params, asked)
  rated = {*np.flatnonzero(found.popularity).tolist()}
  for row, user in enumerate(np.asarray(one['users'])):
    assert {*outputs['recommended'][row].tolist()} <= rated - had(found, user)
  answers = task.answers(outputs)
  assert [*answers] == ['item_1', 'score_1', 'item_2', 'score_2', 'item_3', 'score_3',
                        'item_4', 'score_4']
  assert answers['item_1'][0] == found.items[outputs['recommended'][0, 0]]
  assert [*task.answers(score(task, params, one)[2])] == ['prediction']


def test_the_penalty_is_part_of_the_loss_in_training_only():
  found = catalog(ratings=True)
  one = rating_batch(found, 0)
  values = {}
  for penalty in (0.0, 1.0):
    task = tasks.ratings(MF.clone(penalty=penalty), catalog=found, **FIXED)
    params = parameters(task, one)
    for train in (True, False):
      values[penalty, train] = score(task, params, one, train)[0]
  assert values[0.0, True] == pytest.approx(values[0.0, False], rel=1e-6)
  assert values[0.0, False] == values[1.0, False]
  p = {name: params[name]['embedding'] for name in ('users', 'items')}
  expected = np.mean((p['users'][np.asarray(one['users'])] ** 2).sum(1)
                     + (p['items'][np.asarray(one['items'])] ** 2).sum(1))
  assert values[1.0, True] - values[0.0, True] == pytest.approx(expected, rel=1e-4)


def without_training(found, user):
  """The catalog, with the interactions of a user in training moved to the test."""
  moved = (found.user == user) & (found.part == 0)
  return found._replace(part=np.where(moved, 2, found.part).astype(np.int8))


def test_users_who_are_only_tested_have_no_vector_and_keep_their_items():
  """Their features are theirs, and none of their items is a candidate."""
  found = without_training(catalog(), 3)
  rng = np.random.default_rng(0)
  features = rng.normal(size=(USERS, 2)).astype(np.float32)
  categories = rng.integers(0, 5, (ITEMS, 3)).astype(np.int32)
  found = found._replace(num_categories=5, features={
    'user_numbers': features, 'item_categories': categories})
  model = models.Dlrm(USERS, ITEMS, 5, width=4, bottom=(8,), top=(8,))
  task, params = implicit(found, model, candidates=200)
  one = batch(found, 2)
  users, items = (np.asarray(one[name]) for name in ('users', 'items'))
  _, _, outputs = score(task, params, one)
  scores = all_scores(model, params, np.where(users == 3, -1, users),
                      user_numbers=features[users], item_categories=categories)
  assert (users == 3).sum() > 3
  for row, (user, target) in enumerate(zip(users, items, strict=True)):
    others = {*range(ITEMS)} - had(found, user)
    assert (outputs['above'][row], outputs['equal'][row]) == ranks(
      scores[row], target, others)
    assert outputs['sampled_equal'][row] == 0  # the item itself is not drawn


def test_ratings_of_users_and_items_without_training_are_by_what_is_left():
  found = catalog(ratings=True)
  found = found._replace(part=np.where(
    (found.user == 3) | (found.item == found.item[0]), 2, found.part).astype(np.int8))
  task = tasks.ratings(MF, catalog=found, **FIXED)
  one = rating_batch(found, 2)
  params = jax.tree.map(lambda x: 0.3 * x, parameters(task, one))
  _, _, outputs = score(task, params, one)
  users, items = (np.asarray(one[name]) for name in ('users', 'items'))
  t = {name: params[name]['embedding'] for name in params}
  cold_user, cold_item = users == 3, ~found.trained[1][items]
  assert cold_user.any() and cold_item.any()
  expected = np.where(cold_user | cold_item, 0, (t['users'][users] * t['items'][items]
                                                 ).sum(1))
  expected += np.where(cold_user, 0, t['user_biases'][users, 0])
  expected += np.where(cold_item, 0, t['item_biases'][items, 0])
  np.testing.assert_allclose(outputs['predictions'][:, 0],
                             np.clip(3 + 2 * expected, 1, 5), rtol=1e-5)


# --- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize(('settings', 'message'), [
  ({'loss': 'bpr'}, 'loss: must be one of binary, softmax, in_batch'),
  ({'negatives': 0}, 'negatives: must be >= 1, got 0'),
  ({'candidates': 0}, 'candidates: must be >= 1, got 0'),
  ({'top': 0}, 'top: must be >= 1, got 0')])
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    tasks.implicit(MF, catalog=catalog(), **settings)


def test_a_catalog_without_a_negative_is_refused():
  found = catalog()
  every = np.arange(ITEMS, dtype=np.int32)
  found = found._replace(
    user=np.append(found.user, every * 0), item=np.append(found.item, every),
    part=np.append(found.part, (every * 0).astype(np.int8)))
  with pytest.raises(UserError, match="user 'u0' has all 30 items"):
    tasks.implicit(MF, catalog=found)
  # Ratings need none.
  rated = found._replace(scale=(1, 5), biases=catalog(ratings=True).biases)
  tasks.ratings(MF, catalog=rated, **FIXED)


def test_ratings_and_choices_are_not_mixed_up():
  with pytest.raises(ValueError, match='ratings: needs data'):
    tasks.ratings(MF, catalog=catalog(), **FIXED)
  with pytest.raises(ValueError, match='implicit: needs data'):
    tasks.implicit(MF, catalog=catalog(ratings=True))


def test_other_data_is_refused():
  task = tasks.implicit(MF, catalog=catalog())
  with pytest.raises(ValueError, match="needs the column 'users', as of data"):
    task.init(KEY, {'inputs': jnp.zeros((2, 3)), 'mask': jnp.ones(2)})
