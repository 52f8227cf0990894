"""Losses: pure functions that give one number an example; the batch is not reduced."""

from bigmodels.losses.classification import cross_entropy, hinge, probabilities
from bigmodels.losses.gan import (
  gradient_penalty,
  hinge_gan,
  non_saturating_gan,
  r1,
  wasserstein_gan,
)
from bigmodels.losses.regression import absolute_error, squared_error

__all__ = ['absolute_error', 'cross_entropy', 'gradient_penalty', 'hinge', 'hinge_gan',
           'non_saturating_gan', 'probabilities', 'r1', 'squared_error',
           'wasserstein_gan']
