"""Diffusion models and flow matching: images made of noise, step by step."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import plots
from bigmodels.tasks import generated_images, noising, samplers
from bigmodels.tasks.generated_images import keys_of, noise_of
from bigmodels.tasks.task import (
  Columns,
  Task,
  apply,
  init,
  labels_of,
  masked_mean,
  zero_masked,
)

# Keywords are not rounded to bfloat16, which has too few bits for times.
_COLUMNS = Columns(('inputs', 'labels'), ('times',))
_NOISE, _TIMES, _LOSSES = 1, 2, 3  # what the random numbers of an evaluation are for


def diffusion(model, *, schedule: noising.Schedule = noising.cosine,
              prediction: noising.Prediction = noising.of_v,
              sampler: Callable = samplers.dpm_solver, drop: float = 0.1,
              guidance: float = 1.0, open_run: Callable, examples: Callable,
              classifier: str | None = None, white: int = 255) -> Task:
  """A model learns to remove noise from images, and makes images of noise.

  The loss is the squared error of what is predicted, averaged over pixels; times are
  uniform. With `noising.linear` and `noising.of_noise` it is the simple loss of DDPM
  (Ho et al., 2020); with `noising.straight` and `noising.of_velocity`, flow matching.
  An evaluation generates an image for each label of a split; with a classifier, these
  are measured, see `generated_images.measured`.

  Args:
    model: Linen module with `classes`, (images, labels `[batch]`, times `[batch]`) ->
      what is predicted, of the shape of the images. The label `classes` stands for no
      class. Such as `models.DiffusionUnet` or `models.Dit`.
    schedule: levels of image and noise at each time; see `noising`.
    prediction: what the model predicts; see `noising`.
    sampler: how images are sampled; see `samplers`.
    drop: fraction of the labels that are left out in training, for guidance.
    guidance: how far samples go from the prediction without a class to that with it,
      and beyond if > 1 (Ho and Salimans, *Classifier-free diffusion guidance*, 2022);
      the model is then called twice in each step. 1 is the prediction with the class.
    open_run: path -> the `Run` at that path; supplied by the run.
    examples: n -> n raw inputs of the training split; supplied by the run.
    classifier: workdir of a run of `tasks.classification` on the same images; relative
      to the working directory.
    white: the raw value of the data that maps to 1 for the model; 0 maps to -1.

  Raises:
    UserError: for a classifier that does not exist, or has other classes.
    ValueError: for settings out of range, a model without `classes`, or guidance
      without classes.
  """
  module = getattr(model, 'model', model)  # within its precision
  if not hasattr(module, 'classes'):
    raise ValueError('diffusion needs a model with classes, such as '
                     'models.DiffusionUnet, got '
                     f'{type(module).__name__}')
  if not 0 <= drop < 1:
    raise ValueError(f'drop: must be >= 0 and < 1, got {drop}')
  if not 0 <= guidance < math.inf:
    raise ValueError(f'guidance: must be >= 0 and finite, got {guidance}')
  if guidance != 1 and not (module.classes and drop):
    raise ValueError(f'guidance: must be 1 without classes, or with drop=0, got '
                     f'{guidance}')
  generated_images.check_white(white)
  _check_sampler(sampler, schedule)
  measured = generated_images.measured(module.classes, classifier, open_run, examples)
  none = module.classes  # the label that stands for no class

  def start(key, batch):
    generated_images.check_batch(batch)
    return init(model, _COLUMNS, key, {
      **batch, 'times': jnp.zeros(len(batch['labels']))})

  def predict(params, model_state, noisy, times, labels, mask, key=None):
    batch = {'inputs': noisy, 'times': times, 'labels': labels, 'mask': mask}
    found, model_state = apply(model, _COLUMNS, params, model_state, batch, key=key,
                               train=key is not None)
    return found.astype(jnp.float32), model_state

  def loss(params, model_state, batch, key, train):
    generated_images.check_batch(batch)
    labels, mask = labels_of(batch), batch['mask']
    images = zero_masked(batch['inputs'], mask).astype(jnp.float32)
    if train:
      noising_key, timing, dropping, dropout = jax.random.split(key, 4)
      noise = jax.random.normal(noising_key, images.shape)
      times = jax.random.uniform(timing, mask.shape)
      given = jnp.where(jax.random.bernoulli(dropping, drop, mask.shape), none, labels)
    else:  # of the row alone, so that every evaluation is the same
      noise = noise_of(_LOSSES, batch['row'], images.shape[1:])
      given, dropout = labels, None
      times = jax.vmap(jax.random.uniform)(keys_of(_TIMES, batch['row']))
    signal, level = schedule(_over(times, images))
    image_factor, noise_factor = prediction(signal, level)
    predicted, after = predict(
      params, model_state, signal * images + level * noise, times, given, mask, dropout)
    errors = predicted - (image_factor * images + noise_factor * noise)
    value, total = masked_mean(jnp.mean(errors**2, (1, 2, 3)), mask)
    outputs = {} if train else {
      'generated': generated_images.to_bytes(
        generate(params, model_state, labels, batch['row'], images.shape[1:])[0],
        white),
      'real': generated_images.to_bytes(images, white), 'labels': labels}
    return value, (after, {'loss': total}, outputs)

  def generate(params, model_state, labels, rows, shape):
    """Images from -1 to 1, and those predicted on the way, `[steps, ...]`."""
    guided = guidance != 1
    given = jnp.concatenate([labels, jnp.full_like(labels, none)]) if guided else labels

    def denoise(noisy, time):
      twice = jnp.concatenate([noisy, noisy]) if guided else noisy
      predicted, _ = predict(params, model_state, twice, jnp.full(len(twice), time),
                             given, jnp.ones(len(twice)))
      if guided:
        with_class, without = jnp.split(predicted, 2)
        predicted = without + guidance * (with_class - without)
      image = noising.image_of(noisy, predicted, schedule(time), prediction)
      return jnp.clip(image, -1, 1)

    images, along = sampler(
      denoise, schedule, noise_of(_NOISE, rows, shape), keys_of(_NOISE, rows))
    return jnp.clip(images, -1, 1), along

  def samples(params, model_state, inputs, count):
    labels = jnp.arange(min(module.classes, 10)) if module.classes else jnp.zeros(
      6, jnp.int32)
    shape = np.asarray(inputs(np.arange(1))).shape[1:]
    if shape[-1] not in (1, 3):
      return {}
    along = jax.jit(partial(generate, shape=shape))(
      params, model_state, labels, jnp.arange(len(labels)))[1]
    return {'From noise to images': plots.denoised(
      np.asarray(generated_images.to_bytes(along, white)), white)}

  return Task(
    start, loss, predictions=('generated',), check=measured.check,
    summarize=measured.summarize, samples=samples,
    plots=partial(plots.generation, white=white, note=measured.note),
    snapshot=generated_images.snapshot)


def _check_sampler(sampler: Callable, schedule: noising.Schedule) -> None:
  """Calls a sampler on shapes, so that it refuses its settings before a run begins."""
  row = jnp.zeros(1, jnp.int32)
  jax.eval_shape(lambda noise, keys: sampler(
    lambda noisy, time: noisy, schedule, noise, keys),
    noise_of(_NOISE, row, (1, 1, 1)), keys_of(_NOISE, row))


def _over(times: jax.Array, images: jax.Array) -> jax.Array:
  """Times `[batch]` that broadcast to images."""
  return times.reshape(-1, *[1] * (images.ndim - 1))
