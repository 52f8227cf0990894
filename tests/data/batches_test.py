"""Tests of bigmodels.data.batches: every row where it belongs, on either road."""

import collections
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import batches, sources, transforms
from bigmodels.data.batches import Batches, Order
from bigmodels.parallel import layout
from bigmodels.parallel.random import part_of
from bigmodels.parallel.sharding import MeshShape

KEY = jax.random.key(0)
ONE = layout.over(MeshShape(), 'jit', ())


def dataset(length=10):
  """Rows that tell their number: inputs are images full of it, labels 10 times it."""
  rows = np.arange(length)
  inputs = np.ones((length, 4, 3, 2), np.uint8) * rows[:, None, None, None]
  return sources.in_memory(
    {'inputs': inputs.astype(np.uint8), 'labels': 10 * rows.astype(np.int32)}, None)


def damaged(data, rows):
  """The same, of which some rows cannot be decoded."""
  columns = data.load()
  corrupt = np.isin(np.arange(data.length), rows)
  columns = {name: np.where(corrupt.reshape(-1, *[1] * (column.ndim - 1)), 0, column)
             .astype(column.dtype) for name, column in columns.items()}
  return sources.in_memory({**columns, 'corrupt': corrupt}, data.classes)


def loader(data, *, batch_size=4, seed=0, shuffle=True, steps=8, given=(), parts=1,
         say=print, name='train', **keywords):
  context = sources.DataContext(None, None, {}, say)
  return batches.open_loader(
    Batches(source=None, batch_size=batch_size, **keywords), name, context, ONE,
    dataset=data, seed=seed, shuffle=shuffle, steps=steps, transforms=given,
    parts=parts)


def at(opened, step, key=KEY):
  """The batch of a step."""
  batch, keys = jax.jit(opened.batch), key[None]
  if opened.parts > 1:
    keys = jax.vmap(partial(part_of, jax.random.key_data(key)))(
      jnp.arange(opened.parts))
  return jax.tree.map(np.asarray, batch(
    opened.resident, opened.host_batch(step, 1), 0, keys))


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
  batches.permutation.cache_clear()
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
    tuple(batches.permutation(3, seed, epoch).tolist())
    for seed in range(40) for epoch in range(30))
  assert len(counts) == 6
  expected = 40 * 30 / 6
  assert sum((c - expected) ** 2 / expected for c in counts.values()) < 20.5  # p 1e-3


def test_evaluation_goes_through_once_and_fills_up_with_minus_1():
  order = Order(7, 3, 5, False)
  rows = [order.rows(step).tolist() for step in range(4)]
  assert rows == [[0, 1, 2], [3, 4, 5], [6, -1, -1], [-1, -1, -1]]
  assert not any(order.epochs(step).any() for step in range(4))


