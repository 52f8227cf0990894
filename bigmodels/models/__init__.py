"""Models: Flax Linen modules, one family a file; no losses, no data, no sharding."""

from bigmodels.models.cnn import Cnn
from bigmodels.models.mlp import Linear, Mlp

__all__ = ['Cnn', 'Linear', 'Mlp']
