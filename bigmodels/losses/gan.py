"""Losses of generative adversarial networks, and penalties of the discriminator."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def non_saturating_gan(real: jax.Array, generated: jax.Array
                       ) -> tuple[jax.Array, jax.Array]:
  """Computes the original GAN losses, in the form used for training.

  The discriminator minimizes its cross-entropy. The generator minimizes `-log D`
  instead of `log(1 - D)`, whose gradient vanishes while the discriminator is right
  (Goodfellow et al., *Generative Adversarial Nets*, 2014, section 3).

  Args:
    real: logits of the discriminator for real examples, `[batch]`.
    generated: those for generated ones, `[batch]`.

  Returns:
    The losses of the discriminator and of the generator, each `[batch]`.
  """
  softplus = jax.nn.softplus
  return softplus(-real) + softplus(generated), softplus(-generated)


def wasserstein_gan(real: jax.Array, generated: jax.Array
                    ) -> tuple[jax.Array, jax.Array]:
  """Computes the terms of the difference between a critic's means.

  Arjovsky et al., *Wasserstein GAN*, 2017. The critic's gradient must be bounded, for
  instance by `gradient_penalty`.

  Args:
    real: values of the critic for real examples, `[batch]`.
    generated: those for generated ones, `[batch]`.

  Returns:
    The losses of the critic and of the generator, each `[batch]`.
  """
  return generated - real, -generated


def hinge_gan(real: jax.Array, generated: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes hinge losses with a margin of 1 (Lim and Ye, *Geometric GAN*, 2017).

  Args:
    real: logits of the discriminator for real examples, `[batch]`.
    generated: those for generated ones, `[batch]`.

  Returns:
    The losses of the discriminator and of the generator, each `[batch]`.
  """
  return jax.nn.relu(1 - real) + jax.nn.relu(1 + generated), -generated


def gradient_penalty(discriminator: Callable, real: jax.Array, generated: jax.Array,
                     key: jax.Array, *, weight: float = 10.0) -> jax.Array:
  """Computes the squared distance of a critic's gradient norm from 1.

  The norm is taken at random points between real and generated examples (Gulrajani et
  al., *Improved Training of Wasserstein GANs*, 2017). The critic must treat every
  example independently: no batch normalization.

  Args:
    discriminator: examples `[batch, ...]` -> logits `[batch]`.
    real: `[batch, ...]`.
    generated: `[batch, ...]`.
    key: PRNG key for the point between the two, for each example.
    weight: lambda of the paper.

  Returns:
    `[batch]`.
  """
  fraction = jax.random.uniform(key, (len(real), *[1] * (real.ndim - 1)))
  between = generated + fraction * (real - generated)
  norm = jnp.sqrt(_squared_gradient(discriminator, between) + 1e-12)
  return weight * (norm - 1) ** 2


def r1(discriminator: Callable, real: jax.Array, generated: jax.Array, key: jax.Array,
       *, weight: float = 10.0) -> jax.Array:
  """Computes half the squared gradient norm of a discriminator at real examples.

  Mescheder et al., *Which Training Methods for GANs do actually Converge?*, 2018.

  Args:
    discriminator: examples `[batch, ...]` -> logits `[batch]`.
    real: `[batch, ...]`.
    generated: not used.
    key: not used.
    weight: gamma of the paper.

  Returns:
    `[batch]`.
  """
  del generated, key
  return weight / 2 * _squared_gradient(discriminator, real)


def _squared_gradient(discriminator: Callable, inputs: jax.Array) -> jax.Array:
  gradient = jax.grad(lambda inputs: discriminator(inputs).sum())(inputs)
  return jnp.sum(gradient.reshape(len(gradient), -1) ** 2, -1)
