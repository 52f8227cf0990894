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


def layerwise_decay(decay: float, *groups: str) -> optax.GradientTransformation:
  """Multiplies the learning rate of each layer by `decay` for every layer above it.

  Clark et al., *ELECTRA*, 2020; Bao et al., *BEiT*, 2022. Without `groups` the layers
  are the blocks of a `Stack`, of which a model must have one. What is before them, such
  as embeddings and patches, is a layer below; what is after them, such as the head, has
  the whole rate. It goes last in `optax.chain`, as `multiply_rate`.

  Args:
    decay: factor from a layer to the one below it, > 0 and <= 1; 0.65 to 0.9 is usual.
    *groups: layers from the input to the output, as regular expressions of whole names
      such as `stem.*`; other parameters are after them.

  Raises:
    ValueError: immediately for a decay out of range or an invalid pattern; at
      initialization if a pattern matches no parameter, or without patterns if there is
      no stack, or several.
  """
  if not 0 < decay <= 1:
    raise ValueError(f'layer_decay: must be > 0 and <= 1, got {decay}')
  if groups:
    check_patterns(groups)

  def init(params):
    names = [name_of(path) for path, _ in jax.tree.leaves_with_path(params)]
    for group in groups:
      matching(group, names, 'parameter')
    stacks = {found[1] for name in names if (found := re.fullmatch(_BLOCKS, name))}
    if not groups and len(stacks) != 1:
      raise ValueError(
        f'layer_decay: needs a model with one stack of blocks, such as Bert or Vit, '
        f'got {len(stacks)}; optim.layerwise_decay takes patterns of the layers of '
        'others')
    return optax.EmptyState()

  def factors(params):
    """Name -> factor, of one layer or `[layers]`."""
    shapes = {name_of(path): jnp.shape(x)
              for path, x in jax.tree.leaves_with_path(params)}
    if groups:
      return {name: next((decay ** (len(groups) - i) for i, group in enumerate(groups)
                          if re.fullmatch(group, name)), 1.0) for name in shapes}
    stacked = {name: found[1] for name in shapes
               if (found := re.fullmatch(_BLOCKS, name))}
    prefix = next(iter(stacked.values()))
    depth = shapes[next(iter(stacked))][0]
    layers = decay ** jnp.arange(depth, 0, -1, dtype=jnp.float32)
    below = {name for name in shapes if name not in stacked and (
      re.fullmatch(_BELOW, name) or (prefix and name.startswith(prefix)))}
    return {name: layers if name in stacked else
            decay ** (depth + 1) if name in below else 1.0 for name in shapes}

  def update(updates, state, params=None):
    del params
    by_name = factors(updates)

    def scaled(path, u):
      factor = jnp.asarray(by_name[name_of(path)], u.dtype)
      return u * factor.reshape(factor.shape + (1,) * (u.ndim - factor.ndim))

    return jax.tree.map_with_path(scaled, updates), state

  return optax.GradientTransformation(init, update)


# Parameters of a stack of blocks, and of what our models have before one.
_BLOCKS = '((?:.*/)?)blocks/.*'
_BELOW = '(.*/)?(patches|positions|class_token|tokens|sentences|stem)(/.*)?'


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
