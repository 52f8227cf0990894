"""What fields of models may be: told before anything is read or compiled."""

import math
from typing import Any


def check_sizes(model: Any, *names: str) -> None:
  """Refuses fields, in tuples too, of less than 1; None is left for the model to fill.

  Raises:
    ValueError: naming the first of them.
  """
  for name in names:
    field = getattr(model, name)
    for size in field if isinstance(field, tuple) else (field,):
      if size is not None and size < 1:
        raise ValueError(f'{name}: wants at least 1, got {field}')


def check_shares(model: Any, *names: str) -> None:
  """Refuses fields that are no share of what dropout may leave out.

  Raises:
    ValueError: naming the first of them.
  """
  for name in names:
    share = getattr(model, name)
    if not 0 <= share < 1:  # nor is NaN
      raise ValueError(f'{name}: wants 0 or more and less than 1, got {share}')


def check_heads(model: Any) -> None:
  """Refuses `heads` that do not divide the `width`.

  Raises:
    ValueError: naming both.
  """
  if model.heads < 1 or model.width % model.heads:
    raise ValueError(f'heads: wants a divisor of the width, {model.width}, got '
                     f'{model.heads}')


def check_positive(model: Any, *names: str) -> None:
  """Refuses fields that are no number above 0.

  Raises:
    ValueError: naming the first of them.
  """
  for name in names:
    value = getattr(model, name)
    if not 0 < value < math.inf:
      raise ValueError(f'{name}: wants a number above 0, got {value}')


def check_halvings(model: Any) -> None:
  """Refuses a `size` that cannot be halved `halvings` times, and less than no classes.

  Raises:
    ValueError: naming them.
  """
  if model.classes < 0:
    raise ValueError(f'classes: wants at least 0, got {model.classes}')
  least = 2**model.halvings
  if len(model.size) != 3 or min(model.size) < 1 or any(
    n % least for n in model.size[:2]):
    raise ValueError(
      f'size: {model.halvings} halvings want (height, width, channels) with sides '
      f'divisible by {least}, got {tuple(model.size)}')
