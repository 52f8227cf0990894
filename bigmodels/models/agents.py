"""Networks for agents: heads for action values and for a policy, and a body."""

from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.layers.convolution import Conv
from bigmodels.models.images import check_images
from bigmodels.models.validation import check_sizes


class QNetwork(nn.Module):
  """The value of each action (Mnih et al., 2015).

  Attributes:
    num_outputs: number of actions.
    body: module whose output, after the activation, is the input of the heads.
    activation: nn.relu, nn.tanh, ...
    dueling: two heads, the value of the observation and the advantage of each action,
      minus the mean advantage (Wang et al., 2016, equation 9).
  """

  num_outputs: int
  body: nn.Module
  activation: Callable = nn.relu
  dueling: bool = False

  def __post_init__(self):
    check_sizes(self, 'num_outputs')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, ...]` -> values `[batch, num_outputs]`."""
    features = self.activation(self.body(inputs, train=train))
    advantage = nn.Dense(self.num_outputs, name='advantage')(features)
    if not self.dueling:
      return advantage
    value = nn.Dense(1, name='value')(features)
    return value + advantage - advantage.mean(-1, keepdims=True)


class ActorCritic(nn.Module):
  """A policy, and the value of an observation (Mnih et al., 2016).

  Attributes:
    num_outputs: number of actions.
    body: module whose output, after the activation, is the input of both heads.
    critic: a separate body for the value; None shares the body of the policy.
    activation: nn.relu, nn.tanh, ...
  """

  num_outputs: int
  body: nn.Module
  critic: nn.Module | None = None
  activation: Callable = nn.tanh

  def __post_init__(self):
    check_sizes(self, 'num_outputs')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
    """`[batch, ...]` -> logits `[batch, num_outputs]` and values `[batch]`."""
    features = self.activation(self.body(inputs, train=train))
    of_value = features if self.critic is None else (
      self.activation(self.critic(inputs, train=train)))
    # The scale is small, so that the initial policy is almost uniform, and explores.
    logits = nn.Dense(
      self.num_outputs, kernel_init=nn.initializers.orthogonal(0.01), name='policy')(
        features)
    value = nn.Dense(
      1, kernel_init=nn.initializers.orthogonal(1.0), name='value')(of_value)
    return logits, value[:, 0]


class NatureCnn(nn.Module):
  """The network of deep Q-learning on Atari (Mnih et al., 2015), without its head.

  Three convolutions, of 8, 4 and 3 pixels with strides of 4, 2 and 1, and a dense
  layer. The heads apply the activation after it.

  Attributes:
    num_outputs: width of the dense layer.
  """

  num_outputs: int = 512

  def __post_init__(self):
    check_sizes(self, 'num_outputs')
    super().__post_init__()

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    """`[batch, height, width, frames]` -> `[batch, num_outputs]`.

    Raises:
      ValueError: if the inputs are not images of at least 36 x 36 pixels.
    """
    del train
    check_images(self, inputs, 36)
    x = inputs
    for width, window, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
      x = nn.relu(Conv(width, (window, window), strides=(stride, stride),
                       padding='VALID', kernel_init=nn.initializers.he_normal())(x))
    return nn.Dense(self.num_outputs, kernel_init=nn.initializers.he_normal())(
      x.reshape(len(x), -1))
