"""How images become noise: schedules, and what a model predicts of noisy images.

An image at a time from 0 to 1 is `signal * image + noise * e`, with a normal e and the
levels `signal` and `noise` of a schedule. At 0 it is the image, at 1 it is noise.
Diffusion models (Ho et al., *Denoising diffusion probabilistic models*, 2020) and flow
matching (Lipman et al., *Flow matching for generative modeling*, 2023) differ in the
schedule and in what is predicted.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# time -> signal, noise.
Schedule = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
# signal, noise -> the factors of the image and of the noise in what is predicted.
Prediction = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]

_LEAST = 1e-4  # signal, so that an image can be computed from a prediction of noise


def cosine(time: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the levels of the cosine schedule at times `[...]` in [0, 1].

  Nichol and Dhariwal, *Improved denoising diffusion probabilistic models*, 2021, in the
  form of Salimans and Ho, *Progressive distillation for fast sampling of diffusion
  models*, 2022.
  """
  angle = time * (jnp.pi / 2)
  return jnp.maximum(jnp.cos(angle), _LEAST), jnp.sin(angle)


def linear(time: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the levels of DDPM's schedule at times `[...]` in [0, 1].

  Variances that grow linearly from 0.0001 to 0.02 over 1,000 steps (Ho et al., 2020),
  with steps of no length (Song et al., *Score-based generative modeling through
  stochastic differential equations*, 2021, equation 33).
  """
  logarithm = -(20 - 0.1) / 4 * time**2 - 0.1 / 2 * time
  return jnp.exp(logarithm), jnp.sqrt(-jnp.expm1(2 * logarithm))


def straight(time: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the levels of a line from image to noise, at times `[...]` in [0, 1].

  Liu et al., *Flow straight and fast*, 2023; Lipman et al., 2023.
  """
  return 1 - time, time


def of_noise(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
  """A model predicts the noise (Ho et al., 2020); factors `[...]` of levels `[...]`."""
  return jnp.zeros_like(signal), jnp.ones_like(noise)


def of_image(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
  """A model predicts the image; factors `[...]` of levels `[...]`."""
  return jnp.ones_like(signal), jnp.zeros_like(noise)


def of_v(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
  """A model predicts `signal * e - noise * image` (Salimans and Ho, 2022).

  Factors `[...]` of levels `[...]`.
  """
  return -noise, signal


def of_velocity(signal: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
  """A model predicts `e - image`, the velocity on a straight line (Liu et al., 2023).

  It is for the schedule `straight`. Factors `[...]` of levels `[...]`.
  """
  return -jnp.ones_like(signal), jnp.ones_like(noise)


def image_of(noisy: jax.Array, predicted: jax.Array,
             levels: tuple[jax.Array, jax.Array], prediction: Prediction) -> jax.Array:
  """Returns the images that predictions stand for, `[batch, ...]`.

  Args:
    noisy: images at some time, `[batch, ...]`.
    predicted: the model's predictions for them, of the same shape.
    levels: signal and noise at that time, which broadcast to `noisy`.
    prediction: what it predicts.
  """
  signal, noise = levels
  image_factor, noise_factor = prediction(signal, noise)
  # Of the two equations for the image and the noise.
  determinant = signal * noise_factor - noise * image_factor
  return (noise_factor * noisy - noise * predicted) / determinant
