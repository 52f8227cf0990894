"""The parameters of some seeds are not finite from the start."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def spoilt(key, shape, dtype=jnp.float32):
  """Zeros; not a number where the key gives a number above 0.5."""
  return jnp.where(jax.random.uniform(key) > 0.5, jnp.nan, jnp.zeros(shape, dtype))


def make_spoilt():
  return spoilt


def config(*, seed: int = 0) -> Experiment:
  digits = data.Digits()

  def batches(split):
    return data.Batches(source=digits.split(split), batch_size=100,
                        transforms=(transforms.standardize,))

  return Experiment(
    model=models.Linear(num_outputs=10, kernel_init=make_spoilt),
    task=tasks.classification, optimizer=partial(optax.sgd, 0.1),
    train=batches('train'),
    evals={'test': batches('test')}, duration=Duration(steps=10),
    log_every=Duration(steps=5), checkpoint_every=Duration(steps=4), seed=seed)
