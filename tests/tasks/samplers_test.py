"""Tests of bigmodels.tasks.samplers, on normal data, whose best denoiser is known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.tasks import noising, samplers

MEAN, STD = 0.5, 0.2  # of the data


def exact(schedule):
  """The expected image, of normal data."""
  def denoise(x, time):
    signal, noise = schedule(time)
    gain = signal * STD**2 / (signal**2 * STD**2 + noise**2)
    return MEAN + gain * (x - signal * MEAN)
  return denoise


def sampled(sampler, schedule, rows=1, count=1, **settings):
  noise = jax.random.normal(jax.random.PRNGKey(0), (rows, count))
  keys = jax.random.split(jax.random.PRNGKey(1), rows)
  images, along = jax.jit(partial(sampler, exact(schedule), schedule, **settings))(
    noise, keys)
  return noise, images, along


@pytest.mark.parametrize('schedule', [noising.cosine, noising.linear, noising.straight])
@pytest.mark.parametrize('sampler, steps', [
  (samplers.ddim, 200), (samplers.dpm_solver, 40)])
def test_without_randomness_ends_where_the_flow_does(schedule, sampler, steps):
  """Of normal data, the flow keeps how many deviations a value is from the mean."""
  noise, images, along = sampled(sampler, schedule, count=50, steps=steps)
  np.testing.assert_allclose(images, MEAN + STD * noise, atol=0.012)
  assert along.shape == (steps, 1, 50) and np.isfinite(along).all()


def test_the_solver_needs_fewer_steps():
  errors = []
  for sampler in (samplers.ddim, samplers.dpm_solver):
    noise, images, _ = sampled(sampler, noising.linear, count=50, steps=20)
    errors.append(np.abs(images - MEAN - STD * noise).max())
  assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize('schedule', [noising.cosine, noising.straight])
def test_with_new_noise_has_the_distribution_of_the_data(schedule):
  _, images, _ = sampled(samplers.ddim, schedule, 2000, steps=100, eta=1.0)
  assert images.mean() == pytest.approx(MEAN, abs=0.02)
  assert images.std() == pytest.approx(STD, rel=0.1)


def test_steps_with_new_noise_are_those_of_ddpm():
  """Ho et al., 2020, equations 6 and 7, for 1,000 steps of the linear schedule."""
  betas = np.linspace(1e-4, 0.02, 1000)
  kept = np.cumprod(1 - betas)
  t = 500
  levels = [(jnp.sqrt(kept[i]), jnp.sqrt(1 - kept[i])) for i in (t, t - 1)]
  std = samplers.posterior_std(*levels)
  variance = (1 - kept[t - 1]) / (1 - kept[t]) * betas[t]
  assert std == pytest.approx(np.sqrt(variance), rel=1e-3)

  def schedule(time):
    return tuple(jnp.where(time > 0.5, a, b) for a, b in zip(*levels, strict=True))

  # From 1 to 0 is a step from t to t - 1. Its mean is over many draws.
  image, noisy = 0.3, 1.1
  found, _ = samplers.ddim(
    lambda x, time: jnp.full_like(x, image), schedule, jnp.full((4000, 1), noisy),
    jax.random.split(jax.random.PRNGKey(0), 4000), steps=1, eta=1.0)
  mean = (np.sqrt(kept[t - 1]) * betas[t] * image + np.sqrt(1 - betas[t]) * (
    1 - kept[t - 1]) * noisy) / (1 - kept[t])
  assert found.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / 4000))
  assert found.std() == pytest.approx(np.sqrt(variance), rel=0.05)


def test_rows_are_sampled_by_their_own_keys():
  keys = jax.random.split(jax.random.PRNGKey(1), 3)
  draw = partial(samplers.ddim, exact(noising.cosine), noising.cosine, steps=5, eta=1.0)
  whole, _ = draw(jnp.ones((3, 2)), keys)
  part, _ = draw(jnp.ones((1, 2)), keys[2:])
  np.testing.assert_array_equal(whole[2:], part)
  assert len({*np.asarray(whole[:, 0]).tolist()}) == 3


@pytest.mark.parametrize('sampler, settings, message', [
  (samplers.ddim, {'steps': 0}, 'steps: must be >= 1, got 0'),
  (samplers.dpm_solver, {'steps': 0}, 'steps: must be >= 1, got 0'),
  (samplers.ddim, {'eta': 1.5}, 'eta: must be >= 0 and <= 1, got 1.5'),
  (samplers.dpm_solver, {'power': 0}, 'power: must be > 0 and finite, got 0')])
def test_settings_out_of_range(sampler, settings, message):
  with pytest.raises(ValueError, match=message):
    sampled(sampler, noising.cosine, **settings)
