"""Tests of what all random transforms keep to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.data import transforms
from bigmodels.parallel.random import slice_key
from tests.data.transforms.images import KEY, apply, batch, pixels

RANDOM = {
  'flip': transforms.flip,
  'shift': partial(transforms.shift, pixels=2),
  'crop': partial(transforms.crop, size=5),
  'rotate': partial(transforms.rotate, degrees=30.0),
  'scale': partial(transforms.scale, low=0.5, high=2.0),
  'translate': partial(transforms.translate, fraction=0.3),
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
  transform = jax.jit(RANDOM[name])
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
  transform = jax.jit(RANDOM[name])
  whole = transform(data, key)['inputs']
  for part in range(2):
    here = slice(3 * part, 3 * part + 3)
    found = transform({k: v[here] for k, v in data.items()}, slice_key(key, part))
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


OF_IMAGES = [*(set(RANDOM) - {'noise'}), 'alternating_flip', 'centre_crop', 'resize',
             'cutmix']


@pytest.mark.parametrize('name', sorted(OF_IMAGES))
def test_what_is_no_image_is_refused(name):
  transform = RANDOM.get(name) or {
    'alternating_flip': transforms.alternating_flip,
    'centre_crop': partial(transforms.centre_crop, size=2),
    'resize': partial(transforms.resize, size=2),
    'cutmix': partial(transforms.cutmix, num_outputs=3)}[name]
  rows = {**batch(pixels(2)[..., 0]), 'row': jnp.arange(2), 'epoch': jnp.zeros(2, int)}
  with pytest.raises(ValueError, match=r': inputs must be images \[batch, height, '
                     r'width, channels\], got \(2, \d+, \d+\)'):
    transform(rows, KEY)


@pytest.mark.parametrize('name', ['flip', 'noise', 'mixup', 'standardize'])
def test_a_batch_without_inputs_is_refused(name):
  transform = {
    'flip': transforms.flip, 'noise': partial(transforms.noise, std=1.0),
    'mixup': partial(transforms.mixup, num_outputs=3),
    'standardize': partial(transforms.standardize, mean=0.0, std=1.0)}[name]
  with pytest.raises(ValueError, match=f"^{name}: needs the column 'inputs', the batch "
                     'has user, mask$'):
    transform({'user': jnp.arange(2), 'mask': jnp.ones(2)}, KEY)


@pytest.mark.parametrize(('transform', 'message'), [
  (partial(transforms.flip, probability=2), 'probability must be 0 to 1, got 2'),
  (partial(transforms.flip, probability=float('nan')), 'probability must be 0 to 1'),
  (partial(transforms.flip, probability='x'), "probability must be 0 to 1, got 'x'"),
  (partial(transforms.erase, probability=-0.1), 'probability must be 0 to 1, got -0.1'),
  (partial(transforms.mixup, num_outputs=3, probability=2), 'must be 0 to 1, got 2'),
  (partial(transforms.mixup, num_outputs=3, alpha=float('nan')), 'alpha: must be > 0'),
  (partial(transforms.shift, pixels=-1), 'pixels must be an integer >= 0'),
  (partial(transforms.crop, size=0), 'crop: size must be an integer >= 1'),
  (partial(transforms.centre_crop, size=2.5), 'size must be an integer >= '),
  (partial(transforms.resize, size=0), 'size must be an integer >= 1, got 0'),
  (partial(transforms.resized_crop, size=-1), 'size must be an integer >= '),
  (partial(transforms.translate, fraction=2), 'fraction must be 0 to 1, got 2'),
  (partial(transforms.rotate, degrees=float('inf')), 'degrees must be 0 to 180'),
  (partial(transforms.cutout, size=-2), 'size must be an integer >= 0'),
  (partial(transforms.noise, std=-1), 'std must be >= 0, got -1'),
  (partial(transforms.randaugment, layers=-1), 'layers must be an integer >= '),
  (partial(transforms.randaugment, fill=2), 'fill must be 0 to 1, got 2'),
])
def test_what_a_transform_cannot_do_is_refused(transform, message):
  with pytest.raises(ValueError, match=message):
    transform(batch(pixels(2)), KEY)


def test_a_whole_probability_is_one():
  images = batch(pixels(2))
  flipped = transforms.flip(images, KEY, probability=1)['inputs']
  np.testing.assert_array_equal(flipped, images['inputs'][:, :, ::-1])
