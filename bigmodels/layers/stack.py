"""A stack of identical blocks that compiles fast and supports rematerialization.

The blocks are one `lax.scan` over parameters that are stacked on a leading axis, so
that compiling 100 blocks takes no longer than compiling 2. The values that the backward
pass needs are stored or recomputed (Chen et al., *Training deep nets with sublinear
memory cost*, 2016).
"""

from collections.abc import Callable
from typing import Literal, get_args

import flax.linen as nn
import jax

from bigmodels.layers.tpu import attention

Remat = Literal['none', 'dots', 'full']


class Stack(nn.Module):
  """`depth` blocks of one kind, each with its own parameters, one after the other.

  Every variable of the block, including batch statistics, has a leading axis of length
  `depth`. Initial values and dropout masks are sampled independently for each block.

  Attributes:
    block: makes a Linen module called as `block(x, train=..., **others)`, whose result
      has the shape and dtype of x: `partial(Block, width=64)`.
    depth: number of blocks.
    remat: what is stored for the backward pass. 'none' stores all values and recomputes
      nothing; except on a CPU, blocks recompute norms and activations. 'dots' stores
      products with weights and what a TPU's attention kernel computes, and recomputes
      the rest (norms, activations, attention without that kernel). 'full' stores only
      the input of each block, at the cost of a second forward pass.
    unroll: whether to unroll the loop over the blocks. On a CPU this is about a fifth
      faster, but the time to compile grows with the depth.
  """

  block: Callable[..., nn.Module]
  depth: int
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    if isinstance(self.block, nn.Module) or not callable(self.block):
      raise ValueError('block: must be callable and make a module, such as '
                       f'partial(Block, width=64); got {type(self.block).__name__}')
    if self.depth < 1:
      raise ValueError(f'depth: must be >= 1, got {self.depth}')
    if self.remat not in get_args(Remat):
      raise ValueError('remat: must be one of '
                       f'{", ".join(map(repr, get_args(Remat)))}; got {self.remat!r}')
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, **others) -> jax.Array:
    """`[batch, ...]` -> the same shape and dtype.

    Args:
      x: input of the first block, `[batch, ...]`.
      train: passed on to every block.
      **others: passed on to every block.

    Raises:
      ValueError: if a block changes shape or dtype.
    """

    def body(block, x):
      y = block(x, train=train, **others)
      if (y.shape, y.dtype) != (x.shape, x.dtype):
        raise ValueError('a block of a Stack must keep shape and dtype: '
                         f'{x.dtype} {x.shape} became {y.dtype} {y.shape}')
      return y, None

    if self.remat != 'none':
      policies = jax.checkpoint_policies
      policy = None if self.remat == 'full' else policies.save_from_both_policies(
        policies.dots_with_no_batch_dims_saveable,
        policies.save_only_these_names(attention.NAME))
      # A scan separates the two passes, so barriers against CSE would only cost time.
      body = nn.remat(body, policy=policy, prevent_cse=False)
    scanned = nn.scan(body, variable_axes={True: 0}, split_rngs={True: True},
                      length=self.depth, unroll=self.depth if self.unroll else 1)
    return scanned(self.block(name='block'), x)[0]
