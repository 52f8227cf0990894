"""An embedding network with a learned vector for each class."""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.models.validation import check_sizes


class WithPrototypes(nn.Module):
  """A network of embeddings, and the prototypes that a loss such as ArcFace compares.

  Attributes:
    network: makes the network, `[batch, ...]` -> `[batch, num_outputs]`; called with
      `num_outputs`, the width of the embeddings.
    width: of the embeddings.
    num_outputs: number of classes; supplied by the run.
  """

  network: Callable
  num_outputs: int
  width: int = 128

  def __post_init__(self):
    check_sizes(self, 'num_outputs', 'width')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
    """`[batch, ...]` -> embeddings `[batch, width]`, prototypes `[classes, width]`."""
    embeddings = self.network(num_outputs=self.width, name='network')(
      inputs, train=train)
    return embeddings, self.param(
      'prototypes', nn.initializers.normal(1.0), (self.num_outputs, self.width))
