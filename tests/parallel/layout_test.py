"""Tests of bigmodels.parallel.layout on one device."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape

ONE = {strategy: layout.make_layout(MeshShape(), strategy, ())
       for strategy in ('jit', 'pmap')}


@pytest.mark.parametrize('shape, size, accumulate, divisor, fits', [
  (MeshShape(data=4, fsdp=2), 30, 1, 8, '24 or 32'),
  (MeshShape(data=4, tensor=2), 5, 1, 4, '4 or 8'),  # tensor shards no batch
  (MeshShape(data=2), 30, 4, 8, '24 or 32, the nearest accumulate: 3'),
  (MeshShape(data=4), 3, 1, 4, '4'),  # 0 is not a batch size
  (MeshShape(data=4), 39, 1, 4, '36'),  # of 39 examples
])
def test_a_batch_that_cannot_be_divided_is_refused(
  shape, size, accumulate, divisor, fits):
  message = (f'--config.train.batch_size={size}: must be a multiple of {divisor}, the '
             f'data shards of --mesh={shape} times --config.accumulate={accumulate}; '
             f'the nearest batch_size: {fits}')
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    ONE['jit']._replace(shape=shape).check_batch(size, accumulate, 'train', 39)


@pytest.mark.parametrize('shape, size, accumulate', [
  (MeshShape(data=4, fsdp=2), 32, 1), (MeshShape(data=2), 24, 3),
  (MeshShape(data=1, tensor=5), 7, 1)])
def test_a_batch_that_can_be_divided_is_accepted(shape, size, accumulate):
  ONE['jit']._replace(shape=shape).check_batch(size, accumulate, 'train', 39)


@pytest.mark.parametrize('shape', [MeshShape(fsdp=2), MeshShape(data=1, tensor=2)])
def test_pmap_only_replicates_the_parameters(shape):
  with pytest.raises(UserError, match=r'--parallel=pmap: .*--mesh=data:2 or .*=jit'):
    layout.make_layout(shape, 'pmap', (), devices=jax.devices() * 2)


@pytest.mark.parametrize('strategy', ONE)
def test_a_mesh_for_other_devices_is_refused(strategy):
  with pytest.raises(UserError, match='needs 3 devices, got 1'):
    layout.make_layout(MeshShape(data=3), strategy, ())
  with pytest.raises(UserError, match='1 device cannot be divided by 2'):
    layout.make_layout(MeshShape(fsdp=2), strategy, ())


@pytest.mark.parametrize('strategy', ONE)
@pytest.mark.parametrize('microbatches', [1, 3])
def test_examples_read_are_sharded_in_their_order(microbatches, strategy):
  shape = (microbatches, 4)
  rng = np.random.default_rng(0)
  images = rng.normal(size=(4 * microbatches, 2, 5)).astype(np.float32)
  positions = ONE[strategy].local_positions(shape)
  np.testing.assert_array_equal(positions, np.arange(4 * microbatches))
  given = ONE[strategy].shard_batch(images[positions], positions, shape)
  assert given.dtype == np.float32
  np.testing.assert_array_equal(given, images.reshape(microbatches, 4, 2, 5))


def test_one_process_has_no_votes():
  assert all(one.shard_votes(np.array([1, 0, -5])) is None for one in ONE.values())
  assert ONE['jit'].max_votes(None) is None


def test_the_maximum_of_each_vote():
  votes = jnp.array([[0, 1, -8], [1, 0, -3], [0, 0, -64]])
  np.testing.assert_array_equal(ONE['jit'].max_votes(votes), [1, 1, -3])


@pytest.mark.parametrize('strategy', ONE)
def test_a_copy_everywhere_is_the_same_array(strategy):
  array = np.arange(6, dtype=np.int16).reshape(2, 3)
  copied = ONE[strategy].replicate(array)
  assert copied.dtype == np.int16 and copied.sharding.is_fully_replicated
  np.testing.assert_array_equal(copied, array)
