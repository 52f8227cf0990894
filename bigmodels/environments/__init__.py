"""Environments for agents as pure functions, in JAX or on the host."""

from bigmodels.environments.environment import (
  Environment,
  EnvironmentState,
  Transition,
  frame_interval,
  reset,
  rollout,
  step,
)
from bigmodels.environments.gymnasium import Atari, Gymnasium
from bigmodels.environments.gymnax import Gymnax

__all__ = ['Atari', 'Environment', 'EnvironmentState', 'Gymnasium', 'Gymnax',
           'Transition', 'frame_interval', 'reset', 'rollout', 'step']
