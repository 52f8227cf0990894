"""What agents act in: environments as pure functions, of JAX or of the host."""

from bigmodels.environments.environment import (
           Environment,
           Slot,
           Transition,
           advance,
           begin,
           film_every,
           play,
)
from bigmodels.environments.gymnasium import Atari, Gymnasium
from bigmodels.environments.gymnax import Gymnax

__all__ = ['Atari', 'Environment', 'Gymnasium', 'Gymnax', 'Slot', 'Transition',
           'advance', 'begin', 'film_every', 'play']
