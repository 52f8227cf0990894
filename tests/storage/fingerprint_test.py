"""Tests of the fingerprint of arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.storage.fingerprint import _fingerprint_on, fingerprint


def test_the_fingerprint_of_bytes_takes_no_memory_of_its_own():
  frames = jax.ShapeDtypeStruct((1000, 84, 84, 5), jnp.uint8)
  compiled = _fingerprint_on('cpu').lower({'frames': frames}).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 2**20


@pytest.mark.parametrize('dtype', [
  np.float32, np.float16, jnp.bfloat16, np.int8, np.uint8, np.int32, np.uint32, bool])
def test_any_change_of_one_value_changes_it(dtype):
  x = np.arange(24).reshape(2, 3, 4).astype(dtype)
  found = {int(fingerprint({'x': x}))}
  for index in np.ndindex(x.shape):
    changed = x.copy()
    changed[index] = 1 - changed[index] if dtype is bool else 100
    found.add(int(fingerprint({'x': changed})))
  assert len(found) == 25


def test_the_sign_of_a_zero_and_the_position_of_a_value_count():
  arrays = [np.float32(x) for x in (
    [0, 0, 0, 0], [0, -0.0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0])]
  assert len({int(fingerprint([each])) for each in arrays}) == 4


def test_it_depends_on_names_not_on_the_order_of_a_tree():
  one, two = np.arange(4), np.arange(5)
  whole = int(fingerprint({'b': one, 'a': {'x': two}}))
  assert whole == int(fingerprint({'a': {'x': two}, 'b': one}))
  assert whole != int(fingerprint({'b': two, 'a': {'x': one}}))


def test_it_is_the_same_over_several_devices():
  x = np.arange(64, dtype=np.float32).reshape(8, 8)
  devices = jax.devices()
  mesh = jax.sharding.Mesh(np.array(devices[: len(devices) // 2 * 2 or 1]), 'x')
  spread = jax.device_put(x, jax.NamedSharding(mesh, jax.P('x')))
  assert int(fingerprint([spread])) == int(fingerprint([x]))
