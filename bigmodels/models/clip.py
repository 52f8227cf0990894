"""Two towers: images and texts as vectors whose product says whether they belong.

Radford et al., *Learning transferable visual models from natural language supervision*
(CLIP), 2021; with a bias, Zhai et al., *Sigmoid loss for language image pre-training*
(SigLIP), 2023.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense
from bigmodels.layers.pooling import global_average_pool, mean_pool
from bigmodels.models.validation import check_positive, check_sizes


class Clip(nn.Module):
  """A network of images and an encoder of texts, each with a last layer.

  A text is the mean of the features of its tokens.

  Attributes:
    image: network of images without a head: `[batch, height, width, channels]` ->
      features `[batch, features]`, or maps, of which the last one is averaged; such as
      `Vit` or `ResNet` with `num_outputs=None`.
    encoder: the encoder of the tokens, such as `Bert` or `BagOfWords`.
    width: length of the vectors.
    scale: initial scale of the cosines, the inverse of the temperature.
    max_scale: what the scale is limited to, as in CLIP.
    bias: initial bias of the logits, as in SigLIP; None for no bias.
  """

  image: nn.Module
  encoder: nn.Module
  width: int = 128
  scale: float = 1 / 0.07
  max_scale: float = 100.0
  bias: float | None = None

  def __post_init__(self):
    check_sizes(self, 'width')
    check_positive(self, 'scale', 'max_scale')
    if self.scale > self.max_scale:  # it would have no gradient
      raise ValueError(f'scale: must be at most max_scale, {self.max_scale}, got '
                       f'{self.scale}')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, captions: jax.Array | None = None,
               caption_segments: jax.Array | None = None, train: bool
               ) -> tuple[jax.Array, jax.Array | None, jax.Array, jax.Array]:
    """Encodes images and captions, which need not belong to these images.

    Args:
      inputs: images, `[batch, height, width, channels]`.
      captions: tokens, int `[texts, most, length]`; None for images alone.
      caption_segments: int `[texts, most, length]`, 0 for padding; None for no padding.
      train: whether to apply dropout.

    Returns:
      Vectors, `[batch, width]` of the images and `[texts, most, width]` of the
      captions; and the scale and the bias of their cosines, scalars.
    """
    x = self.image(inputs, train=train)
    x = global_average_pool(x[-1]) if isinstance(x, tuple) else x
    images, texts = Dense(self.width, use_bias=False, name='image_head')(x), None
    if captions is not None:
      texts = self._texts(captions, caption_segments, train)
    log_scale = self.param('log_scale', nn.initializers.constant(
      jnp.log(self.scale)), ())
    bias = jnp.zeros(()) if self.bias is None else self.param(
      'bias', nn.initializers.constant(self.bias), ())
    scale = jnp.exp(jnp.minimum(log_scale, jnp.log(self.max_scale)))
    return images, texts, scale, bias

  def _texts(self, captions, segments, train):
    count, most, length = captions.shape
    tokens = captions.reshape(-1, length)
    segments = None if segments is None else segments.reshape(-1, length)
    x = self.encoder(tokens, segments=segments, train=train)
    x = Dense(self.width, use_bias=False, name='text_head')(mean_pool(x, segments))
    return x.reshape(count, most, self.width)
