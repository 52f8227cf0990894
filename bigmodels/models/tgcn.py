"""Recurrent units whose variables exchange their states along a graph."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core import target
from bigmodels.layers.dense import matmul
from bigmodels.models.series import check_series, with_quantiles
from bigmodels.models.validation import check_sizes


class Tgcn(nn.Module):
  """T-GCN: a gated recurrent unit for each variable, with graph convolutions.

  Zhao et al., *T-GCN: a temporal graph convolutional network for traffic prediction*,
  2020; with one convolution for each gate, as in their code. The weights are shared by
  all variables. Without a graph, each variable is a series of its own.

  Attributes:
    horizon: number of steps to forecast.
    targets: number of variables, all channels of the inputs.
    adjacency: weights of the edges, `[targets, targets]`; the run supplies those of
      `data.Series.graph`. None for no edges.
    quantiles: numbers for each value; None for one without an axis of its own.
    width: width of the state of each variable.
  """

  horizon: int
  targets: int
  adjacency: Sequence | None
  quantiles: int | None = None
  width: int = 64

  def __post_init__(self):
    check_sizes(self, 'horizon', 'targets', 'quantiles', 'width')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, length, targets]` -> `[batch, horizon, targets]`, see `with_quantiles`.

    Raises:
      ValueError: for inputs with another number of channels.
    """
    del train
    check_series(self, inputs)
    if inputs.shape[-1] != self.targets:
      raise ValueError(f'Tgcn: every channel must be a target, got '
                       f'{inputs.shape[-1]} channels and {self.targets} targets')
    batch, dtype = len(inputs), inputs.dtype
    graph = None if self.adjacency is None else jnp.asarray(
      normalized(self.adjacency), dtype)

    def convolved(x):  # [batch, targets, width]
      return x if graph is None else jnp.einsum('nm,bmw->bnw', graph, x)

    def parameters(name, width, bias):
      return (self.param(f'{name}_kernel', nn.initializers.glorot_uniform(),
                         (1 + self.width, width)),
              self.param(f'{name}_bias', nn.initializers.constant(bias), (width,)))

    gates, update = parameters('gates', 2 * self.width, 1.0), parameters(
      'update', self.width, 0.0)

    def step(h, x):
      seen = convolved(jnp.concatenate([x[..., None], h], -1))
      r, u = jnp.split(nn.sigmoid(matmul(seen, gates[0]) + gates[1]), 2, -1)
      reset = convolved(jnp.concatenate([x[..., None], r * h], -1))
      c = jnp.tanh(matmul(reset, update[0]) + update[1])
      h = u * h + (1 - u) * c
      return h.astype(dtype), None

    zeros = jnp.zeros((batch, self.targets, self.width), dtype)
    unroll = 1 if target.platform() == 'cpu' else 4
    h, _ = jax.lax.scan(step, zeros, jnp.swapaxes(inputs, 0, 1), unroll=unroll)
    out = nn.Dense(self.horizon * (self.quantiles or 1), name='head')(h)
    return with_quantiles(self, out)


def normalized(adjacency: Sequence) -> np.ndarray:
  """Returns `D^-1/2 (A + I) D^-1/2`, float32 `[nodes, nodes]`.

  Kipf and Welling, *Semi-supervised classification with graph convolutional networks*,
  2017; D is diagonal, with the sums of the rows of A + I.
  """
  with_loops = np.asarray(adjacency, np.float64)
  with_loops = with_loops + np.eye(len(with_loops))
  root = 1 / np.sqrt(with_loops.sum(1))
  return (root[:, None] * with_loops * root).astype(np.float32)
