"""Style transfer: images with the content of one and the style of another."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import nearest
from bigmodels.tasks.generated_images import keys_of
from bigmodels.tasks.task import Columns, Task, apply, init, masked_mean, zero_masked

_COLUMNS = Columns(('inputs', 'row'))
_NOISE = 1  # what the random numbers of an evaluation are for


def style_transfer(model, *, content: tuple[str, ...] = ('relu4_2',),
                   style: tuple[str, ...] = (
                     'relu1_1', 'relu2_1', 'relu3_1', 'relu4_1', 'relu5_1'),
                   content_weight: float = 1.0, style_weight: float = 1e4,
                   variation_weight: float = 0.0) -> Task:
  """Makes images that have the features of photographs, and the style of others.

  The loss is a weighted sum of three: `content`, the mean squared difference of
  features from those of the photograph; `style`, the squared distance of their Gram
  matrices from those of the style; and `variation`, the mean squared difference of
  neighbouring pixels. Over several layers they are means. See `losses.style`.

  With `models.Pictures` this is the method of Gatys, Ecker and Bethge (*Image style
  transfer using convolutional neural networks*, 2016), with `models.StyleNet` that of
  Johnson, Alahi and Fei-Fei (*Perceptual losses for real-time style transfer and
  super-resolution*, 2016).

  An evaluation is of images rounded to 8 bits. It also has the losses of what is done
  without training: `style_photograph`, of the photographs themselves, whose content is
  0; and `content_noise` and `style_noise`, of uniform noise.

  Args:
    model: `models.StyleTransfer`, or a Linen module that is called as
      `model(inputs, row, train=...)`, photographs from 0 to 1 -> images, and has
      `describe(images)`, layer -> features `[batch, height, width, channels]`.
    content: layers of the features that content is compared by.
    style: layers that style is compared by.
    content_weight, style_weight, variation_weight: factors of the three losses.

  Raises:
    ValueError: for a model without `describe`, a layer that its features do not have,
      or weights out of range.
  """
  module = getattr(model, 'model', model)  # within its precision
  if not hasattr(module, 'describe'):
    raise ValueError('style_transfer needs a model that describes images, such as '
                     f'models.StyleTransfer, got {type(module).__name__}')
  weights = {'content': content_weight, 'style': style_weight,
             'variation': variation_weight}
  for name, weight in weights.items():
    if not 0 <= weight < math.inf:
      raise ValueError(f'{name}_weight: must be finite and >= 0, got {weight}')
  for name, layers in (('content', content), ('style', style)):
    _check_layers(name, layers, module)

  def prepared(batch):
    if 'inputs' not in batch or 'style' not in batch:
      raise ValueError("style_transfer needs the columns 'inputs' and 'style', as of "
                       f'data.StylePairs; the data has {", ".join(batch)}')
    return {**batch, **{name: _units(zero_masked(batch[name], batch['mask']))
                        for name in ('inputs', 'style')}}

  def start(key, batch):
    return init(model, _COLUMNS, key, prepared(batch))

  def describe(params, model_state, images):
    """The features that content is compared by, and the Gram matrices of style."""
    found = model.apply({'params': params, **model_state}, images, method='describe')
    return ({layer: found[layer] for layer in content},
            {layer: losses.gram_matrix(found[layer]) for layer in style})

  def objective(params, model_state, batch, key, train):
    batch = prepared(batch)
    images, after = apply(
      model, _COLUMNS, params, model_state, batch, key=key, train=train)
    described = partial(describe, params, model_state)
    wanted = described(batch['inputs'])[0], described(batch['style'])[1]

    def distances(images):
      features, grams = described(images)
      return (_mean(losses.content_distance, features, wanted[0]),
              _mean(losses.style_distance, grams, wanted[1]))

    shown = images if train else _units(_bytes(images))
    values = dict(zip(('content', 'style'), distances(shown), strict=True))
    values['variation'] = losses.total_variation(shown)
    value, total = masked_mean(sum(
      weight * values[name] for name, weight in weights.items()), batch['mask'])
    outputs = {}
    if not train:
      noise = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(
        keys_of(_NOISE, batch['row']))
      values['content_noise'], values['style_noise'] = distances(noise)
      values['style_photograph'] = distances(batch['inputs'])[1]
      outputs = {**values, 'predictions': _bytes(images),
                 'photographs': _bytes(batch['inputs']),
                 'styles': _bytes(batch['style'])}
    found = {name: metrics.mean_of(each, batch['mask'])
             for name, each in values.items()}
    return value, (after, {**found, 'loss': total}, outputs)

  @jax.jit
  def paint(params, model_state, image):
    batch = {'inputs': _units(image[None]), 'row': jnp.zeros(1, jnp.int32),
             'mask': jnp.ones(1)}
    return _bytes(apply(model, _COLUMNS, params, model_state, batch, key=None,
                        train=False)[0][0])

  network = getattr(module, 'network', module)
  takes_others = hasattr(network, 'multiple')  # not only the photographs of training

  def image_to_image(params, model_state, image):
    """Repeats the last pixels up to the sides that the network takes, and cuts them."""
    height, width = image.shape[:2]
    margin = [(0, max(network.least, side + -side % network.multiple) - side)
              for side in (height, width)]
    padded = np.pad(np.broadcast_to(image, (height, width, 3)), (*margin, (0, 0)),
                    'edge')
    return np.asarray(paint(params, model_state, padded))[:height, :width]

  return Task(start, objective, ('inputs',), plots=plots.style_transfer,
              image_to_image=image_to_image if takes_others else None)


def _check_layers(name: str, layers: tuple[str, ...], module) -> None:
  known = getattr(getattr(module, 'features', None), 'layers', None)
  if not layers:
    raise ValueError(f'{name}: must be at least one layer, got none')
  for layer in layers:
    if known is not None and layer not in known:
      raise ValueError(f'{name}: the features have no layer {layer!r}'
                       f'{nearest(layer, known)}')


def _mean(distance, found: dict[str, jax.Array], wanted: dict[str, jax.Array]
          ) -> jax.Array:
  """The mean over layers, `[batch]`."""
  return sum(distance(found[layer], wanted[layer]) for layer in found) / len(found)


def _units(images: jax.Array) -> jax.Array:
  return images.astype(jnp.float32) / 255


def _bytes(images: jax.Array) -> jax.Array:
  return jnp.clip(jnp.round(255 * images), 0, 255).astype(jnp.uint8)
