"""Tests of bigmodels.tasks.embedding."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import losses, metrics, models, plots
from bigmodels.core.errors import UserError
from bigmodels.core.vectors import unit_length
from bigmodels.tasks import Split, embedding

KEY = jax.random.key(0)
NAMES = ('Ada', 'Bo', 'Cy', 'Di')
TRAINING = SimpleNamespace(classes=NAMES)
MODEL = models.Linear(num_outputs=3)
LOSS = partial(losses.triplet, margin=0.7, mining='batch_hard')
TASK = embedding(MODEL, LOSS, nearest=3, rate=0.25, training=TRAINING)
STEP = jax.jit(partial(TASK.loss, train=True))
EVALUATE = jax.jit(partial(TASK.loss, train=False))


def batch_of(seed=0, labels=(0, 0, 1, 1, 2, 2), mask=(1, 1, 1, 1, 1, 0)):
  rng = np.random.default_rng(seed)
  inputs = rng.normal(size=(6, 5)).astype(np.float32)
  inputs[np.array(mask) == 0] = np.nan  # which must not matter
  return {'inputs': jnp.array(inputs), 'labels': jnp.array(labels),
          'mask': jnp.float32(mask), 'row': jnp.arange(6)}


PARAMS, STATE = TASK.init(KEY, batch_of(mask=(1,) * 6))


def vectors(batch):
  """The embeddings of the examples that are not masked, by NumPy."""
  layer = jax.tree.map(np.float64, PARAMS)['Dense_0']
  x = np.float64(batch['inputs'])[np.asarray(batch['mask']) > 0]
  x = x @ layer['kernel'] + layer['bias']
  return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_loss_is_that_of_unit_vectors():
  batch = batch_of()
  value, (_, found, outputs) = STEP(PARAMS, STATE, batch, KEY)
  x, expected = vectors(batch), []
  for a in range(4):  # the fifth has no positive: the sixth is masked
    d = ((x - x[a]) ** 2).sum(1)
    expected.append(max(0, d[a ^ 1] - min(
      d[i] for i in range(5) if i // 2 != a // 2) + 0.7))
  assert value == pytest.approx(np.mean(expected), rel=1e-5)
  assert found['loss'].count == 4 and outputs == {}
  assert found['active'].total == np.count_nonzero(expected)


def test_the_mean_of_an_identity_moves_with_the_batches_that_have_it():
  state, means = STATE, {}
  for seed, labels in ((0, (0, 0, 1, 1, 0, 3)), (1, (1, 1, 0, 0, 1, 3)),
                       (2, (0, 0, 0, 0, 0, 0))):
    batch = batch_of(seed, labels)  # the last one, 3, is masked
    _, (state, _, _) = STEP(PARAMS, state, batch, KEY)
    x = vectors(batch)
    for number in {*labels[:5]}:
      latest = x[np.array(labels[:5]) == number].mean(0)
      old = means.get(number, latest)
      means[number] = old + 0.25 * (latest - old)
  expected = np.array([means.get(number, np.zeros(3)) for number in range(4)])
  np.testing.assert_allclose(state['identities'], expected, atol=1e-6)
  assert not np.asarray(STATE['identities']).any()


def test_the_nearest_identities_have_the_highest_mean_cosine():
  means = np.array([[0.5, 0, 0], [0, 0.9, 0], [0, 0, 0], [-0.6, 0, 0.2]], np.float32)
  batch = batch_of(3, mask=(1,) * 6)
  _, (state, _, outputs) = EVALUATE(PARAMS, {'identities': means}, batch, KEY)
  similar = vectors(batch) @ means.T
  similar[:, 2] = -np.inf  # it has not been seen
  order = np.argsort(-similar, 1)[:, :3]
  np.testing.assert_array_equal(outputs['nearest'], order)
  np.testing.assert_allclose(
    outputs['similarities'], np.take_along_axis(similar, order, 1), atol=1e-5)
  np.testing.assert_allclose(outputs['embeddings'], vectors(batch), atol=1e-5)
  np.testing.assert_array_equal(state['identities'], means)


def test_an_embedding_may_be_the_mean_over_views():
  task = embedding(MODEL, LOSS, training=TRAINING, test_time=lambda x: (
    (1, x), (3, x[:, ::-1])))
  batch = batch_of(3, mask=(1,) * 6)
  _, (_, _, outputs) = jax.jit(partial(task.loss, train=False))(
    PARAMS, STATE, batch, KEY)
  mean = vectors(batch) + 3 * vectors({**batch, 'inputs': batch['inputs'][:, ::-1]})
  mean /= np.linalg.norm(mean, axis=1, keepdims=True)
  np.testing.assert_allclose(outputs['embeddings'], mean, atol=1e-5)


def test_unknown_people_have_no_identity():
  outputs = {'embeddings': np.eye(3, dtype=np.float32),
             'nearest': np.array([[1, 0], [3, 2], [0, 1]]),
             'similarities': np.array([[0.8, 0.1], [0.3, 0.2], [0.5, 0.4]])}
  decided = TASK.threshold.decide(outputs, 0.5)
  assert decided.tolist() == [1, -1, 0]
  found = TASK.answers({**outputs, 'predictions': decided})
  assert found['identity'] == ['Bo', None, 'Ada']
  assert found['nearest_2'] == ['Ada', 'Cy', 'Bo']
  assert found['similarity_1'].tolist() == [0.8, 0.3, 0.5]
  assert TASK.answers(outputs)['identity'] == ['Bo', 'Di', 'Ada']  # no threshold
  assert embedding(MODEL, threshold=0.4, training=TRAINING).threshold.by == 0.4


def test_identities_that_training_has_not_seen_are_not_near():
  means = np.zeros((4, 3), np.float32)
  means[2] = 1, 0, 0  # the only one
  _, (_, _, outputs) = EVALUATE(
    PARAMS, {**STATE, 'identities': jnp.array(means)}, batch_of(), KEY)
  outputs = {name: np.asarray(outputs[name])[:5] for name in TASK.predictions}
  found = TASK.answers(outputs)
  assert found['nearest_1'] == ['Cy'] * 5 == found['identity']
  np.testing.assert_allclose(
    found['similarity_1'], vectors(batch_of())[:, 0], atol=1e-5)
  for place in (2, 3):
    assert found[f'nearest_{place}'] == [None] * 5
    assert np.ma.getmaskarray(found[f'similarity_{place}']).all()
  none = np.full((5, 3), -np.inf, np.float32)
  assert TASK.answers({**outputs, 'similarities': none})['identity'] == [None] * 5


def test_a_loss_with_prototypes_has_no_value_for_other_people():
  model = models.WithPrototypes(models.Linear, num_outputs=4, width=3)
  task = embedding(model, losses.arc_face, training=TRAINING)
  batch = batch_of(mask=(1,) * 6)
  params, state = task.init(KEY, batch)
  assert params['prototypes'].shape == (4, 3) and state['identities'].shape == (4, 3)
  value, (_, found, _) = jax.jit(partial(task.loss, train=True))(
    params, state, batch, KEY)
  layer = jax.tree.map(np.float64, params)
  x = np.float64(batch['inputs']) @ layer['network']['Dense_0']['kernel']
  cosines = unit_length(x) @ unit_length(params['prototypes']).T
  assert found['loss'].count == 6
  # Without a margin the loss would be smaller: it is that of the cosines.
  plain = -jax.nn.log_softmax(64 * cosines)[np.arange(6), batch['labels']].mean()
  assert value > plain > 0
  _, (_, found, outputs) = jax.jit(partial(task.loss, train=False))(
    params, state, batch, KEY)
  assert found['loss'].compute() is None and outputs['embeddings'].shape == (6, 3)


def test_data_and_settings_that_do_not_fit():
  for settings, message in (({'threshold': 1.5}, 'threshold: must be > -1 and < 1'),
                            ({'nearest': 0}, 'nearest: must be >= 1'),
                            ({'rate': 0}, 'rate: must be > 0')):
    with pytest.raises(ValueError, match=message):
      embedding(MODEL, training=TRAINING, **settings)
  with pytest.raises(UserError, match='needs training data with classes'):
    embedding(MODEL, training=SimpleNamespace(classes=None))
  said = []

  def split(**outputs):
    TASK.check(Split('test', 6, None, False, None, outputs, None, said.append))

  with pytest.raises(UserError, match='test: has no labels'):
    split(embeddings=1)
  split(embeddings=1, labels=1, partners=1)
  assert said == []
  split(embeddings=1, labels=1)
  assert said == ['test: has no pairs, see data.Pairs: there is no ROC AUC, and no '
                  'threshold can be chosen on it']


def test_the_report_shows_curves_pairs_and_embeddings():
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(6), 3)
  x = rng.normal(size=(6, 4))[labels] + rng.normal(size=(18, 4))
  x /= np.linalg.norm(x, axis=1, keepdims=True)
  outputs = {'embeddings': x, 'labels': labels, 'row': np.arange(18),
             'partners': np.stack([np.arange(18) - 1, (np.arange(18) + 5) % 18], 1)}
  read = []

  def images(rows):
    read.append(rows)
    return np.zeros((len(rows), 4, 4, 3), np.uint8)

  inputs = plots.Inputs(images, lambda rows: [
    {'identity': f'person {labels[row]}'} for row in rows])
  figures = TASK.plots(outputs, inputs, None, threshold=0.5)
  assert [*figures] == [
    'ROC curve', 'Similarities', 'Most similar of two identities',
    'Least similar of one identity', 'Embeddings']
  found = metrics.pairs(outputs)
  hardest = np.flatnonzero(~found.same)[np.argsort(-found.similarities[~found.same])]
  np.testing.assert_array_equal(read[0], found.first[hardest[:10]])
  np.testing.assert_array_equal(read[1], found.second[hardest[:10]])
  names = [text.get_text() for text in
           figures['Embeddings'].axes[0].get_legend().get_texts()]
  assert names == [f'person {i}' for i in range(6)]
  drawn = figures['Embeddings'].axes[0].get_lines()[1:]
  center = x - x.mean(0)
  values = np.linalg.eigvalsh(center.T @ center)[::-1]
  points = np.concatenate([line.get_xydata() for line in drawn])
  np.testing.assert_allclose((points**2).sum(0), values[:2])  # what the axes explain
  del outputs['partners']
  assert [*TASK.plots(outputs, inputs, None)] == ['Embeddings']
