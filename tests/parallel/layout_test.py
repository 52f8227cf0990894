"""Tests of bigmodels.parallel.layout on one device."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape

ONE = {how: layout.over(MeshShape(), how, ()) for how in ('jit', 'pmap')}


@pytest.mark.parametrize('shape, size, accumulate, parts, fits', [
  (MeshShape(data=4, fsdp=2), 30, 1, 8, '24 or 32'),
  (MeshShape(data=4, tensor=2), 5, 1, 4, '4 or 8'),  # tensor cuts no batch
  (MeshShape(data=2), 30, 4, 8, '24 or 32, the nearest accumulate: 3'),
  (MeshShape(data=4), 3, 1, 4, '4'),  # 0 is no batch
  (MeshShape(data=4), 39, 1, 4, '36'),  # there are but 39 examples
])
def test_a_batch_that_cannot_be_cut_is_refused(shape, size, accumulate, parts, fits):
  message = (f'--config.train.batch_size={size} cannot be cut into {parts} equal '
             f'parts (--mesh={shape}, --config.accumulate={accumulate}); the nearest '
             f'batch_size that can: {fits}')
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    ONE['jit']._replace(shape=shape).check_batch(size, accumulate, 'train', 39)


@pytest.mark.parametrize('shape, size, accumulate', [
  (MeshShape(data=4, fsdp=2), 32, 1), (MeshShape(data=2), 24, 3),
  (MeshShape(data=1, tensor=5), 7, 1)])
def test_a_batch_of_equal_parts_is_taken(shape, size, accumulate):
  ONE['jit']._replace(shape=shape).check_batch(size, accumulate, 'train', 39)


@pytest.mark.parametrize('shape', [MeshShape(fsdp=2), MeshShape(data=1, tensor=2)])
def test_pmap_only_copies_the_parameters(shape):
  with pytest.raises(UserError, match=r'--parallel=pmap: .*--mesh=data:2 or .*=jit'):
    layout.over(shape, 'pmap', (), devices=jax.devices() * 2)


@pytest.mark.parametrize('how', ONE)
def test_a_mesh_for_other_devices_is_refused(how):
  with pytest.raises(UserError, match='wants 3 devices, there is 1'):
    layout.over(MeshShape(data=3), how, ())
  with pytest.raises(UserError, match='1 device cannot be divided by 2'):
    layout.over(MeshShape(fsdp=2), how, ())


@pytest.mark.parametrize('how', ONE)
@pytest.mark.parametrize('parts', [1, 3])
def test_examples_read_are_cut_in_their_order(parts, how):
  shape = (parts, 4)
  images = np.random.default_rng(0).normal(size=(4 * parts, 2, 5)).astype(np.float32)
  positions = ONE[how].positions(shape)
  np.testing.assert_array_equal(positions, np.arange(4 * parts))
  given = ONE[how].cut(images[positions], positions, shape)
  assert given.dtype == np.float32
  np.testing.assert_array_equal(given, images.reshape(parts, 4, 2, 5))


def test_one_process_has_no_one_to_vote_with():
  assert all(one.votes(np.array([1, 0, -5])) is None for one in ONE.values())
  assert ONE['jit'].highest(None) is None


def test_the_highest_of_each_vote_holds():
  votes = jnp.array([[0, 1, -8], [1, 0, -3], [0, 0, -64]])
  np.testing.assert_array_equal(ONE['jit'].highest(votes), [1, 1, -3])


@pytest.mark.parametrize('how', ONE)
def test_a_copy_everywhere_is_the_same_array(how):
  array = np.arange(6, dtype=np.int16).reshape(2, 3)
  copied = ONE[how].everywhere(array)
  assert copied.dtype == np.int16 and copied.sharding.is_fully_replicated
  np.testing.assert_array_equal(copied, array)
