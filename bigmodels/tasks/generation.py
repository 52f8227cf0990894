"""Generation: images that a discriminator cannot tell from real ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.tasks.task import labels_of, masked_mean, zero_masked


class Generation(NamedTuple):
  """What a learner of two adversaries needs of a model.

  The params have the parts `generator` and `discriminator`. Neither loss sends a
  gradient into the part of the other.

  Attributes:
    latent: length of the latents.
    classes: number of them, 0 where none are told.
    init: (key, batch) -> params, model_state.
    discriminator: (params, model_state, batch, key) -> loss, (model_state, sums,
      outputs).
    generator: the same.
    generate: (params, model_state, latents `[n, latent]`, labels `[n]`, key) -> bytes
      of images as the data has them, uint8 `[n, height, width, channels]`.
    to_bytes: images as the model has them, from -1 to 1 -> the same.
    summarize: (outputs of a split) -> name -> number.
    figures: (outputs, inputs: rows -> arrays, classes) -> title -> figure.
  """

  latent: int
  classes: int
  init: Callable[..., tuple[Any, Any]]
  discriminator: Callable
  generator: Callable
  generate: Callable
  to_bytes: Callable
  summarize: Callable[..., dict[str, float]]
  figures: Callable[..., dict[str, Any]]


def generation(model, game: Callable = losses.non_saturating_gan,
               penalty: Callable | None = None, *, trained: Callable,
               examples: Callable, classifier: str | None = None,
               white: int = 255) -> Generation:
  """Two adversaries and the game they play.

  With a classifier, what is generated for the labels of a split is measured in the
  space of its features, those that its last dense layer reads; see
  `metrics.generation`.

  Args:
    model: Linen module with `latent`, `classes`, and `generate(latents, labels,
      train=...)` -> images and `judge(images, labels, train=...)` -> logits `[batch]`,
      of parts `generator` and `discriminator`, such as `models.Dcgan`.
    game: (logits of real images, of generated ones) -> what the discriminator
      descends, what the generator descends, both `[batch]`; see `losses`.
    penalty: (judge: images -> `[batch]`, real, generated, key) -> `[batch]`, what is
      added to the discriminator's loss, such as `losses.gradient_penalty`.
    trained: path -> the run there; see `DataContext.trained`. The run supplies it, or
      None where nothing is measured.
    examples: n -> that many raw inputs of the training split. The run supplies it.
    classifier: workdir of a run of `tasks.classification` on the same images; relative
      to where the run is started.
    white: the raw value of the data that is 1 for the model; 0 is -1.

  Raises:
    UserError: for a classifier that is not there, or knows other classes.
    ValueError: for a model without the parts above.
  """
  module = getattr(model, 'model', model)  # within its precision
  lacking = [n for n in ('latent', 'classes', 'generate', 'judge')
             if not hasattr(module, n)]
  if lacking:
    raise ValueError(f'generation wants a model with {", ".join(lacking)}, such as '
                     f'models.Dcgan, got {type(module).__name__}')
  if not 1 <= white <= 255:
    raise ValueError(f'white: wants 1 to 255, got {white}')
  judging = trained(classifier) if classifier else None
  if judging is not None:  # before anything is trained
    known = judging.answer(np.asarray(examples(1)))[1].shape[-1]
    if module.classes > known:
      raise UserError(f'--config.task.classifier={classifier}: knows {known} classes, '
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
      raise ValueError('generation wants labels [batch] of classes, got '
                       f'{labels.dtype} {labels.shape}')
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
      raise ValueError(
        'generation wants images [batch, height, width, channels] from -1 to 1, got '
        f'{images.dtype} {images.shape}: end the transforms with standardize, of a '
        'mean and std of half the brightest value')

  def discriminator(params, model_state, batch, key):
    _check(batch)
    params = {**params, 'generator': jax.lax.stop_gradient(params['generator'])}
    labels, mask = labels_of(batch), batch['mask']
    real = zero_masked(batch['inputs'], mask)
    drawing, noise, mixing = jax.random.split(key, 3)
    use = partial(call, train=True, key=noise)
    made, _ = use(params, model_state, latents_of(drawing, batch), labels,
                  method='generate')
    of_real, model_state = use(params, model_state, real, labels, method='judge')
    of_made, model_state = use(params, model_state, made, labels, method='judge')
    values, _ = game(of_real, of_made)
    if penalty is not None:
      def judge(images):
        return use(params, model_state, images, labels, method='judge')[0]

      values = values + penalty(judge, real, made, mixing)
    value, total = masked_mean(values, mask)
    _, real_right = masked_mean((of_real > 0).astype(jnp.float32), mask)
    _, made_right = masked_mean((of_made < 0).astype(jnp.float32), mask)
    return value, (model_state, {'loss': total, 'real_right': real_right,
                           'generated_right': made_right}, {})

  def generator(params, model_state, batch, key):
    params = {**params, 'discriminator': jax.lax.stop_gradient(params['discriminator'])}
    labels, mask = labels_of(batch), batch['mask']
    drawing, noise = jax.random.split(key)
    use = partial(call, train=True, key=noise)
    made, model_state = use(params, model_state, latents_of(drawing, batch), labels,
                      method='generate')
    of_made, _ = use(params, model_state, made, labels, method='judge')
    value, total = masked_mean(game(jnp.zeros_like(of_made), of_made)[1], mask)
    return value, (model_state, {'loss': total}, {})

  def to_bytes(images):
    return jnp.clip(jnp.round((images + 1) * (white / 2)), 0, white).astype(jnp.uint8)

  def generate(params, model_state, latents, labels, key):
    return to_bytes(call(params, model_state, latents, labels, method='generate',
                         train=False, key=key)[0])

  def summarize(outputs):
    if judging is None:
      return {}
    seen = {'generated': outputs['generated'], 'real': outputs['real'],
            'train': np.asarray(examples(len(outputs['real'])))}
    answers = {name: judging.answer(images) for name, images in seen.items()}
    right = {f'accuracy{end}': float(np.mean(
      answers[name][1].argmax(-1) == outputs['labels']))
      for name, end in (('generated', ''), ('real', '_real'))}
    features = {name: found for name, (found, _) in answers.items()}
    return (right if module.classes else {}) | metrics.generation(features)

  note = None if judging is None else f'measured by {judging.name}'
  return Generation(module.latent, module.classes, init, discriminator, generator,
                    generate, to_bytes, summarize,
                    partial(plots.generation, white=white, note=note))
