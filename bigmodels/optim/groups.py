"""Parameter groups by patterns of names: frozen, or with a different rate."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bigmodels.core.tree_paths import check_patterns, matching, name_of


def freeze(*patterns: str, layers: int | None = None) -> optax.GradientTransformation:
  """Sets the updates of parameters to zero.

  It goes last in `optax.chain`: no earlier transformation, such as weight decay, then
  has an effect. Frozen layers still cost a forward pass and optimizer state.

  Args:
    patterns: regular expressions of whole names, such as `encoder/blocks/.*`.
    layers: number of layers, the first along the leading axis, on which a `Stack` has
      its blocks; None for all. Matching parameters must have the same number of layers.

  Raises:
    ValueError: immediately for an invalid pattern or number; at initialization if a
      pattern matches no parameter, or there are fewer layers.
  """
  return _where_named(patterns, layers, jnp.zeros_like)


def multiply_rate(*patterns: str, factor: float, layers: int | None = None
                  ) -> optax.GradientTransformation:
  """Multiplies the learning rate of parameters, such as those of a pre-trained encoder.

  It goes last in `optax.chain`, and multiplies the updates, including weight decay.
  Several can be chained; where they overlap, their factors multiply.

  Args:
    patterns: as in `freeze`.
    factor: factor of the learning rate, >= 0.
    layers: as in `freeze`.

  Raises:
    ValueError: as in `freeze`, or unless the factor is finite and >= 0.
  """
  if not 0 <= factor < float('inf'):
    raise ValueError(f'factor: must be finite and >= 0, got {factor}')
  return _where_named(patterns, layers, lambda update: factor * update)


def _where_named(patterns: tuple[str, ...], layers: int | None, change: Callable
                 ) -> optax.GradientTransformation:
  """Changes the updates of parameters by name; see `freeze`."""
  check_patterns(patterns)
  if layers is not None and layers < 1:
    raise ValueError(f'layers: must be >= 1, got {layers}')

  def matches(path):
    return any(re.fullmatch(pattern, name_of(path)) for pattern in patterns)

  def init(params):
    shapes = {name_of(p): jnp.shape(x) for p, x in jax.tree.leaves_with_path(params)}
    for pattern in patterns:
      found = matching(pattern, shapes, 'parameter')
      lengths = {(*shapes[name], 0)[0]: name for name in found} if layers else {}
      if len(lengths) > 1:
        raise ValueError(
          'layers: parameters that match must have the same number of layers, got '
          + ', '.join(f'{n} of {name}' for n, name in lengths.items()))
      if layers and layers > max(lengths):
        raise ValueError(f'layers: must be at most the {max(lengths)} of '
                         f'{lengths[max(lengths)]}, got {layers}')
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    return jax.tree.map_with_path(
      lambda path, u: u if not matches(path) else change(u) if layers is None
      else u.at[:layers].set(change(u[:layers])), updates), state

  return optax.GradientTransformation(init, update)
