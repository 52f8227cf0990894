"""A deep stack of equal blocks: compiled once, and trained in the memory there is.

The blocks are one `lax.scan` over parameters that are stacked on a leading axis, so
that compiling a stack of 100 blocks takes no longer than one of 2. What the backward
pass needs of each block is kept or worked out again (Chen et al., 2016, "Training deep
nets with sublinear memory cost").
"""

import difflib
from collections.abc import Callable
from typing import Literal, get_args

import flax.linen as nn
import jax

Remat = Literal['none', 'dots', 'full']


class Stack(nn.Module):
  """`depth` blocks of one kind, each with its own parameters, one after the other.

  Every variable of the block has a leading axis of length `depth`, batch statistics
  too; initial values are drawn block by block, and so are dropout masks.

  Attributes:
    block: makes a Linen module called as `block(x, train=..., **others)`, whose answer
      has the shape and dtype of x: `partial(Block, width=64)`.
    depth: how many.
    remat: what is kept for the backward pass. 'none' works nothing out again and keeps
      all that gradients need; 'dots' keeps the products with weights, and works out
      what lies between (attention's products of activations, norms, activations);
      'full' keeps the input of each block, at the price of a second forward pass.
    unroll: lays the blocks out one after the other in the program. On a CPU they then
      run about a fifth faster; the time to compile grows with the depth.
  """

  block: Callable[..., nn.Module]
  depth: int
  remat: Remat = 'none'
  unroll: bool = False

  def __post_init__(self):
    if isinstance(self.block, nn.Module) or not callable(self.block):
      raise ValueError('block: wants a recipe, such as partial(Block, width=64), got '
                       f'{type(self.block).__name__}')
    if self.depth < 1:
      raise ValueError(f'depth: wants at least 1, got {self.depth}')
    names = get_args(Remat)
    if self.remat not in names:
      close = difflib.get_close_matches(str(self.remat), names, n=1)
      hint = f'did you mean {close[0]!r}?' if close else f'there is {", ".join(names)}'
      raise ValueError(f'remat: no policy {self.remat!r}; {hint}')
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, **others) -> jax.Array:
    """`[batch, ...]` -> the same shape and dtype; every block gets the `others`.

    Raises:
      ValueError: if the block changes either.
    """

    def body(block, x):
      y = block(x, train=train, **others)
      if (y.shape, y.dtype) != (x.shape, x.dtype):
        raise ValueError(f'a block of a Stack keeps shape and dtype: {x.dtype} '
                         f'{x.shape} became {y.dtype} {y.shape}')
      return y, None

    if self.remat != 'none':
      policy = (jax.checkpoint_policies.dots_with_no_batch_dims_saveable
                if self.remat == 'dots' else None)
      # A scan keeps the two passes apart: the barriers that do it elsewhere only cost.
      body = nn.remat(body, policy=policy, prevent_cse=False)
    scanned = nn.scan(body, variable_axes={True: 0}, split_rngs={True: True},
                      length=self.depth, unroll=self.depth if self.unroll else 1)
    return scanned(self.block(name='block'), x)[0]
