"""Losses: pure functions, one number an example; no reduction over the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, *,
                  smoothing: float = 0.0) -> jax.Array:
  """Negative log-likelihood of the labels.

  Args:
    logits: `[..., classes]`, or `[..., 1]` for two classes (the log-odds of 1).
    labels: `[...]`, class indices; or float `[..., classes]`, the share of each class.
    smoothing: label smoothing (Szegedy et al., 2016): this share of every label is
      spread over all classes.

  Returns:
    `[...]`, in nats.

  Raises:
    ValueError: for shares of another number of classes.
  """
  logits = _two_sided(logits)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    if labels.shape != logits.shape:
      raise ValueError(f'cross_entropy wants the shares of the classes, '
                       f'{logits.shape}, got labels {labels.shape}')
    values = optax.softmax_cross_entropy(logits, labels)
  else:
    values = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  if not smoothing:
    return values
  # The mean over all classes of -log p, without the labels as rows of numbers.
  spread = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
  return (1 - smoothing) * values + smoothing * spread


def hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """The margin loss of support vector machines.

  For one logit `max(0, 1 - y x)` with y = -1 or 1 (Cortes and Vapnik, 1995); for more
  the margin over the best wrong class (Crammer and Singer, 2001).

  Args:
    logits: `[batch, classes]` or `[batch, 1]`.
    labels: `[batch]`, class indices.

  Returns:
    `[batch]`.
  """
  if logits.shape[-1] == 1:
    return optax.hinge_loss(logits[:, 0], 2.0 * labels - 1.0)
  return optax.losses.multiclass_hinge_loss(logits, labels)


def squared_error(answer: jax.Array, targets: jax.Array) -> jax.Array:
  """`[batch, n]` twice -> `[batch]`: the mean over n of the squared differences."""
  return jnp.mean((answer - targets) ** 2, axis=-1)


def absolute_error(answer: jax.Array, targets: jax.Array) -> jax.Array:
  """`[batch, n]` twice -> `[batch]`: the mean over n of the absolute differences."""
  return jnp.mean(jnp.abs(answer - targets), axis=-1)


def non_saturating_gan(real: jax.Array, generated: jax.Array
                       ) -> tuple[jax.Array, jax.Array]:
  """The game of the first GANs, in the form that they train by.

  The discriminator descends its cross-entropy; the generator does not descend
  `log(1 - D)`, whose gradient vanishes as long as it is found out, but `-log D`
  (Goodfellow et al., 2014, section 3).

  Args:
    real: logits of the discriminator for real examples, `[batch]`.
    generated: those for generated ones, `[batch]`.

  Returns:
    what the discriminator descends and what the generator descends, each `[batch]`.
  """
  softplus = jax.nn.softplus
  return softplus(-real) + softplus(generated), softplus(-generated)


def wasserstein_gan(real: jax.Array, generated: jax.Array
                    ) -> tuple[jax.Array, jax.Array]:
  """How far apart the means of a critic are (Arjovsky et al., 2017).

  It wants a critic whose slope is bounded, as by `gradient_penalty`. See
  `non_saturating_gan` for arguments and result.
  """
  return generated - real, -generated


def hinge_gan(real: jax.Array, generated: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Margins of 1 on both sides (Lim and Ye, *Geometric GAN*, 2017).

  See `non_saturating_gan` for arguments and result.
  """
  return jax.nn.relu(1 - real) + jax.nn.relu(1 + generated), -generated


def gradient_penalty(judge: Callable, real: jax.Array, generated: jax.Array,
                     key: jax.Array, *, weight: float = 10.0) -> jax.Array:
  """How far a critic's slope is from 1 between real and generated examples, squared.

  Gulrajani et al., *Improved Training of Wasserstein GANs*, 2017. The critic must not
  look at one example for another: no batch normalisation in it.

  Args:
    judge: examples `[batch, ...]` -> `[batch]`.
    real: `[batch, ...]`.
    generated: `[batch, ...]`.
    key: of where between the two the slope is taken, for each example.
    weight: lambda.

  Returns:
    `[batch]`.
  """
  share = jax.random.uniform(key, (len(real), *[1] * (real.ndim - 1)))
  between = generated + share * (real - generated)
  return weight * (jnp.sqrt(_squared_slope(judge, between) + 1e-12) - 1) ** 2


def r1(judge: Callable, real: jax.Array, generated: jax.Array, key: jax.Array, *,
       weight: float = 10.0) -> jax.Array:
  """Half the squared slope of a discriminator at real examples, times gamma.

  Mescheder et al., *Which Training Methods for GANs do actually Converge?*, 2018. See
  `gradient_penalty` for arguments and result.
  """
  del generated, key
  return weight / 2 * _squared_slope(judge, real)


def _squared_slope(judge: Callable, inputs: jax.Array) -> jax.Array:
  slope = jax.grad(lambda inputs: judge(inputs).sum())(inputs)
  return jnp.sum(slope.reshape(len(slope), -1) ** 2, -1)


def probabilities(logits: jax.Array) -> jax.Array:
  """`[batch, classes]` by softmax; one logit is the log-odds of class 1 of two."""
  return jax.nn.softmax(_two_sided(logits), axis=-1)


def _two_sided(logits: jax.Array) -> jax.Array:
  if logits.shape[-1] > 1:
    return logits
  return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
