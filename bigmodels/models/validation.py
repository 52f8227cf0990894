"""Checks of the fields of models, before data is read or programs are compiled."""

import math
from collections.abc import Collection
from typing import Any


def check_sizes(model: Any, *names: str) -> None:
  """Checks that fields, including tuples, are >= 1; None is allowed.

  Raises:
    ValueError: for the first field that is not.
  """
  for name in names:
    field = getattr(model, name)
    for size in field if isinstance(field, tuple) else (field,):
      if size is not None and size < 1:
        raise ValueError(f'{name}: must be >= 1, got {field}')


def check_rates(model: Any, *names: str) -> None:
  """Checks that fields, such as rates of dropout or decay, are >= 0 and < 1.

  Raises:
    ValueError: for the first field that is not.
  """
  for name in names:
    rate = getattr(model, name)
    if not 0 <= rate < 1:  # also false for NaN
      raise ValueError(f'{name}: must be >= 0 and < 1, got {rate}')


def check_probabilities(model: Any, *names: str) -> None:
  """Checks that fields, whose log-odds are finite, are > 0 and < 1.

  Raises:
    ValueError: for the first field that is not.
  """
  for name in names:
    value = getattr(model, name)
    if not 0 < value < 1:
      raise ValueError(f'{name}: must be > 0 and < 1, got {value}')


def check_strides(model: Any) -> None:
  """Checks that there are `strides`, >= 1 and ascending.

  Raises:
    ValueError: if there are none, or others.
  """
  strides = tuple(model.strides)
  check_sizes(model, 'strides')
  if not strides or list(strides) != sorted({*strides}):
    raise ValueError(f'strides: must be one or more, ascending, got {strides}')


def check_positive(model: Any, *names: str) -> None:
  """Checks that fields are > 0 and finite.

  Raises:
    ValueError: for the first field that is not.
  """
  for name in names:
    value = getattr(model, name)
    if not 0 < value < math.inf:
      raise ValueError(f'{name}: must be > 0 and finite, got {value}')


def check_not_negative(model: Any, *names: str) -> None:
  """Checks that fields, such as strengths of penalties, are >= 0 and finite.

  Raises:
    ValueError: for the first field that is not.
  """
  for name in names:
    value = getattr(model, name)
    if not 0 <= value < math.inf:
      raise ValueError(f'{name}: must be >= 0 and finite, got {value}')


def check_choices(model: Any, **choices: Collection) -> None:
  """Checks that each named field is one of its choices.

  Raises:
    ValueError: for the first field that is not.
  """
  for name, legal in choices.items():
    value = getattr(model, name)
    if value not in legal:
      raise ValueError(f'{name}: must be one of {", ".join(map(repr, legal))}; got '
                       f'{value!r}')


def check_heads(model: Any) -> None:
  """Checks that `heads` divide the `width`.

  Raises:
    ValueError: if they do not.
  """
  if model.heads < 1 or model.width % model.heads:
    raise ValueError(f'heads: must divide the width, {model.width}, got {model.heads}')


def check_classes(model: Any) -> None:
  """Checks that `classes`, 0 for none, are >= 0.

  Raises:
    ValueError: if they are not.
  """
  if model.classes < 0:
    raise ValueError(f'classes: must be >= 0, got {model.classes}')


def check_halvings(model: Any) -> None:
  """Checks that `size` can be halved `halvings` times, and that `classes` are >= 0.

  Raises:
    ValueError: if they are not.
  """
  check_classes(model)
  least = 2**model.halvings
  if len(model.size) != 3 or min(model.size) < 1 or any(
    n % least for n in model.size[:2]):
    raise ValueError(
      f'size: {model.halvings} halvings need (height, width, channels) with sides '
      f'divisible by {least}, got {tuple(model.size)}')
