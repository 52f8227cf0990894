"""What layers see of the mesh in use."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from bigmodels.core import target

HEADS = PartitionSpec(target.BATCH_AXES, None, 'tensor', None)
AXES = ('data', 'fsdp', 'tensor')


def in_use(*sizes, names=AXES, kind=AxisType.Auto):
  return jax.sharding.use_abstract_mesh(
    AbstractMesh(sizes, names, axis_types=(kind,) * len(names)))


def test_the_platform_is_that_of_the_mesh_or_of_jax(monkeypatch):
  assert target.platform() == jax.default_backend() == 'cpu'
  mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), AXES)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert target.platform() == 'gpu'
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    assert target.platform() == 'cpu'


@pytest.mark.parametrize('sizes, shape, divided', [
  ((2, 2, 2), (8, 5, 4, 3), True), ((1, 1, 1), (1, 1, 1, 1), True),
  ((2, 2, 2), (6, 5, 4, 3), False), ((2, 2, 2), (8, 5, 3, 3), False)])
def test_an_array_is_divided_if_the_mesh_divides_its_axes(sizes, shape, divided):
  with in_use(*sizes):
    assert target.divides(shape, HEADS) == divided


def test_a_mesh_with_other_axes_divides_nothing():
  with in_use(2, names=('x',)):
    assert not target.divides((8, 5, 4, 3), HEADS)


def test_a_part_of_a_program_by_hand_is_not_divided_again():
  with in_use(2, 2, 2, kind=AxisType.Manual):
    assert target.divides((1, 5, 1, 3), HEADS)
    assert target.shard_map(abs, HEADS, HEADS) is abs


def test_without_a_mesh_only_one_device_is_certain(monkeypatch):
  assert target.shard_map(abs, HEADS, HEADS) is abs
  for devices in (1, 2):
    monkeypatch.setattr(jax, 'device_count', lambda n=devices: n)
    assert target.divides((1, 1, 1, 1), HEADS) == (devices == 1)


def test_a_function_sees_its_part():
  def local(x):
    assert x.shape == (2, 5, 2, 3)
    return x

  with in_use(2, 2, 2):
    x = jax.ShapeDtypeStruct((8, 5, 4, 3), np.float32)
    assert jax.eval_shape(target.shard_map(local, HEADS, HEADS), x).shape == x.shape
