"""Tests of tasks.next_item, against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import learners, models, tasks
from bigmodels.data.interactions import histories
from tests.tasks.recommending import (
  ITEMS,
  KEY,
  batch,
  catalog,
  had,
  parameters,
  ranks,
  score,
)

MODEL = models.SasRec(ITEMS, length=16, depth=1, width=16, unroll=True)


def training(found, length=16):
  columns, _ = histories._packed(found, length)
  rows = len(columns['inputs'])
  return {**{name: jnp.asarray(x) for name, x in columns.items()},
          'mask': jnp.ones(rows), 'row': jnp.arange(rows)}


def evaluation(found, part, padding=0):
  at = found.part == part
  columns = histories.before(found, found.user[at], part, 16)
  labels = np.zeros_like(columns['inputs'])
  labels[np.arange(at.sum()), columns['segments'].sum(1) - 1] = found.item[at]
  return batch(found, part, padding, **columns, labels=labels)


def made(found, **settings):
  task = tasks.next_item(MODEL, catalog=found, **settings)
  return task, jax.tree.map(lambda x: 0.3 * x, parameters(task, training(found)))


@jax.jit
def all_scores(params, inputs, segments):
  return MODEL.apply({'params': params}, inputs, jnp.arange(ITEMS), segments=segments,
                     train=False)


def test_ranks_are_those_of_a_plain_loop():
  found = catalog()
  task, params = made(found, candidates=9, top=3)
  for part in (1, 2):
    check_ranks(found, task, params, part)


def check_ranks(found, task, params, part):
  one = evaluation(found, part, padding=2)
  value, metrics, outputs = score(task, params, one)
  every = np.asarray(all_scores(params, one['inputs'], one['segments']))
  assert np.isfinite(value) and metrics['loss'].count == 12
  for row, (user, target) in enumerate(zip(
    found.user[found.part == part], found.item[found.part == part], strict=True)):
    items = found.item[(found.user == user) & (found.part < part)][-16:]
    assert one['inputs'][row, : len(items)].tolist() == items.tolist()
    scores = every[row, len(items) - 1]
    above, equal = ranks(scores, target, {*range(ITEMS)} - had(found, user))
    assert (int(outputs['above'][row]), int(outputs['equal'][row])) == (above, equal)
    free = {*range(ITEMS)} - had(found, user, part - 1)
    assert outputs['recommended'][row].tolist() == sorted(
      free, key=lambda item: -scores[item])[:3]


def test_the_full_softmax_is_the_cross_entropy_over_all_items():
  found = catalog()
  task, params = made(found, loss='full_softmax')
  one = training(found)
  value, *_ = score(task, params, one, train=True)
  total, count = 0.0, 0
  scores = np.asarray(all_scores(params, one['inputs'], one['segments']), np.float64)
  for row, position in np.argwhere(np.asarray(one['segments']) > 0):
    logits = scores[row, position]
    total += np.log(np.exp(logits).sum()) - logits[int(one['labels'][row, position])]
    count += 1
  assert value == pytest.approx(total / count, rel=1e-5)


def test_padding_has_no_loss_and_no_gradient():
  found = catalog()
  task, params = made(found, loss='full_softmax')
  one = training(found)
  one = {name: jnp.concatenate([x, jnp.zeros_like(x)]) for name, x in one.items()}
  other = {name: jnp.where(one['segments'] > 0, x, 5) if x.ndim == 2 and (
    name != 'segments') else x for name, x in one.items()}

  @jax.jit
  def descent(batch):
    return jax.value_and_grad(
      lambda p: task.loss(p, {}, batch, KEY, train=True)[0])(params)

  (value, gradient), (again, other) = descent(one), descent(other)
  assert again == pytest.approx(float(value), rel=1e-6)
  for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow('train')
@pytest.mark.parametrize(('loss', 'negatives'), [
  ('binary', 4), ('full_softmax', 1)])
def test_overfits_the_histories_of_users(loss, negatives):
  """What comes next in training is then the best of what a user does not have."""
  found = catalog()
  task, _ = made(found, loss=loss, negatives=negatives)
  learner = learners.supervised(task, optax.adam(0.01))
  one = training(found)

  @jax.jit
  def trained():
    return jax.lax.fori_loop(0, 250, lambda _, s: learner.step(s, one)[0],
                             learner.init(KEY, one))

  scores = np.asarray(all_scores(trained().params, one['inputs'], one['segments']))
  hits = []
  for row, position in np.argwhere(np.asarray(one['segments']) > 0):
    user = int(one['users'][row, position])
    label = int(one['labels'][row, position])
    others = [*({*range(ITEMS)} - had(found, user, 0))]
    hits.append(scores[row, position, label] > scores[row, position, others].max())
  assert np.mean(hits) > 0.95


@pytest.mark.parametrize(('settings', 'message'), [
  ({'loss': 'bpr'}, 'loss: must be one of binary, softmax, full_softmax'),
  ({'negatives': 0}, 'negatives: must be >= 1')])
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    tasks.next_item(MODEL, catalog=catalog(), **settings)
