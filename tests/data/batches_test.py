"""Tests of bigmodels.data.batches: every row is where it belongs, streamed or not."""

import collections
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import batches, sources, transforms
from bigmodels.data.batches import Batches
from bigmodels.data.order import Order, permutation
from bigmodels.parallel import layout
from bigmodels.parallel.random import slice_key
from bigmodels.parallel.sharding import MeshShape

KEY = jax.random.key(0)
ONE = layout.make_layout(MeshShape(), 'jit', ())


def dataset(length=10):
  """Rows that have their number: inputs are images full of it, labels 10 times it."""
  rows = np.arange(length)
  inputs = np.ones((length, 4, 3, 2), np.uint8) * rows[:, None, None, None]
  return sources.in_memory(
    {'inputs': inputs.astype(np.uint8), 'labels': 10 * rows.astype(np.int32)}, None)


def damaged(data, rows):
  """The same, with rows that cannot be decoded."""
  columns = data.load()
  corrupt = np.isin(np.arange(data.length), rows)
  columns = {name: np.where(corrupt.reshape(-1, *[1] * (column.ndim - 1)), 0, column)
             .astype(column.dtype) for name, column in columns.items()}
  return sources.in_memory({**columns, 'corrupt': corrupt}, data.classes)


def loader(data, *, batch_size=4, seed=0, shuffle=True, steps=8, given=(),
           microbatches=1, say=print, name='train', mesh=ONE, **keywords):
  context = sources.DataContext(None, None, {}, say)
  return batches.open_loader(
    Batches(source=None, batch_size=batch_size, **keywords), name, context, mesh,
    dataset=data, seed=seed, shuffle=shuffle, steps=steps, transforms=given,
    microbatches=microbatches)


def at(opened, step, key=KEY):
  """The batch of a step."""
  batch, keys = jax.jit(opened.batch), key[None]
  if opened.microbatches > 1:
    keys = jax.vmap(partial(slice_key, jax.random.key_data(key)))(
      jnp.arange(opened.microbatches))
  return jax.tree.map(np.asarray, batch(
    opened.resident, opened.host_batch(step, 1), 0, keys))


# --- rows gathered from smaller arrays -------------------------------------------


@pytest.mark.parametrize('microbatches', [1, 2])
def test_columns_that_are_gathered_are_those_of_any_split(microbatches):
  """Only the arrays of the split are on the device, not its columns."""
  line, width = np.arange(100.0, 130.0, dtype=np.float32), 5
  windows = np.lib.stride_tricks.sliding_window_view(line, width)
  plain = sources.in_memory({'inputs': windows}, None)

  def gather(arrays, rows):
    return {'inputs': arrays['line'][rows[..., None] + np.arange(width)]}

  compact = plain._replace(
    nbytes=line.nbytes, compact=sources.Compact(lambda: {'line': line}, gather))
  ours, theirs = (loader(data, batch_size=8, microbatches=microbatches)
                  for data in (compact, plain))
  assert [array.shape for array in ours.resident.values()] == [(30,)]
  for step in range(4):
    found, expected = at(ours, step), at(theirs, step)
    assert found.keys() == expected.keys()
    for name in expected:
      np.testing.assert_array_equal(found[name], expected[name])


# --- order ----------------------------------------------------------------------


