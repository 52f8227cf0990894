"""Generation: images that a discriminator cannot tell from real ones."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, plots
from bigmodels.tasks import generated_images
from bigmodels.tasks.generated_images import check_batch
from bigmodels.tasks.task import Split, labels_of, masked_mean, zero_masked

PATHS, POINTS = 6, 10  # paths between two latents in an evaluation, and images on each


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
    samples, sounds, image_to_image, threshold, calibration: as in `Task`.
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
  image_to_image: None = None
  calibration: None = None
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
  generated_images.check_white(white)
  measured = generated_images.measured(module.classes, classifier, open_run, examples)

  def latents_of(key, batch):
    return jax.random.normal(key, (len(batch['mask']), module.latent))

  def init(key, batch):
    check_batch(batch)
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

  def discriminator(params, model_state, batch, key):
    check_batch(batch)
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
    return generated_images.to_bytes(images, white)

  def generate_images(params, model_state, latents, labels, key):
    return to_bytes(call(params, model_state, latents, labels, method='generate',
                         train=False, key=key)[0])

  return Generation(
    module.latent, module.classes, init, discriminator, generator, generate_images,
    to_bytes, measured.check, measured.summarize,
    partial(plots.generation, paths=(PATHS, POINTS), white=white, note=measured.note),
    generated_images.snapshot)
