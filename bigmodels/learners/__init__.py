"""Learners: training as three pure functions of (state, batch).

The loop knows nothing else. Each file here is a constructor of learners.
"""

from bigmodels.learners.actor_critic import actor_critic
from bigmodels.learners.adversarial import adversarial
from bigmodels.learners.dqn import dqn
from bigmodels.learners.gradient import mean_gradient, sharpness_aware
from bigmodels.learners.learner import Learner, Signal, State
from bigmodels.learners.supervised import supervised

__all__ = ['Learner', 'Signal', 'State', 'actor_critic', 'adversarial', 'dqn',
           'mean_gradient', 'sharpness_aware', 'supervised']
