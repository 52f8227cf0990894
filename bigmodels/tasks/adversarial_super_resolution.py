"""Super-resolution whose images a discriminator cannot tell from real ones."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from bigmodels import losses
from bigmodels.core.errors import nearest
from bigmodels.tasks.adversaries import Adversaries
from bigmodels.tasks.super_resolution import counted_pixels, super_resolution
from bigmodels.tasks.task import Columns, apply, labels_of, masked_mean

_COLUMNS = Columns(('inputs', 'inside'))


def adversarial_super_resolution(
    model, loss: Callable = losses.non_saturating_gan, *, scale: int,
    layer: str | None = None, content_weight: float = 1.0,
    adversarial_weight: float = 1e-3) -> Adversaries:
  """Enlarges the luma of images, as SRGAN; see `super_resolution`.

  The generator's loss is a weighted sum of two: `content`, the mean squared difference
  from the real image, of features or, without a layer, of pixels from -1 to 1; and
  `adversarial`, that of the discriminator's answer. Padding is 0 in the images that
  both are computed of.

  An evaluation is that of `super_resolution` with squared errors: the discriminator
  takes no part in it, for it takes only images of the size that it was trained on.

  Ledig et al., *Photo-realistic single image super-resolution using a generative
  adversarial network*, 2017: with `relu5_4` of a VGG-19 this is their SRGAN-VGG54, and
  without a layer SRGAN-MSE; but they enlarge all three colours.

  Args:
    model: Linen module that `super_resolution` takes, with parts `generator` and
      `discriminator`, and `discriminate(images, train=...)`, images about 0 to 1
      `[batch, height, width, 1]` -> logits `[batch]`; and, for a layer,
      `describe(images)`, layer -> features `[batch, ...]`. Such as `models.SrGan`.
    loss: (logits of real images, logits of enlarged images) -> the discriminator's
      loss, the generator's loss, both `[batch]`; see `losses`.
    scale: how many times images are enlarged; supplied by the run.
    layer: the features that content is compared by; None for pixels.
    content_weight, adversarial_weight: factors of the two losses.

  Raises:
    ValueError: for a model without the parts above, of another scale, or whose features
      have no such layer; or weights out of range.
  """
  module = getattr(model, 'model', model)  # within its precision
  name = type(module).__name__
  if getattr(module, 'discriminator', None) is None:
    raise ValueError('adversarial_super_resolution needs a model with a discriminator, '
                     f'such as models.SrGan, got {name} without one')
  for which, weight in (('content', content_weight),
                        ('adversarial', adversarial_weight)):
    if not 0 <= weight < math.inf:
      raise ValueError(f'{which}_weight: must be finite and >= 0, got {weight}')
  if layer is not None:
    _check_layer(layer, module)

  def only(side, params):
    """The params, whose gradient is zero for all other parts."""
    return {part: x if part == side else jax.lax.stop_gradient(x)
            for part, x in params.items()}

  def pair(params, model_state, batch, key):
    """The real images and the enlarged ones, from 0 to 1, and the updated state."""
    labels = labels_of(batch)
    images, model_state = apply(
      model, _COLUMNS, params, model_state,
      {**batch, 'inputs': batch['inputs'].astype(jnp.float32) / 255}, key=key,
      train=True)
    if images.shape != labels.shape:
      raise ValueError(f'super_resolution: the model gives {images.shape}, must be '
                       f'{labels.shape}')
    inside = counted_pixels(batch, scale)
    real = labels.astype(jnp.float32) / 255
    return (*(jnp.where(inside, x, 0.0) for x in (real, images)), inside), model_state

  def judge(params, model_state, images):
    logits, updated = model.apply(
      {'params': params, **model_state}, images, train=True, method='discriminate',
      mutable=list(model_state))
    return logits, {**model_state, **updated}

  def discriminator(params, model_state, batch, key):
    params = only('discriminator', params)
    (real, enlarged, _), _ = pair(params, model_state, batch, key)
    of_real, model_state = judge(params, model_state, real)
    of_enlarged, model_state = judge(params, model_state, enlarged)
    values, _ = loss(of_real, of_enlarged)
    mean = partial(masked_mean, mask=batch['mask'])
    value, total = mean(values)
    return value, (model_state, {
      'loss': total, 'real_accuracy': mean((of_real > 0).astype(jnp.float32))[1],
      'enlarged_accuracy': mean((of_enlarged < 0).astype(jnp.float32))[1]}, {})

  def content_of(params, model_state, real, enlarged, inside):
    if layer is None:
      counts = jnp.maximum(inside.sum((1, 2, 3)), 1)
      return ((2 * (enlarged - real)) ** 2).sum((1, 2, 3)) / counts
    variables = {'params': params, **model_state}
    return losses.content_distance(*(
      model.apply(variables, images, method='describe')[layer]
      for images in (enlarged, real)))

  def generator(params, model_state, batch, key):
    params = only('generator', params)
    (real, enlarged, inside), model_state = pair(params, model_state, batch, key)
    content = content_of(params, model_state, real, enlarged, inside)
    logits, _ = judge(params, model_state, enlarged)
    _, adversarial = loss(jnp.zeros_like(logits), logits)
    mean = partial(masked_mean, mask=batch['mask'])
    value, total = mean(content_weight * content + adversarial_weight * adversarial)
    return value, (model_state, {
      'loss': total, 'content': mean(content)[1],
      'adversarial': mean(adversarial)[1]}, {})

  return Adversaries(super_resolution(model, jnp.square, scale=scale), discriminator,
                     generator)


def _check_layer(layer: str, module) -> None:
  known = getattr(getattr(module, 'features', None), 'layers', ())
  if layer not in known:
    raise ValueError(f'layer: the features of {type(module).__name__} have no '
                     f'{layer!r}{nearest(layer, known)}')