@pytest.mark.parametrize('length, size', [(10, 5), (10, 4), (7, 3), (3, 3), (5, 12)])
def test_every_epoch_sees_every_row_once(length, size):
  order = Order(length, size, 3, True)
  steps = -(-4 * length // size)
  rows = np.concatenate([order.rows(step) for step in range(steps)])
  assert rows.dtype == np.int32
  epochs = rows[: 4 * length].reshape(4, length)
  np.testing.assert_array_equal(np.sort(epochs), [range(length)] * 4)
  assert order.steps_per_epoch == length / size
  epochs = np.concatenate([order.epochs(step) for step in range(steps)])
  assert epochs.dtype == np.int32
  np.testing.assert_array_equal(epochs, np.arange(steps * size) // length)


def test_epochs_and_seeds_have_orders_of_their_own():
  def orders(seed):
    return [Order(50, 50, seed, True).rows(epoch).tolist() for epoch in range(3)]

  every = orders(0) + orders(1) + orders(2) + [list(range(50))]
  assert all(a != b for a, b in itertools.combinations(every, 2))


def test_rows_depend_on_seed_and_step_alone():
  forwards, backwards = Order(10, 4, 7, True), Order(10, 4, 7, True)
  expected = {step: forwards.rows(step).tolist() for step in range(40)}
  permutation.cache_clear()
  for step in reversed(range(40)):
    rows = backwards.rows(step)
    assert rows.tolist() == expected[step]
    rows[:] = 0  # what the caller does to them is nobody else's business
    assert forwards.rows(step).tolist() == expected[step]


def test_rows_do_not_depend_on_the_batch_size():
  small, large = Order(10, 2, 1, True), Order(10, 6, 1, True)
  np.testing.assert_array_equal(
    np.concatenate([small.rows(step) for step in range(9)]),
    np.concatenate([large.rows(step) for step in range(3)]))


def test_permutations_are_evenly_spread():
  counts = collections.Counter(
    tuple(permutation(3, seed, epoch).tolist())
    for seed in range(40) for epoch in range(30))
  assert len(counts) == 6
  expected = 40 * 30 / 6
  assert sum((c - expected) ** 2 / expected for c in counts.values()) < 20.5  # p 1e-3


def test_evaluation_reads_once_and_pads_with_minus_1():
  order = Order(7, 3, 5, False)
  rows = [order.rows(step).tolist() for step in range(4)]
  assert rows == [[0, 1, 2], [3, 4, 5], [6, -1, -1], [-1, -1, -1]]
  assert not any(order.epochs(step).any() for step in range(4))


def test_a_late_step_is_exact():
  order = Order(10, 3, 0, True)
  step = 2**40
  epoch, place = divmod(step * 3, 10)
  expected = permutation(10, 0, epoch)[place : place + 3]
  np.testing.assert_array_equal(order.rows(step)[: len(expected)], expected)
  assert order.epochs(2**32 // 3)[0] == (2**32 // 3) * 3 // 10


# --- resident and streamed ------------------------------------------------------


@pytest.mark.parametrize('settings, steps', [
  ({'resident': True}, (0, 1, 2, 5, 6, 3, 7)),  # it starts again at any other step
  ({'resident': False}, (0, 1, 2, 5, 6, 3, 7)),
  ({'resident': False, 'workers': 2}, (5, 6, 7)),  # starting processes takes seconds
])
def test_batches_hold_the_rows_of_their_steps(settings, steps, parsed_flags):
  opened = loader(dataset(), **settings)
  for step in steps:
    rows, batch = Order(10, 4, 0, True).rows(step), at(opened, step)
    np.testing.assert_array_equal(batch['labels'], 10 * rows)
    np.testing.assert_array_equal(batch['inputs'][:, 3, 2, 1], rows)
    np.testing.assert_array_equal(batch['mask'], np.ones(4))
    assert batch['inputs'].shape == (4, 4, 3, 2)
    assert batch['inputs'].dtype == np.uint8 and batch['mask'].dtype == np.float32
  opened.close()


@pytest.mark.parametrize('resident', [True, False])
def test_evaluation_masks_padding(resident):
  opened = loader(dataset(), shuffle=False, steps=0, resident=resident)
  for _ in range(2):  # twice over
    seen = [at(opened, step) for step in range(3)]
    mask = np.concatenate([batch['mask'] for batch in seen])
    np.testing.assert_array_equal(mask, [1] * 10 + [0, 0])
    labels = np.concatenate([batch['labels'] for batch in seen])
    np.testing.assert_array_equal(labels[:10], 10 * np.arange(10))
  opened.close()


def test_resident_and_streamed_batches_are_identical():
  given = (partial(transforms.standardize, mean=[4.0, 5.0], std=[2.0, 3.0]),
           partial(transforms.shift, pixels=1), partial(transforms.noise, std=0.1))
  resident, streamed = (loader(dataset(), given=given, resident=r) for r in (True,
                                                                             False))
  for step in (0, 1, 2):  # the third goes on into the next epoch
    key = jax.random.fold_in(KEY, step)
    expected, actual = at(resident, step, key), at(streamed, step, key)
    assert expected.keys() == actual.keys() == {
      'inputs', 'labels', 'mask', 'row', 'epoch'}
    for name in expected:
      np.testing.assert_array_equal(actual[name], expected[name])
  streamed.close()


@pytest.mark.parametrize('microbatches', [1, 2])
@pytest.mark.parametrize('resident', [True, False])
def test_a_batch_knows_its_rows_and_epochs(resident, microbatches):
  opened = loader(dataset(), resident=resident, microbatches=microbatches)
  seen = [at(opened, step) for step in range(5)]  # twice through; the third is in both
  shape = (4,) if microbatches == 1 else (microbatches, 4 // microbatches)
  assert all(batch[k].shape == shape for batch in seen for k in ('row', 'epoch'))
  rows, epochs, labels = (
    np.concatenate([batch[k].ravel() for batch in seen])
    for k in ('row', 'epoch', 'labels'))
  assert rows.dtype == epochs.dtype == np.int32
  np.testing.assert_array_equal(labels, 10 * rows)
  np.testing.assert_array_equal(epochs, [0] * 10 + [1] * 10)
  opened.close()


@pytest.mark.parametrize('resident', [True, False])
def test_an_evaluation_is_epoch_0_and_padding_is_row_0(resident):
  opened = loader(dataset(), shuffle=False, steps=0, resident=resident)
  seen = [at(opened, step) for step in range(3)]
  rows = np.concatenate([batch['row'] for batch in seen])
  np.testing.assert_array_equal(rows, [*range(10), 0, 0])
  assert not any(batch['epoch'].any() for batch in seen)
  opened.close()


@pytest.mark.parametrize('microbatches', [1, 2])
@pytest.mark.parametrize('resident', [True, False])
def test_alternating_flips_show_every_image_from_both_sides(resident, microbatches):
  images = np.zeros((40, 2, 2, 1), np.uint8)
  images[:, :, 0] = 1  # the left half is bright
  data = sources.in_memory(
    {'inputs': images, 'labels': np.arange(40, dtype=np.int32)}, None)
  opened = loader(data, batch_size=16, steps=15, resident=resident,
                microbatches=microbatches, given=(transforms.alternating_flip,))
  shown = np.zeros((6, 40), int)
  for step in range(15):
    key = jax.random.fold_in(KEY, step)
    batch = jax.tree.map(lambda x: x.reshape(16, *x.shape[(microbatches > 1) + 1:]),
                         at(opened, step, key))
    shown[batch['epoch'], batch['row']] = batch['inputs'][:, 0, 1, 0]
  np.testing.assert_array_equal(shown[:-1] + shown[1:], np.ones((5, 40)))
  assert 8 < shown[0].sum() < 32  # 4 deviations
  opened.close()


def test_transforms_run_in_order_with_keys_of_their_own():
  keys = []

  def add(batch, key, *, amount):
    keys.append(key)
    return {**batch, 'inputs': 2 * (batch['inputs'].astype(jnp.int32) + amount)}

  opened = loader(dataset(), given=(partial(add, amount=1), partial(add, amount=5)))
  host_batch = opened.host_batch(3, 1)
  batch = opened.batch(opened.resident, host_batch, 0, KEY[None])
  rows = Order(10, 4, 0, True).rows(3)
  np.testing.assert_array_equal(
    batch['inputs'][:, 0, 0, 0], 2 * (2 * (rows + 1) + 5))
  first, second = (jax.random.key_data(key).tolist() for key in keys)
  assert first != second


def test_one_resident_dispatch_holds_many_steps():
  opened = loader(dataset())
  host_batch = opened.host_batch(5, 3)
  batch = jax.jit(opened.batch)
  for index in range(3):
    labels = batch(opened.resident, host_batch, index, KEY[None])['labels']
    np.testing.assert_array_equal(labels, 10 * Order(10, 4, 0, True).rows(5 + index))
  shapes = {jax.tree.map(np.shape, opened.host_batch(0, n))['rows'] for n in (1, 3, 64)}
  assert len(shapes) == 1  # so that it compiles once


def test_size_decides_unless_set(monkeypatch):
  data = dataset()
  assert loader(data).resident and loader(data).most > 1
  monkeypatch.setattr(batches, 'RESIDENT_BYTES', data.nbytes - 1)
  assert not loader(data).resident and loader(data).most == 1
  assert loader(data, resident=True).resident
  monkeypatch.setattr(batches, 'RESIDENT_BYTES', data.nbytes)
  assert loader(data).resident
  assert not loader(data._replace(nbytes=None)).resident


def test_no_batch_size_takes_the_whole_split():
  batch = at(loader(dataset(), batch_size=None), 2)
  assert sorted(batch['labels']) == list(range(0, 100, 10))


def test_a_batch_larger_than_the_split():
  with pytest.raises(UserError, match=r'train\.batch_size=11: .* only 10 examples'):
    loader(dataset(), batch_size=11)
  batch = at(loader(dataset(), batch_size=11, shuffle=False), 0)
  np.testing.assert_array_equal(batch['labels'], 10 * np.arange(10))


def test_data_that_changed_is_refused():
  context = sources.DataContext(None, None, {})

  def open_it(data):
    batches.open_loader(Batches(source=None, batch_size=2), 'train', context, ONE,
                      dataset=data, seed=0, shuffle=True, steps=1, transforms=())

  open_it(dataset())
  open_it(dataset())
  with pytest.raises(UserError, match="data of 'train' has changed"):
    open_it(dataset(9))


@pytest.mark.parametrize('bad', [{'batch_size': 0}, {'batch_size': 2, 'workers': -1},
                                 {'batch_size': 2, 'corrupt': -1}])
def test_batches_refuse(bad):
  with pytest.raises(ValueError, match='must be >= '):
    Batches(source=None, **bad)


# --- examples that cannot be learned from ---------------------------------------


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('resident', [True, False])
def test_corrupt_examples_are_masked_and_reported_once(resident, shuffle):
  said = []
  data = damaged(dataset(), [2, 7])._replace(
    describe=lambda row: f'image {row}.jpg: no image')
  opened = loader(data, shuffle=shuffle, resident=resident, corrupt=2, say=said.append)
  clean = loader(dataset(), shuffle=shuffle, resident=resident)
  for _ in range(2):
    for step in range(3):
      batch, whole = at(opened, step), at(clean, step)
      bad = np.isin(whole['row'], [2, 7])
      np.testing.assert_array_equal(batch['mask'], np.where(bad, 0, whole['mask']))
      np.testing.assert_array_equal(batch['row'], np.where(bad, 0, whole['row']))
      for name in ('inputs', 'labels'):
        good = batch['mask'] > 0
        np.testing.assert_array_equal(batch[name][good], whole[name][good])
      assert 'corrupt' not in batch
  path = 'train' if shuffle else 'evals.train'
  assert sorted(line.partition(' (')[0] for line in said) == [
    f'{path}: skipped as corrupt: row {row}' for row in (2, 7)]
  assert '(image 7.jpg: no image)' in ''.join(said)
  opened.close()
  clean.close()


@pytest.mark.parametrize('resident', [True, False])
def test_more_corrupt_examples_than_are_accepted(resident):
  data = damaged(dataset(), [2, 5, 7])
  with pytest.raises(UserError, match=r'more corrupt examples than --config\.evals\.'
                     r'test\.corrupt allows, 2: rows 2, 5, 7; the last is row 7'):
    opened = loader(data, resident=resident, corrupt=2, shuffle=False, name='test')
    for step in range(3):
      at(opened, step)


@pytest.mark.parametrize('length, most', [(10, 1), (1999, 1), (5000, 5)])
def test_one_in_a_thousand_may_be_corrupt_by_default(length, most):
  said = []
  loader(damaged(dataset(length), range(most)), resident=True, say=said.append)
  assert len(said) == most and f'at most {most})' in said[0]
  with pytest.raises(UserError, match=rf'corrupt allows, {most}:'):
    loader(damaged(dataset(length), range(most + 1)), resident=True)


@pytest.mark.parametrize('resident', [True, False])
@pytest.mark.parametrize('label', [-1, 3, 255])
def test_a_label_that_is_no_class_is_refused(label, resident):
  columns = dataset().load()
  columns['labels'] = np.arange(10, dtype=np.int32) % 3
  columns['labels'][6] = label
  data = sources.in_memory(columns, ('cat', 'dog', 'newt'))
  data = data._replace(describe=lambda row: f'image {row}.jpg')
  with pytest.raises(UserError, match=rf'train: the label of row 6 is {label}, must be '
                     r'0 to 2 for 3 classes \(image 6\.jpg\)'):
    opened = loader(data, resident=resident)
    for step in range(3):
      at(opened, step)


def test_labels_of_corrupt_examples_and_numbers_are_not_checked():
  columns = dataset().load()
  columns['labels'][:] = -1
  loader(sources.in_memory(columns, None))
  corrupt = {**columns, 'corrupt': np.ones(10, bool)}
  loader(sources.in_memory(corrupt, ('cat',)), corrupt=10)


# --- any columns ----------------------------------------------------------------


def ratings(length=10):
  """Columns of any name that have the number of their row, and no labels."""
  rows = np.arange(length)
  return sources.in_memory(
    {'user': rows.astype(np.int32), 'seen': np.stack([rows, -rows], -1),
     'rating': (rows / 2).astype(np.float32)}, None)


def check_ratings(batch, rows):
  assert {*batch} == {'user', 'seen', 'rating', 'mask', 'row', 'epoch'}
  good = batch['mask'] > 0
  np.testing.assert_array_equal(good, rows >= 0)
  rows = rows[good]
  np.testing.assert_array_equal(batch['user'][good], rows)
  np.testing.assert_array_equal(batch['seen'][good], np.stack([rows, -rows], -1))
  np.testing.assert_array_equal(batch['rating'][good], rows / 2)


@pytest.mark.parametrize('resident', [True, False])
@pytest.mark.parametrize('shuffle', [True, False])
def test_columns_of_any_name_without_labels(resident, shuffle):
  opened = loader(ratings(), shuffle=shuffle, resident=resident)
  assert opened.labels is None
  for step in range(3):  # an evaluation fills up the third
    check_ratings(at(opened, step), Order(10, 4, 0, shuffle).rows(step))
  opened.close()


def test_labels_of_a_resident_split_are_those_that_can_be_learned_from():
  opened = loader(damaged(dataset(), [2, 7]), corrupt=2)
  np.testing.assert_array_equal(opened.labels, np.delete(10 * np.arange(10), [2, 7]))
  assert loader(dataset(), resident=False).labels is None


@pytest.mark.parametrize('resident', [True, False])
def test_corrupt_examples_of_any_columns_are_masked(resident):
  said = []
  opened = loader(damaged(ratings(), [3]), shuffle=False, resident=resident,
                  say=said.append)
  for step, rows in enumerate(([0, 1, 2, -1], [4, 5, 6, 7], [8, 9, -1, -1])):
    check_ratings(at(opened, step), np.array(rows))
  assert said == ['evals.train: skipped as corrupt: row 3 (1 so far, at most 1)']
  opened.close()


@pytest.mark.parametrize('resident', [True, False])
def test_any_column_that_is_not_finite_is_refused_by_name_and_row(resident):
  columns = ratings().load()
  columns['rating'][6] = np.nan
  with pytest.raises(UserError, match=r'^train: rating\[6\] is nan; fill'):
    opened = loader(sources.in_memory(columns, None), resident=resident)
    for step in range(3):
      opened.host_batch(step, 1)


class Half(layout.Layout):
  """What one of two processes reads of a batch that is sharded over two devices."""

  number: int

  def local_positions(self, shape):
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return np.split(numbers, 2, 1)[self.number].ravel()

  def shard_batch(self, array, positions, shape):
    return array.reshape(shape[0], shape[1] // 2, *array.shape[1:])


@pytest.mark.parametrize('microbatches', [1, 2])
@pytest.mark.parametrize('data', [ratings(), damaged(ratings(), [3])])
def test_processes_read_the_rows_of_their_devices(data, microbatches):
  halves = []
  for number in range(2):
    half = Half(*ONE._replace(shape=MeshShape(data=2)))
    half.number = number
    opened = loader(data, batch_size=8, shuffle=False, resident=False, mesh=half,
                    microbatches=microbatches)
    halves.append([at(opened, step) for step in range(2)])
    opened.close()
  for step in range(2):
    rows = Order(10, 8, 0, False).rows(step)
    rows = np.where((rows == 3) & ('corrupt' in data.load()), -1, rows)
    shape = (microbatches, 2, -1) if microbatches > 1 else (2, -1)
    parts = np.moveaxis(rows.reshape(shape), -2, 0)
    for batch, expected in zip((half[step] for half in halves), parts, strict=True):
      assert batch['row'].shape == expected.shape
      check_ratings({name: x.reshape(4, *x.shape[expected.ndim:])
                     for name, x in batch.items()}, expected.ravel())
