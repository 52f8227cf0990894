"""Losses of images by features of a network: content, style, and smoothness.

Gatys, Ecker and Bethge, *Image style transfer using convolutional neural networks*,
2016; in the normalization of Johnson, Alahi and Fei-Fei, *Perceptual losses for
real-time style transfer and super-resolution*, 2016, which does not depend on sizes.
"""

import jax
import jax.numpy as jnp


def gram_matrix(features: jax.Array) -> jax.Array:
  """Computes how the channels of features vary together, wherever in the image.

  Args:
    features: `[batch, height, width, channels]`.

  Returns:
    `[batch, channels, channels]`: the sum over positions of the products of two
    channels, divided by `height * width * channels`.
  """
  batch, height, width, channels = features.shape
  rows = features.reshape(batch, height * width, channels)
  products = jnp.einsum('bpi,bpj->bij', rows, rows, precision='highest')
  return products / (height * width * channels)


def content_distance(features: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the mean squared difference: `[batch, ...]` twice -> `[batch]`."""
  return jnp.mean((features - targets) ** 2, axis=range(1, features.ndim))


def style_distance(grams: jax.Array, targets: jax.Array) -> jax.Array:
  """Computes the squared Frobenius distance of Gram matrices.

  It is four times the style loss of one layer of Gatys et al.

  Args:
    grams, targets: of `gram_matrix`, `[batch, channels, channels]`.

  Returns:
    `[batch]`.
  """
  return jnp.sum((grams - targets) ** 2, axis=(1, 2))


def total_variation(images: jax.Array) -> jax.Array:
  """Computes the mean squared difference of neighbours, below and beside each other.

  The total variation of Mahendran and Vedaldi (*Understanding deep image
  representations by inverting them*, 2015) with an exponent of 2, as a mean.

  Args:
    images: `[batch, height, width, channels]`, of at least 2x2 pixels.

  Returns:
    `[batch]`: the mean over vertical pairs plus that over horizontal ones.
  """
  return (content_distance(images[:, 1:], images[:, :-1])
          + content_distance(images[:, :, 1:], images[:, :, :-1]))
