"""Columns of times in tables: numbers or ISO dates."""

import datetime
import math
from collections.abc import Callable

import numpy as np

from bigmodels.core.errors import UserError

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def parsed(name: str, text: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
  """Returns numbers, or ISO dates in microseconds since 1970, float64 `[rows]`.

  Args:
    name: name of the column.
    text: its values, none of them missing, `object` `[rows]` of `str`.
    where: row -> its place in the file.

  Raises:
    UserError: for a value that is neither, or if only some have a time zone.
  """
  try:
    found = text.astype(np.float64)
    if np.isfinite(found).all():
      return found
  except ValueError:
    pass
  moments, zones = {}, set()
  for value in dict.fromkeys(text.tolist()):
    try:
      moment = datetime.datetime.fromisoformat(value)
    except ValueError:
      row = int(np.argmax(text == value))
      if _is_finite(value):  # it is another one that is not a number
        odd = next(i for i, each in enumerate(text.tolist()) if not _is_finite(each))
        raise UserError(f'{where(odd)}, column {name!r}: {text[odd]!r} is not a number,'
                        f' as {value!r} in {where(row)} is') from None
      raise UserError(f'{where(row)}, column {name!r}: {value!r} is neither a number '
                      'nor a date such as 2024-01-31 or 2024-01-31T12:00:00') from None
    zones.add(moment.tzinfo is None)
    if len(zones) > 1:
      row = int(np.argmax(text == value))
      raise UserError(f'{where(row)}, column {name!r}: {value!r}: only some times '
                      'have a time zone')
    moment = moment.replace(tzinfo=moment.tzinfo or datetime.UTC)
    moments[value] = (moment - _EPOCH) / datetime.timedelta(microseconds=1)
  return np.array([moments[value] for value in text.tolist()])


def _is_finite(value: str) -> bool:
  try:
    return math.isfinite(float(value))
  except ValueError:
    return False