def test_a_late_step_is_exact():
  order = Order(10, 3, 0, True)
  step = 2**40
  epoch, place = divmod(step * 3, 10)
  expected = batches.permutation(10, 0, epoch)[place : place + 3]
  np.testing.assert_array_equal(order.rows(step)[: len(expected)], expected)
  assert order.epochs(2**32 // 3)[0] == (2**32 // 3) * 3 // 10


# --- both roads -----------------------------------------------------------------


@pytest.mark.parametrize('road, steps', [
  ({'resident': True}, (0, 1, 2, 5, 6, 3, 7)),  # it starts again at any other step
  ({'resident': False}, (0, 1, 2, 5, 6, 3, 7)),
  ({'resident': False, 'workers': 2}, (5, 6, 7)),  # starting processes takes seconds
])
def test_batches_hold_the_rows_of_their_steps(road, steps, parsed_flags):
  opened = loader(dataset(), **road)
  for step in steps:
    rows, batch = Order(10, 4, 0, True).rows(step), at(opened, step)
    np.testing.assert_array_equal(batch['labels'], 10 * rows)
    np.testing.assert_array_equal(batch['inputs'][:, 3, 2, 1], rows)
    np.testing.assert_array_equal(batch['mask'], np.ones(4))
    assert batch['inputs'].shape == (4, 4, 3, 2)
    assert batch['inputs'].dtype == np.uint8 and batch['mask'].dtype == np.float32
  opened.close()


@pytest.mark.parametrize('resident', [True, False])
def test_evaluation_masks_what_only_fills_up(resident):
  opened = loader(dataset(), shuffle=False, steps=0, resident=resident)
  for _ in range(2):  # twice over
    seen = [at(opened, step) for step in range(3)]
    mask = np.concatenate([batch['mask'] for batch in seen])
    np.testing.assert_array_equal(mask, [1] * 10 + [0, 0])
    labels = np.concatenate([batch['labels'] for batch in seen])
    np.testing.assert_array_equal(labels[:10], 10 * np.arange(10))
  opened.close()


def test_both_roads_give_identical_batches_with_transforms():
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


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize('resident', [True, False])
def test_a_batch_knows_its_rows_and_epochs(resident, parts):
  opened = loader(dataset(), resident=resident, parts=parts)
  seen = [at(opened, step) for step in range(5)]  # twice through; the third is in both
  shape = (4,) if parts == 1 else (parts, 4 // parts)
  assert all(batch[k].shape == shape for batch in seen for k in ('row', 'epoch'))
  rows, epochs, labels = (
    np.concatenate([batch[k].ravel() for batch in seen])
    for k in ('row', 'epoch', 'labels'))
  assert rows.dtype == epochs.dtype == np.int32
  np.testing.assert_array_equal(labels, 10 * rows)
  np.testing.assert_array_equal(epochs, [0] * 10 + [1] * 10)
  opened.close()


@pytest.mark.parametrize('resident', [True, False])
def test_an_evaluation_is_epoch_0_and_what_fills_up_is_row_0(resident):
  opened = loader(dataset(), shuffle=False, steps=0, resident=resident)
  seen = [at(opened, step) for step in range(3)]
  rows = np.concatenate([batch['row'] for batch in seen])
  np.testing.assert_array_equal(rows, [*range(10), 0, 0])
  assert not any(batch['epoch'].any() for batch in seen)
  opened.close()


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize('resident', [True, False])
def test_alternating_flips_show_every_image_from_both_sides(resident, parts):
  images = np.zeros((40, 2, 2, 1), np.uint8)
  images[:, :, 0] = 1  # the left half is bright
  data = sources.in_memory(
    {'inputs': images, 'labels': np.arange(40, dtype=np.int32)}, None)
  opened = loader(data, batch_size=16, steps=15, resident=resident, parts=parts,
                given=(transforms.alternating_flip,))
  shown = np.zeros((6, 40), int)
  for step in range(15):
    key = jax.random.fold_in(KEY, step)
    batch = jax.tree.map(lambda x: x.reshape(16, *x.shape[(parts > 1) + 1:]),
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


def test_size_decides_the_road_unless_said(monkeypatch):
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
def test_corrupt_examples_are_masked_and_told_of_once(resident, shuffle):
  said = []
  data = damaged(dataset(), [2, 7])._replace(
    describe=lambda row: f'image {row}.jpg: no picture')
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
    f'{path}: left out as corrupt: row {row}' for row in (2, 7)]
  assert '(image 7.jpg: no picture)' in ''.join(said)
  opened.close()
  clean.close()


@pytest.mark.parametrize('resident', [True, False])
def test_more_corrupt_examples_than_are_put_up_with(resident):
  data = damaged(dataset(), [2, 5, 7])
  with pytest.raises(UserError, match=r'more corrupt examples than --config\.evals\.'
                     r'test\.corrupt puts up with, 2: rows 2, 5, 7; the last is row 7'):
    opened = loader(data, resident=resident, corrupt=2, shuffle=False, name='test')
    for step in range(3):
      at(opened, step)


@pytest.mark.parametrize('length, most', [(10, 1), (1999, 1), (5000, 5)])
def test_one_in_a_thousand_may_be_corrupt_unless_said(length, most):
  said = []
  loader(damaged(dataset(length), range(most)), resident=True, say=said.append)
  assert len(said) == most and f'at most {most})' in said[0]
  with pytest.raises(UserError, match=rf'puts up with, {most}:'):
    loader(damaged(dataset(length), range(most + 1)), resident=True)


@pytest.mark.parametrize('resident', [True, False])
@pytest.mark.parametrize('label', [-1, 3, 255])
def test_a_label_that_is_no_class_is_refused(label, resident):
  columns = dataset().load()
  columns['labels'] = np.arange(10, dtype=np.int32) % 3
  columns['labels'][6] = label
  data = sources.in_memory(columns, ('cat', 'dog', 'newt'))
  data = data._replace(describe=lambda row: f'image {row}.jpg')
  with pytest.raises(UserError, match=rf'train: the label of row 6 is {label}, wants 0 '
                     r'to 2 for 3 classes \(image 6\.jpg\)'):
    opened = loader(data, resident=resident)
    for step in range(3):
      at(opened, step)


def test_labels_of_corrupt_examples_and_numbers_are_not_checked():
  columns = dataset().load()
  columns['labels'][:] = -1
  loader(sources.in_memory(columns, None))
  corrupt = {**columns, 'corrupt': np.ones(10, bool)}
  loader(sources.in_memory(corrupt, ('cat',)), corrupt=10)


# --- statistics -----------------------------------------------------------------


def statistics(inputs):
  return batches.channel_statistics(sources.in_memory({'inputs': inputs}, None))


@pytest.mark.parametrize('shape', [(50, 3), (9, 5, 4, 3)])
@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float64'])
def test_channel_statistics_equal_numpy(shape, dtype):
  inputs = np.random.default_rng(0).uniform(0, 256, shape).astype(dtype)
  mean, std = statistics(inputs)
  axes = tuple(range(len(shape) - 1))
  np.testing.assert_allclose(mean, inputs.mean(axes, np.float64), rtol=1e-12)
  np.testing.assert_allclose(std, inputs.std(axes, np.float64), rtol=1e-12)


def test_channel_statistics_leave_out_what_is_corrupt():
  inputs = np.random.default_rng(0).uniform(1, 9, (20, 3, 3, 2))
  columns = damaged(sources.in_memory({'inputs': inputs}, None), [0, 3, 19]).load()
  mean, std = batches.channel_statistics(sources.in_memory(columns, None))
  left = np.delete(inputs, [0, 3, 19], 0)
  np.testing.assert_allclose(mean, left.mean((0, 1, 2)), rtol=1e-12)
  np.testing.assert_allclose(std, left.std((0, 1, 2)), rtol=1e-12)


def test_channel_statistics_far_from_zero_are_exact():
  inputs = 1e6 + np.random.default_rng(0).normal(size=(1000, 2))
  np.testing.assert_allclose(statistics(inputs)[1], inputs.std(0), rtol=1e-12)


@pytest.mark.parametrize('dtype, length', [('uint8', 2**23), ('float32', 2**21)])
def test_channel_statistics_in_several_parts(dtype, length):
  levels = np.arange(3, dtype=dtype)[:, None, None] ** 2
  inputs = np.broadcast_to(levels, (3, length, 2))  # 48 MiB, three parts
  mean, std = statistics(np.ascontiguousarray(inputs))
  np.testing.assert_allclose(mean, [5 / 3] * 2, rtol=1e-12)
  np.testing.assert_allclose(std, [np.std([0, 1, 4])] * 2, rtol=1e-9)


def test_channel_statistics_of_few_large_rows():
  assert statistics(np.full((1, 2**25, 1), 3, np.uint8)) == ([3.0], [1.0])


@pytest.mark.parametrize('value, dtype', [
  (7, 'uint8'), (0.1, 'float32'),
  (0.1, 'float64'),
])
def test_a_channel_that_never_changes_has_a_deviation_of_1(value, dtype):
  inputs = np.stack([np.full(1000, value), np.arange(1000) % 2], -1).astype(dtype)
  assert statistics(inputs)[1] == [1.0, 0.5]


def test_statistics_of_a_split_too_large_are_asked_of_the_user():
  for nbytes in (None, 2**40):
    with pytest.raises(UserError, match='give them in the experiment'):
      batches.channel_statistics(dataset()._replace(nbytes=nbytes))


def test_whitened_patches_have_unit_variances_and_no_correlation():
  chance = np.random.default_rng(0)
  mixed = chance.normal(size=(40, 9, 7, 3)) @ chance.normal(size=(3, 3))
  mean, std = mixed.mean((0, 1, 2)), mixed.std((0, 1, 2))
  kernel = np.array(batches.whitening(
    sources.in_memory({'inputs': mixed}, None), mean.tolist(), std.tolist()))
  assert kernel.shape == (2, 2, 3, 24)
  np.testing.assert_array_equal(kernel[..., :12], -kernel[..., 12:])
  images = (mixed - mean) / std
  y = sum(images[:, i : i + 8, j : j + 6] @ kernel[i, j, :, :12]
          for i in range(2) for j in range(2)).reshape(-1, 12)
  np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=5e-3)
