"""Super-resolution: images enlarged, with the detail that they have lost."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import metrics, plots
from bigmodels.layers import bicubic, ycbcr
from bigmodels.metrics import Mean
from bigmodels.tasks.task import Columns, Task, apply, init, labels_of
from bigmodels.tasks.tiles import in_tiles

_TILE = 96  # pixels of a side, before they are enlarged


def super_resolution(model, error: Callable = jnp.abs, *, scale: int) -> Task:
  """Enlarges the luma of images; see `data.Downscaled`.

  The loss is the mean over pixels. An evaluation follows the conventions of published
  results: images are rounded to 8 bits, a border of `scale` pixels does not count, and
  `psnr` in dB and `ssim` are means over images. `psnr_bicubic` and `ssim_bicubic` are
  those of bicubic enlargement.

  In an image of colours, Cb and Cr are enlarged by `layers.bicubic`.

  Args:
    model: Linen module, (inputs `[batch, height, width, 1]`, inside `[batch, height,
      width]`) -> `[batch, height * scale, width * scale, 1]`, about 0 to 1. Its
      `radius` is the number of pixels of the input, in each direction, that a pixel of
      the output reads; those that are not inside, it reads as if they were not there.
    error: difference of output and target -> loss, elementwise: `jnp.abs` or
      `jnp.square`.
    scale: how many times images are enlarged; supplied by the run.

  Raises:
    ValueError: for a model without a `radius`, or of another scale.
  """
  module = getattr(model, 'model', model)  # within its precision
  name = type(module).__name__
  if not hasattr(module, 'radius'):
    raise ValueError(f'super_resolution needs a model with a radius, such as '
                     f'models.Espcn, got {name}')
  if getattr(module, 'scale', scale) != scale:
    raise ValueError(f'{name} enlarges {module.scale} times, the data is {scale} times '
                     f'smaller: leave out model.scale, or set the scale of the data to '
                     f'{module.scale}')
  columns = Columns(('inputs', 'inside'))

  def prepared(batch):
    return {**batch, 'inputs': batch['inputs'].astype(jnp.float32) / 255}

  def start(key, batch):
    return init(model, columns, key, prepared(batch))

  def objective(params, model_state, batch, key, train):
    output, model_state = apply(
      model, columns, params, model_state, prepared(batch), key=key, train=train)
    targets = labels_of(batch)
    if output.shape != targets.shape:
      raise ValueError(f'super_resolution: the model gives {output.shape}, must be '
                       f'{targets.shape}')
    loss = metrics.mean_of(error(output - targets.astype(jnp.float32) / 255),
                           counted_pixels(batch, scale).astype(jnp.float32))
    value = loss.total / jnp.where(loss.count > 0, loss.count, 1.0)
    if train:
      return value, (model_state, {'loss': loss}, {})
    found, outputs = _scored(batch, 255 * output, scale)
    return value, (model_state, {**found, 'loss': loss}, outputs)

  @jax.jit
  def enlarge(params, model_state, inputs, inside):
    batch = {'inputs': inputs[None, ..., None], 'inside': inside[None],
             'mask': jnp.ones(1)}
    output, _ = apply(model, columns, params, model_state, prepared(batch), key=None,
                      train=False)
    return 255 * output[0, ..., 0]

  def image_to_image(params, model_state, image):
    planes = image.astype(np.float32)
    if image.shape[-1] == 3:
      planes = ycbcr.from_rgb(planes)
    luma = in_tiles(partial(enlarge, params, model_state), planes[..., 0], scale=scale,
                    radius=module.radius, tile=_TILE)
    if image.shape[-1] == 1:
      return _bytes(luma[..., None])
    colours = bicubic.resize(np.moveaxis(planes[..., 1:], -1, 0), scale)
    return _bytes(ycbcr.to_rgb(np.stack([luma, *colours], -1)))

  return Task(start, objective, columns.names, plots=plots.super_resolution,
              image_to_image=image_to_image)


def counted_pixels(batch: Mapping[str, jax.Array], scale: int) -> jax.Array:
  """Returns which pixels of enlarged images count, bool `[batch, height, width, 1]`.

  Args:
    batch: of `data.Downscaled`.
    scale: how many times images are enlarged.
  """
  inside = batch['inside'] & (batch['mask'] > 0)[:, None, None]
  return jnp.repeat(jnp.repeat(inside, scale, 1), scale, 2)[..., None]


def _scored(batch, output: jax.Array, scale: int
            ) -> tuple[dict[str, Mean], dict[str, jax.Array]]:
  """Metrics of images and of the baseline, and the outputs of an evaluation.

  Args:
    batch: of `data.Downscaled`.
    output: of the model, 0 to 255, `[batch, height, width, 1]`.
    scale: how many times images were enlarged.
  """
  inside = batch['inside']
  sizes = jnp.stack([inside.any(2).sum(1), inside.any(1).sum(1)], -1)
  low = batch['inputs'][..., 0].astype(jnp.float32)
  smooth = jax.vmap(lambda image, size: bicubic.resize(image, scale, sizes=size))(
    low, jnp.maximum(sizes, 1))
  images = _rounded(jnp.stack([output[..., 0], smooth]))
  targets = batch['labels'][..., 0]
  counted = _without_border(targets.shape[1:], sizes * scale, scale)
  outputs = {}
  for name, measure in (('psnr', metrics.psnr), ('ssim', metrics.ssim)):
    values = jax.vmap(measure, (0, None, None))(
      images, targets.astype(jnp.float32), counted)
    outputs |= {name: values[0], f'{name}_bicubic': values[1]}
  found = {name: metrics.mean_of(values, batch['mask'])
           for name, values in outputs.items()}
  predictions, baseline = images.astype(jnp.uint8)
  return found, {**outputs, 'targets': targets, 'sizes': sizes * scale,
                 'predictions': predictions, 'bicubic': baseline}


def _without_border(shape: tuple[int, int], sizes: jax.Array, border: int) -> jax.Array:
  """The pixels of images that are not at their border, bool `[batch, *shape]`."""
  rows, columns = (
    (np.arange(length) >= border) & (np.arange(length) < size[:, None] - border)
    for length, size in zip(shape, sizes.T, strict=True))
  return rows[:, :, None] & columns[:, None, :]


def _rounded(images: jax.Array) -> jax.Array:
  return jnp.clip(jnp.round(images), 0, 255)


def _bytes(image: np.ndarray) -> np.ndarray:
  return np.clip(np.round(image), 0, 255).astype(np.uint8)
