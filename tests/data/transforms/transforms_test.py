"""Tests of what all random transforms keep to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.data import transforms
from bigmodels.keys import part_of
from tests.data.transforms.pictures import KEY, apply, batch, pixels
from tests.quick import quick_jit

RANDOM = {
  'flip': transforms.flip,
  'shift': partial(transforms.shift, pixels=2),
  'crop': partial(transforms.crop, size=5),
  'rotate': partial(transforms.rotate, degrees=30.0),
  'scale': partial(transforms.scale, low=0.5, high=2.0),
  'translate': partial(transforms.translate, share=0.3),
  'reflecting shift': partial(transforms.shift, pixels=2, padding='reflect'),
  'resized_crop': partial(transforms.resized_crop, size=5),
  'cutout': partial(transforms.cutout, size=3),
  'erase': transforms.erase,
  'colour': partial(transforms.colour, brightness=0.3, contrast=0.3),
  'randaugment': transforms.randaugment,
  'noise': partial(transforms.noise, std=0.5),
}
GEOMETRIC = [name for name in RANDOM if name != 'noise']


@pytest.mark.parametrize('name', RANDOM)
def test_a_key_decides_and_only_inputs_change(name):
  transform = quick_jit(RANDOM[name])
  before = batch(pixels(16))
  after = transform(before, KEY)
  again, other = transform(before, KEY), transform(before, jax.random.key(1))
  np.testing.assert_array_equal(after['inputs'], again['inputs'])
  assert not np.array_equal(after['inputs'], other['inputs'])
  assert set(after) == set(before)
  for column in ('labels', 'mask'):
    np.testing.assert_array_equal(after[column], before[column])


@pytest.mark.parametrize('name', RANDOM)
def test_a_part_of_a_batch_gets_its_part_of_the_draws(name):
  key, data = jax.random.PRNGKey(5), batch(pixels(6))
  transform = quick_jit(RANDOM[name])
  whole = transform(data, key)['inputs']
  for part in range(2):
    here = slice(3 * part, 3 * part + 3)
    found = transform({k: v[here] for k, v in data.items()}, part_of(key, part))
    np.testing.assert_allclose(found['inputs'], whole[here], rtol=1e-6)


@pytest.mark.parametrize('name', GEOMETRIC)
@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'bfloat16'])
def test_dtype_is_kept(name, dtype):
  images = jnp.asarray(pixels(2)).astype(dtype)
  assert jax.eval_shape(RANDOM[name], batch(images), KEY)['inputs'].dtype == dtype


@pytest.mark.parametrize('name', GEOMETRIC)
def test_every_example_has_its_own_draw(name):
  results = apply(RANDOM[name], np.repeat(pixels(), 32, 0))
  assert len({result.tobytes() for result in results}) > 1
