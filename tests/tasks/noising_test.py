"""Tests of bigmodels.tasks.noising: levels of schedules, and images of predictions."""

import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.tasks import noising

TIMES = jnp.linspace(0, 1, 11)


@pytest.mark.parametrize('schedule', [noising.cosine, noising.linear, noising.straight])
def test_from_an_image_to_noise(schedule):
  signal, noise = schedule(TIMES)
  np.testing.assert_allclose([signal[0], noise[0]], [1, 0], atol=1e-6)
  np.testing.assert_allclose([signal[-1], noise[-1]], [0, 1], atol=0.01)
  assert (np.diff(signal) < 0).all() and (np.diff(noise) > 0).all()


@pytest.mark.parametrize('schedule', [noising.cosine, noising.linear])
def test_variances_are_kept(schedule):
  signal, noise = schedule(TIMES)
  np.testing.assert_allclose(signal**2 + noise**2, 1, atol=1e-6)


def test_linear_is_that_of_ddpm():
  kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
  signal, _ = noising.linear(jnp.arange(1, 1001) / 1000)
  np.testing.assert_allclose(signal, np.sqrt(kept), atol=2e-3)


@pytest.mark.parametrize('schedule, prediction', [
  (noising.cosine, noising.of_v), (noising.cosine, noising.of_noise),
  (noising.linear, noising.of_image), (noising.straight, noising.of_velocity),
  (noising.straight, noising.of_v)])
def test_the_image_of_a_right_prediction(schedule, prediction):
  rng = np.random.default_rng(0)
  image, e = rng.normal(size=(2, 9, 5)).astype(np.float32)
  levels = [x[1:-1, None] for x in schedule(TIMES)]
  signal, noise = levels
  image_factor, noise_factor = prediction(signal, noise)
  found = noising.image_of(signal * image + noise * e,
                           image_factor * image + noise_factor * e, levels, prediction)
  np.testing.assert_allclose(found, image, atol=1e-4)


def test_velocities_are_slopes_of_a_straight_line():
  image, e = np.float32(2.0), np.float32(-1.0)
  near, far = ((1 - t) * image + t * e for t in (0.3, 0.4))
  factors = noising.of_velocity(*noising.straight(jnp.float32(0.3)))
  assert factors[0] * image + factors[1] * e == pytest.approx((far - near) / 0.1)
