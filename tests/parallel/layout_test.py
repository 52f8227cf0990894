"""Tests of bigmodels.parallel.layout on one device."""

import re

import jax
import numpy as np
import pytest

from bigmodels.errors import UserError
from bigmodels.parallel import layout
from bigmodels.sharding import MeshShape

ONE = {how: layout.over(MeshShape(), how, ()) for how in ('jit', 'pmap')}


@pytest.mark.parametrize('shape, size, accumulate, parts, fits', [
  (MeshShape(data=4, fsdp=2), 30, 1, 8, '24 or 32'),
  (MeshShape(data=4, tensor=2), 5, 1, 4, '4 or 8'),  # tensor cuts no batch
  (MeshShape(data=2), 30, 4, 8, '24 or 32'),
  (MeshShape(data=4), 3, 1, 4, '4'),  # 0 is no batch
])
def test_a_batch_that_cannot_be_cut_is_refused(shape, size, accumulate, parts, fits):
  why = f'mesh {shape}' + (', accumulate=4' if accumulate == 4 else '')
  message = (f'--config.train.batch_size={size}: cannot be cut into {parts} equal '
             f'parts ({why}); the nearest that can: {fits}')
  with pytest.raises(UserError, match=f'^{re.escape(message)}$'):
    ONE['jit']._replace(shape=shape).check_batch(size, accumulate, 'train')


@pytest.mark.parametrize('shape, size, accumulate', [
  (MeshShape(data=4, fsdp=2), 32, 1), (MeshShape(data=2), 24, 3),
  (MeshShape(data=1, tensor=5), 7, 1)])
def test_a_batch_of_equal_parts_is_taken(shape, size, accumulate):
  ONE['jit']._replace(shape=shape).check_batch(size, accumulate, 'train')


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


@pytest.mark.parametrize('parts', [1, 3])
def test_examples_read_are_cut_in_their_order(parts):
  shape = (parts, 4)
  images = np.random.default_rng(0).normal(size=(4 * parts, 2, 5)).astype(np.float32)
  for how, expected in (('jit', (parts, 4, 2, 5)), ('pmap', (parts, 1, 4, 2, 5))):
    positions = ONE[how].positions(shape)
    np.testing.assert_array_equal(positions, np.arange(4 * parts))
    given = ONE[how].cut(images[positions], positions, shape)
    assert given.shape == expected and given.dtype == np.float32
    np.testing.assert_array_equal(given, images.reshape(expected))


def test_rows_are_cut_as_examples_are():
  rows = np.arange(2 * 3 * 4).reshape(2, 3, 4)[:, ::-1]
  np.testing.assert_array_equal(ONE['jit'].rows(rows), rows)
  np.testing.assert_array_equal(ONE['pmap'].rows(rows), rows[:, :, None])


def test_one_device_has_no_one_to_vote_with():
  assert all(one.votes(np.array([1, 0, -5])) is None for one in ONE.values())


@pytest.mark.parametrize('how', ONE)
def test_a_copy_everywhere_is_the_same_array(how):
  array = np.arange(6, dtype=np.int16).reshape(2, 3)
  copied = ONE[how].everywhere(array)
  assert copied.dtype == np.int16 and copied.sharding.is_fully_replicated
  np.testing.assert_array_equal(copied, array)
