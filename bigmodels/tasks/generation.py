"""Generation: images that a discriminator cannot tell from real ones."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from bigmodels import losses, plots
from bigmodels.tasks import generated_images
from bigmodels.tasks.adversaries import Adversaries
from bigmodels.tasks.generated_images import check_batch, noise_of
from bigmodels.tasks.task import Task, labels_of, masked_mean, zero_masked

PATHS, POINTS = 6, 10  # paths between two latents in an evaluation, and images on each


def generation(model, loss: Callable = losses.non_saturating_gan,
               penalty: Callable | None = None, *, open_run: Callable,
               examples: Callable, classifier: str | None = None,
               white: int = 255) -> Adversaries:
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

  def generate_images(params, model_state, latents, labels):
    images, _ = call(params, model_state, latents, labels, method='generate',
                     train=False, key=jax.random.PRNGKey(0))
    return generated_images.to_bytes(images, white)

  def evaluate(params, model_state, batch, key, train):
    del key, train  # an adversary's losses are those of training
    rows, labels = batch['row'], batch['labels']
    # By the statistics of its batches, as in training: running ones mix both kinds.
    part = jax.random.fold_in(jax.random.PRNGKey(0), rows[0])
    _, (_, judged, _) = discriminator(params, model_state, batch, part)
    value, (_, made, _) = generator(params, model_state, batch, part)
    use = partial(generate_images, params, model_state)
    generated = use(_latents(1, rows, module.latent), labels)
    path, point = rows // POINTS, rows % POINTS
    # The first rows of a split carry the images on the paths.
    between = jax.lax.cond(
      jnp.any(rows < PATHS * POINTS),
      lambda: use(_on_path(path, point / (POINTS - 1), module.latent),
                  path % max(module.classes, 1)),
      lambda: jnp.zeros_like(generated))
    real = generated_images.to_bytes(batch['inputs'], white)
    judged = {f'discriminator_{name}': value for name, value in judged.items()}
    return value, (model_state, judged | made, {
      'generated': generated, 'real': real, 'labels': labels, 'between': between})

  return Adversaries(Task(
    init, evaluate, predictions=('generated',), check=measured.check,
    summarize=measured.summarize, plots=partial(
      plots.generation, paths=(PATHS, POINTS), white=white, note=measured.note),
    snapshot=generated_images.snapshot), discriminator, generator)


def _latents(kind: int, numbers: jax.Array, length: int) -> jax.Array:
  """Latents `[n, length]` that are a function of the numbers `[n]` alone."""
  return noise_of(kind, numbers, (length,))


def _on_path(numbers: jax.Array, fraction: jax.Array, length: int) -> jax.Array:
  """Latents on the great circle between two, whose lengths are as likely (White, 2016).

  Args:
    numbers: of the path, int `[n]`.
    fraction: of the way along it, `[n]`.
    length: of the latents.
  """
  start, end = (_latents(2, 2 * numbers + i, length) for i in (0, 1))
  cosine = (start * end).sum(-1) / (
    jnp.linalg.norm(start, axis=-1) * jnp.linalg.norm(end, axis=-1))
  angle = jnp.arccos(jnp.clip(cosine, -1, 1))
  one, other = (jnp.sin(part * angle) / jnp.sin(angle)
                for part in (1 - fraction, fraction))
  return one[:, None] * start + other[:, None] * end
