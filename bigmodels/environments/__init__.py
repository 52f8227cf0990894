"""What agents act in: environments as pure functions, from libraries that have them."""

from bigmodels.environments.environment import (
  Environment,
  Slot,
  Transition,
  advance,
  begin,
  play,
)
from bigmodels.environments.gymnax import Gymnax

__all__ = ['Environment', 'Gymnax', 'Slot', 'Transition', 'advance', 'begin', 'play']
