"""Samplers: from noise to images, by a model that removes noise.

Each takes `denoise`, (noisy images, time) -> images; a schedule of `noising`; noise
`[batch, ...]`; and a PRNG key for each row. It returns images, and those that were
predicted at each step, `[steps, batch, ...]`.

Step i begins at the time `(1 - i / steps) ** power`. With a power of 1 times are
uniform. With 2, the 'quadratic' choice of DDIM, steps are shorter near the images,
where details appear.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bigmodels.tasks.noising import Schedule


def ddim(denoise: Callable, schedule: Schedule, noise: jax.Array, keys: jax.Array, *,
         steps: int = 50, power: float = 2.0, eta: float = 0.0
         ) -> tuple[jax.Array, jax.Array]:
  """Samples by denoising diffusion implicit models (Song et al., 2021).

  With `eta=0` only the first noise is random; with the schedule `straight` these are
  Euler's steps along the flow. With `eta=1` it is the ancestral sampler of DDPM.

  Args:
    denoise, schedule: see the module.
    noise: `[batch, ...]`.
    keys: a PRNG key for each row.
    steps: number of times that the model is called.
    power: see the module.
    eta: how much of the noise is drawn anew in each step, in [0, 1].

  Raises:
    ValueError: for settings out of range.
  """
  _check(steps, power)
  if not 0 <= eta <= 1:
    raise ValueError(f'eta: must be >= 0 and <= 1, got {eta}')

  def step(x, times):
    time, after, index = times
    image = denoise(x, time)
    (signal, level), (next_signal, next_level) = schedule(time), schedule(after)
    drawn = eta * posterior_std((signal, level), (next_signal, next_level))
    kept = jnp.sqrt(jnp.maximum(next_level**2 - drawn**2, 0))
    x = next_signal * image + kept * (x - signal * image) / level
    if eta:
      x = x + drawn * _normal(keys, index, x)
    return x, image

  return jax.lax.scan(step, noise, _times(steps, power))


def dpm_solver(denoise: Callable, schedule: Schedule, noise: jax.Array,
               keys: jax.Array, *, steps: int = 20, power: float = 2.0
               ) -> tuple[jax.Array, jax.Array]:
  """Samples by the second-order multistep solver DPM-Solver++ (Lu et al., 2022).

  It needs fewer steps than `ddim`. The first step and the last are of first order.

  Args:
    denoise, schedule: see the module.
    noise: `[batch, ...]`.
    keys: not used.
    steps: number of times that the model is called.
    power: see the module.

  Raises:
    ValueError: for settings out of range.
  """
  del keys
  _check(steps, power)

  def step(carried, times):
    x, before, length_before = carried
    time, after, index = times
    image = denoise(x, time)
    (signal, level), (next_signal, next_level) = schedule(time), schedule(after)
    # The step in log(signal / noise), which is infinite from pure noise, and to images.
    length = jnp.log(next_signal) - jnp.log(next_level) - jnp.log(signal) + jnp.log(
      level)
    middle = (index > 0) & (index < steps - 1)
    factor = jnp.where(middle, length / (2 * length_before), 0.0)
    direction = image + jnp.where(middle, factor, 0.0) * (image - before)
    x = next_level / level * x + (
      next_signal - signal * next_level / level) * direction
    return (x, image, length), image

  (x, _, _), images = jax.lax.scan(
    step, (noise, jnp.zeros_like(noise), jnp.ones(())), _times(steps, power))
  return x, images


def posterior_std(levels: tuple[jax.Array, jax.Array],
                  after: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Returns the deviation of a less noisy image, given the image and a noisier one.

  Ho et al., 2020, equation 7, for any levels.

  Args:
    levels: signal and noise of the noisier one, `[...]`.
    after: those of the less noisy one, `[...]`.
  """
  (signal, noise), (next_signal, next_noise) = levels, after
  added = jnp.maximum(noise**2 - (signal / next_signal * next_noise) ** 2, 0)
  return next_noise / noise * jnp.sqrt(added)


def _times(steps: int, power: float) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The time of each step, the time after it, and its number; `[steps]`."""
  times = jnp.linspace(1.0, 0.0, steps + 1) ** power
  return times[:-1], times[1:], jnp.arange(steps)


def _normal(keys: jax.Array, step: jax.Array, like: jax.Array) -> jax.Array:
  """Normal noise of each row, a function of its key and the step."""
  of_step = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
  return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(
    of_step)


def _check(steps: int, power: float) -> None:
  if steps < 1:
    raise ValueError(f'steps: must be >= 1, got {steps}')
  if not 0 < power < math.inf:
    raise ValueError(f'power: must be > 0 and finite, got {power}')
