"""94 % on CIFAR-10 in the shortest time: Jordan's airbench, 2025, with Muon.

  python run.py --experiment=cifar_speedrun --data_dir=DIR --require_backend=gpu

Jordan's script takes 2.59 seconds on one A100 for 94.01 % on average, without
compilation. Hiverge (*How to train a model on CIFAR-10 in less than 2 seconds?*, 2025)
report 1.99 seconds for a modified one. Three of its changes are options here; what
accuracy and time they give with the settings of this file has not been measured, so
they are off:

  --config.optimizer.stacked=True              the same result up to rounding
  --config.model.activation=flax.linen.silu
  --config.task.confident=0.7                  test-time views of the other images only

Its others are vectorized cropping (`transforms.shift` is a single gather), jitter of
brightness and contrast, norms scaled less often, half precision for more, and other
rates.

Needs: CIFAR-10 (TFDS); a GPU, 49 minutes for 12 epochs on two cores.
"""

from functools import partial

import jax
import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import test_time, transforms
from bigmodels.optim import schedules


def config(*, epochs: float = 8, batch_size: int = 2000, filters: float = 0.24,
           biases: float = 0.053, head: float = 0.67, decay: float = 2e-6,
           smoothing: float = 0.2, seed: int = 0) -> Experiment:
  cifar = data.Tfds('cifar10')
  return Experiment(
    model=partial(models.Airbench, num_outputs=10),
    task=partial(tasks.classification, smoothing=smoothing,
                 test_time=test_time.mirrored_and_moved),
    optimizer=partial(
      muon_and_sgd, batch_size=batch_size, filters=filters, biases=biases, head=head,
      decay=decay, whitening=3 / epochs),
    train=data.Batches(
      source=cifar.split('train'), batch_size=batch_size,
      transforms=(transforms.alternating_flip,
                  partial(transforms.shift, pixels=2, padding='reflect'),
                  transforms.standardize)),
    evals={'test': data.Batches(
      source=cifar.split('test'), batch_size=2000,
      transforms=(transforms.standardize,))},
    evaluate_every=Duration(epochs=epochs),
    log_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    seed=seed)


def muon_and_sgd(*, steps: int, batch_size: int, filters: float, biases: float,
                 head: float, decay: float, whitening: float, stacked: bool = False
                 ) -> optax.GradientTransformation:
  """Muon for filters; SGD with Nesterov momentum for biases and the head.

  Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024.

  Args:
    steps: length of the run, over which the learning rates fall to 0.
    batch_size: factor of the rates of SGD; published ones are for the sum of a batch's
      losses.
    filters, biases, head: learning rates.
    decay: weight decay of biases and head, per example and for a rate of 1.
    whitening: fraction of the run in which the first layer's bias learns.
    stacked: see `optim.muon_filters`.

  Raises:
    ValueError: for a rate that is not positive.
  """
  def falling(rate, fraction=1.0):
    return schedules.warmup_linear(round(fraction * steps), peak=rate, warmup=0.0)

  for name, rate in (('filters', filters), ('biases', biases), ('head', head)):
    if not 0 < rate < float('inf'):  # decay is divided by it
      raise ValueError(f'{name}: must be > 0 and finite, got {rate}')

  def sgd(rate, schedule):
    return optax.chain(
      optax.scale(batch_size), optax.add_decayed_weights(decay * batch_size / rate),
      optax.sgd(schedule, momentum=0.85, nesterov=True))

  def kind(path, _):
    names = [key.key for key in path]
    return names[0] if names[0] in ('whitening_bias', 'head') else (
      'bias' if names[-1] == 'bias' else 'filters')

  return optax.partition({
    'filters': optax.chain(
      optim.muon_filters(stacked=stacked),
      optax.scale_by_learning_rate(falling(filters)),
      optim.with_norms(lambda kernel: kernel.shape[-1] ** 0.5)),
    'whitening_bias': sgd(biases, falling(biases, whitening)),
    'bias': sgd(biases, falling(biases)),
    'head': sgd(head, falling(head)),
  }, lambda params: jax.tree.map_with_path(kind, params))
