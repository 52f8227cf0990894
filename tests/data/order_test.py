"""Tests of bigmodels.data.order: batches of similar lengths, as functions of a step."""

import itertools

import numpy as np
import pytest

from bigmodels.data.order import Buckets, Composition, Order, permutation

LENGTHS = np.random.default_rng(0).gamma(2, 50, 203).astype(int) + 1


def padded(lengths, edges):
  """The steps of all examples, padded to the first length that is long enough."""
  return sum(min(edge for edge in edges if edge >= length) for length in lengths)


def test_buckets_need_the_least_padding():
  lengths = np.array([1, 1, 1, 5, 5, 6, 20, 21, 40])
  every = np.unique(lengths)
  for count in (1, 2, 3, 4):
    found = Buckets.of_lengths(lengths, count)
    best = min(padded(lengths, [*chosen, 40])
               for chosen in itertools.combinations(every[:-1], count - 1))
    assert padded(lengths, found.lengths) == best and len(found.lengths) <= count
    for length, bucket in zip(lengths, found.of, strict=True):
      assert found.lengths[bucket] >= length
      assert bucket == 0 or found.lengths[bucket - 1] < length


def test_more_buckets_than_lengths():
  found = Buckets.of_lengths(np.array([3, 3, 7]), 9)
  assert found.lengths == (3, 7) and found.of.tolist() == [0, 0, 1]


@pytest.mark.parametrize('size', [7, 16, 203])
def test_every_epoch_sees_every_row_once(size):
  order = Order(203, size, 3, True, 0, Buckets.of_lengths(LENGTHS, 3))
  steps = -(-4 * 203 // size)
  rows = np.concatenate([order.rows(step) for step in range(steps)])
  assert rows.dtype == np.int32
  np.testing.assert_array_equal(
    np.sort(rows[: 4 * 203].reshape(4, 203)), [range(203)] * 4)


def test_a_bucket_is_a_function_of_seed_and_step_alone():
  def order(seed):
    return Order(203, 16, seed, True, 0, Buckets.of_lengths(LENGTHS, 3))

  def found(seed, steps):
    return {step: (order(seed).bucket(step), order(seed).rows(step).tolist())
            for step in steps}

  forwards = found(1, range(60))
  assert found(1, reversed(range(60))) == forwards != found(2, range(60))
  for bucket, rows in forwards.values():
    assert order(1).buckets.of[rows].max() == bucket


def test_batches_are_of_one_bucket_but_for_the_ends_of_epochs():
  buckets = Buckets.of_lengths(LENGTHS, 3)
  order = Order(203, 16, 0, True, 0, buckets)
  mixed = sum(len({*buckets.of[order.rows(step)]}) > 1 for step in range(1270))
  assert mixed <= 100 * (1 + 2)  # an end and two borders between buckets an epoch
  cost = np.mean([buckets.lengths[order.bucket(step)] for step in range(1270)])
  assert cost < 1.2 * np.mean(np.array(buckets.lengths)[buckets.of])
  # All buckets come in random order, and neighbours differ from epoch to epoch.
  first = {frozenset(order.rows(step).tolist()) for step in range(12)}
  later = {frozenset(order.rows(step).tolist()) for step in range(13, 26)}
  assert not first & later
  assert {order.bucket(step) for step in range(8)} == {0, 1, 2}


def test_without_buckets_the_order_is_the_permutation():
  order = Order(10, 4, 7, True)
  np.testing.assert_array_equal(order.rows(0), permutation(10, 7, 0)[:4])


def test_padding_is_in_no_bucket():
  order = Order(203, 16, 0, True, 5, Buckets.of_lengths(LENGTHS, 3))
  assert order.rows(3)[16:].tolist() == [-1] * 5
  assert order.bucket(3) == order.buckets.of[order.rows(3)[:16]].max()


# --- batches of a few examples of some classes -----------------------------------

SIZES = (1, 2, 3, 7, 4, 5, 30, 2, 4)  # of the classes


def grouped(each=4, batch_size=12, seed=0):
  of = np.random.default_rng(1).permutation(np.repeat(np.arange(len(SIZES)), SIZES))
  order = Order(len(of), batch_size, seed, True, composition=Composition(of, each))
  return of, [order.rows(step) for step in range(40)], order


@pytest.mark.parametrize(('each', 'batch_size'), [(4, 12), (3, 27), (1, 5)])
def test_every_batch_has_as_many_examples_of_as_many_classes(each, batch_size):
  of, batches, _ = grouped(each, batch_size)
  for rows in batches:
    counts = np.bincount(of[rows], minlength=len(SIZES))
    assert np.count_nonzero(counts) == batch_size // each
    assert {*counts[counts > 0].tolist()} == {each}
    assert (of[rows].reshape(-1, each) == of[rows][::each, None]).all()  # adjacent
    for group in np.unique(of[rows]):  # distinct, or repeated evenly
      _, times = np.unique(rows[of[rows] == group], return_counts=True)
      assert len(times) == min(each, SIZES[group])
      assert times.max() - times.min() <= 1


def test_a_pass_deals_every_class_at_most_once_and_all_come_to_their_turn():
  of, batches, _ = grouped()
  left_out = []
  for start in range(0, 39, 3):  # 9 classes, 3 in a batch
    dealt = np.concatenate([of[rows][::4] for rows in batches[start : start + 3]])
    assert sorted(dealt) == list(range(9))
  of, batches, _ = grouped(batch_size=16)  # 4 in a batch: one is left out of a pass
  for start in range(0, 40, 2):
    dealt = np.concatenate([of[rows][::4] for rows in batches[start : start + 2]])
    assert len({*dealt.tolist()}) == 8
    left_out += {*range(9)} - {*dealt.tolist()}
  assert len({*left_out}) > 4


def test_examples_of_a_group_come_again_when_the_others_have_come():
  of, batches, _ = grouped(batch_size=4 * len(SIZES))
  for group, size in enumerate(SIZES):
    passes = [rows[of[rows] == group] for rows in batches]
    per_round = max(1, size // 4)
    for start in range(0, 40 - per_round + 1, per_round):
      dealt = np.concatenate(passes[start : start + per_round])
      assert len({*dealt.tolist()}) == min(size, 4 * per_round)
    assert len({*np.concatenate(passes).tolist()}) == size  # those left out come later


def test_a_composed_batch_is_a_function_of_seed_and_step():
  _, batches, order = grouped(seed=5)
  for step in (33, 2, 17):  # in any order
    np.testing.assert_array_equal(grouped(seed=5)[2].rows(step), batches[step])
  assert any((a != b).any() for a, b in zip(batches, grouped(seed=6)[1], strict=True))
  assert order.epochs(39).max() == (40 * 12 - 1) // sum(SIZES)
