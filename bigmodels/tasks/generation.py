"""Generation: images that a discriminator cannot tell from real ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.tasks.task import Split, labels_of, masked_mean, zero_masked

PATHS, POINTS = 6, 10  # paths between two latents in an evaluation, and images on each
SNAPSHOT = 10  # images of the same latents at every evaluation


class Generation(NamedTuple):
  """A generator and a discriminator, as the learner of GANs needs them.

  The params have the parts `generator` and `discriminator`. The gradient of each loss
  is zero for the other part. See `Task` for the other fields.

  Attributes:
    latent: length of the latents.
    classes: number of classes, 0 for an unconditional model.
    init: (key, batch) -> params, model_state.
    discriminator: (params, model_state, batch, key) -> loss, (model_state, metrics,
      outputs).
    generator: as `discriminator`.
    generate_images: (params, model_state, latents `[n, latent]`, labels `[n]`, key) ->
      images as in the data, uint8 `[n, height, width, channels]`.
    to_bytes: images as in the model, from -1 to 1 -> images as in the data.
    check, summarize, inputs, predictions, generate, answers: as in `Task`.
    samples, sounds, threshold: as in `Task`.
    plots: also takes `snapshots`, step -> the result of `snapshot` at that step.
    snapshot: (outputs of a split) -> name -> arrays that are saved for the report.
  """

  latent: int
  classes: int
  init: Callable[..., tuple[Any, Any]]
  discriminator: Callable
  generator: Callable
  generate_images: Callable
  to_bytes: Callable
  check: Callable[[Split], None]
  summarize: Callable[..., dict[str, float]]
  plots: Callable[..., dict[str, Any]]
  snapshot: Callable[..., dict[str, np.ndarray]]
  inputs: tuple[str, ...] = ('inputs',)
  predictions: tuple[str, ...] = ('generated',)
  generate: None = None
  answers: None = None
  samples: None = None
  sounds: None = None
  threshold: None = None


def generation(model, loss: Callable = losses.non_saturating_gan,
               penalty: Callable | None = None, *, open_run: Callable,
               examples: Callable, classifier: str | None = None,
               white: int = 255) -> Generation:
  """A generator and a discriminator, with the loss of each.

  With a classifier, the images generated for the labels of a split are evaluated in its
  feature space, the inputs of its last dense layer; see `metrics.generation`.

  Args:
    model: Linen module with `latent`, `classes`, and `generate(latents, labels,
      train=...)` -> images and `discriminate(images, labels, train=...)` -> logits
      `[batch]`, with parts `generator` and `discriminator`, such as `models.Dcgan`.
    loss: (logits of real images, logits of generated images) -> the discriminator's
      loss, the generator's loss, both `[batch]`; see `losses`.
    penalty: (discriminate: images -> `[batch]`, real, generated, key) -> `[batch]`,
      added to the discriminator's loss, such as `losses.gradient_penalty`.
    open_run: path -> the `Run` at that path; supplied by the run.
    examples: n -> n raw inputs of the training split; supplied by the run.
    classifier: workdir of a run of `tasks.classification` on the same images; relative
      to the working directory.
    white: the raw value of the data that maps to 1 for the model; 0 maps to -1.

  Raises:
    UserError: for a classifier that does not exist, or has other classes.
    ValueError: for a model without the parts above, or a `white` outside 1 to 255.
  """
  module = getattr(model, 'model', model)  # within its precision
  missing = [n for n in ('latent', 'classes', 'generate', 'discriminate')
             if not hasattr(module, n)]
  if missing:
    raise ValueError(f'generation needs a model with {", ".join(missing)}, such as '
                     f'models.Dcgan, got {type(module).__name__}')
  if not 1 <= white <= 255:
    raise ValueError(f'white: must be >= 1 and <= 255, got {white}')
  measured_by = open_run(classifier) if classifier else None
  if measured_by is not None:  # before anything is trained
    known = measured_by.features(np.asarray(examples(1)))[1].shape[-1]
    if module.classes > known:
      raise UserError(f'--config.task.classifier={classifier}: has {known} classes, '
                      f'the model makes images of {module.classes}')

  def latents_of(key, batch):
    return jax.random.normal(key, (len(batch['mask']), module.latent))

  def init(key, batch):
    _check(batch)
    first, noise = jax.random.split(key)
    variables = dict(model.init(
      {'params': first, 'noise': noise}, latents_of(key, batch), batch['labels'],
      batch['inputs'], train=False))
    return variables.pop('params'), variables

  def call(params, model_state, *arguments, method, train, key):
    answer, updated = model.apply(
      {'params': params, **model_state}, *arguments, train=train, method=method,
      rngs={'noise': key}, mutable=list(model_state) if train else [])
    return answer, {**model_state, **updated}

  def _check(batch):
    labels, images = batch['labels'], batch['inputs']
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
      raise ValueError('generation needs labels [batch] of classes, got '
                       f'{labels.dtype} {labels.shape}')
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
      raise ValueError(
        'generation needs images [batch, height, width, channels] from -1 to 1, got '
        f'{images.dtype} {images.shape}: end the transforms with standardize, with '
        'mean and std half the brightest value')

  def discriminator(params, model_state, batch, key):
    _check(batch)
    params = {**params, 'generator': jax.lax.stop_gradient(params['generator'])}
    labels, mask = labels_of(batch), batch['mask']
    real = zero_masked(batch['inputs'], mask)
    drawing, noise, mixing = jax.random.split(key, 3)
    use = partial(call, train=True, key=noise)
    generated, _ = use(
      params, model_state, latents_of(drawing, batch), labels, method='generate')
    of_real, model_state = use(params, model_state, real, labels, method='discriminate')
    of_generated, model_state = use(
      params, model_state, generated, labels, method='discriminate')
    values, _ = loss(of_real, of_generated)
    if penalty is not None:
      def discriminate(images):
        return use(params, model_state, images, labels, method='discriminate')[0]

      values = values + penalty(discriminate, real, generated, mixing)
    value, total = masked_mean(values, mask)
    _, real_accuracy = masked_mean((of_real > 0).astype(jnp.float32), mask)
    _, generated_accuracy = masked_mean((of_generated < 0).astype(jnp.float32), mask)
    return value, (model_state, {
      'loss': total, 'real_accuracy': real_accuracy,
      'generated_accuracy': generated_accuracy}, {})

  def generator(params, model_state, batch, key):
    params = {**params, 'discriminator': jax.lax.stop_gradient(params['discriminator'])}
    labels, mask = labels_of(batch), batch['mask']
    drawing, noise = jax.random.split(key)
    use = partial(call, train=True, key=noise)
    generated, model_state = use(
      params, model_state, latents_of(drawing, batch), labels, method='generate')
    of_generated, _ = use(params, model_state, generated, labels, method='discriminate')
    _, values = loss(jnp.zeros_like(of_generated), of_generated)
    value, total = masked_mean(values, mask)
    return value, (model_state, {'loss': total}, {})

  def to_bytes(images):
    return jnp.clip(jnp.round((images + 1) * (white / 2)), 0, white).astype(jnp.uint8)

  def generate_images(params, model_state, latents, labels, key):
    return to_bytes(call(params, model_state, latents, labels, method='generate',
                         train=False, key=key)[0])

  def summarize(outputs):
    if measured_by is None:
      return {}
    images = {'generated': outputs['generated'], 'real': outputs['real'],
              'train': np.asarray(examples(len(outputs['real'])))}
    answers = {name: measured_by.features(each) for name, each in images.items()}
    accuracy = {f'accuracy{end}': float(np.mean(
      answers[name][1].argmax(-1) == outputs['labels']))
      for name, end in (('generated', ''), ('real', '_real'))}
    features = {name: found for name, (found, _) in answers.items()}
    return (accuracy if module.classes else {}) | metrics.generation(features)

  def check(split):
    if split.classes and module.classes not in (0, len(split.classes)):
      raise UserError(
        f'{split.name}: the model makes images of {module.classes} classes, the data '
        f'has {len(split.classes)}: set --config.model.classes={len(split.classes)}')
    if measured_by is not None and module.classes:
      _check_classes(split, measured_by)

  note = None if measured_by is None else f'measured by {measured_by.name}'
  return Generation(
    module.latent, module.classes, init, discriminator, generator, generate_images,
    to_bytes, check, summarize,
    partial(plots.generation, paths=(PATHS, POINTS), white=white, note=note), snapshot)


def _check_classes(split: Split, run: Any) -> None:
  """Refuses a classifier whose class 3, say, is another class than in the data."""
  ours, theirs = split.classes, run.classes
  pairs = enumerate(zip(ours or (), theirs or (), strict=False))
  index = next((i for i, (a, b) in pairs if a != b), None)
  if index is None:
    return
  differ = (f'class {index} is {theirs[index]!r} in {run.name}, and {ours[index]!r} in '
            'the data of this run')
  if split.named and run.named:
    same = sorted(ours) == sorted(theirs)
    raise UserError(differ + ': the same classes in another order' * same)
  if split.name == 'train':  # once
    split.say(f'{differ}; one of them has numbers for names, so they are compared by '
              'number')


def snapshot(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """A few generated images, one of each class first, always of the same latents.

  Args:
    outputs: `generated` `[n, height, width, channels]` and `labels` `[n]`.
  """
  _, firsts = np.unique(outputs['labels'], return_index=True)
  others = np.setdiff1d(np.arange(len(outputs['labels'])), firsts)
  return {'generated': outputs['generated'][np.append(firsts, others)[:SNAPSHOT]]}
