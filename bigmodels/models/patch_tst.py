"""A transformer over patches of each variable."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.activations import gelu
from bigmodels.layers.attention import Attention
from bigmodels.layers.dense import Dense
from bigmodels.layers.normalization import BatchNorm
from bigmodels.layers.stack import Remat, Stack
from bigmodels.layers.transformer import Block, FeedForward
from bigmodels.models.series import ReversibleNorm, check_series, with_quantiles
from bigmodels.models.validation import check_heads, check_rates, check_sizes


class PatchTst(nn.Module):
  """PatchTST: tokens are patches of time, and every variable is a series of its own.

  Nie et al., *A time series is worth 64 words*, 2023, with their norms over the batch,
  and with `ReversibleNorm` of each series. The last value is repeated for a last patch.

  Attributes:
    horizon: number of steps to forecast.
    targets: number of variables to forecast, the first channels of the inputs.
    quantiles: numbers for each value; None for one without an axis of its own.
    patch: number of steps of a patch.
    stride: number of steps between patches.
    depth: number of blocks.
    width: width of the tokens.
    heads: number of attention heads.
    hidden: width of the feed-forward layers.
    dropout: rate of dropout, in training, of what blocks add.
    head_dropout: rate of dropout, in training, before the forecast.
    affine: whether the norm of series has a scale and a bias for each variable.
    remat: see `Stack`.
    unroll: see `Stack`.
  """

  horizon: int
  targets: int
  quantiles: int | None = None
  patch: int = 16
  stride: int = 8
  depth: int = 3
  width: int = 128
  heads: int = 16
  hidden: int = 256
  dropout: float = 0.2
  head_dropout: float = 0.0
  affine: bool = True
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    check_sizes(self, 'horizon', 'targets', 'quantiles', 'patch', 'stride', 'depth',
                'width', 'hidden')
    check_heads(self)
    check_rates(self, 'dropout', 'head_dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, length, channels]` -> `[batch, horizon, targets]`, see `with_quantiles`.

    Raises:
      ValueError: for inputs without the targets, or shorter than a patch.
    """
    check_series(self, inputs)
    batch, length, targets = len(inputs), inputs.shape[1], self.targets
    if length < self.patch:
      raise ValueError(f'patch: must be at most {length}, the length of the inputs, '
                       f'got {self.patch}')
    x, back = ReversibleNorm(self.affine, name='series_norm')(inputs[..., :targets])
    x = jnp.swapaxes(x, 1, 2).reshape(batch * targets, length)
    x = jnp.pad(x, ((0, 0), (0, self.stride)), mode='edge')
    count = (x.shape[1] - self.patch) // self.stride + 1
    last = self.stride * (count - 1) + 1
    # Slices, as the gradient of a gather is a scatter, which is slow on a CPU.
    x = jnp.stack([x[:, i : i + last : self.stride] for i in range(self.patch)], -1)
    x = Dense(self.width, name='patches')(x)
    positions = self.param(
      'positions', partial(jax.random.uniform, minval=-0.02, maxval=0.02),
      (count, self.width))
    x = nn.Dropout(self.dropout, deterministic=not train)(x + positions.astype(x.dtype))
    block = partial(
      Block, attention=partial(Attention, self.heads),
      feed_forward=partial(FeedForward, self.hidden, activation=gelu),
      norm=partial(BatchNorm, use_running_average=not train, momentum=0.9),
      norm_first=False, dropout=self.dropout)
    x = Stack(block, self.depth, self.remat, self.unroll, name='blocks')(x, train=train)
    x = x.reshape(batch, targets, count * self.width)
    x = nn.Dropout(self.head_dropout, deterministic=not train)(x)
    x = Dense(self.horizon * (self.quantiles or 1), name='head')(x)
    return back(with_quantiles(self, x))
