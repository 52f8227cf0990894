"""Logged values: a number, or a list of numbers, such as one for each member of a run.

A metric with one axis is logged as a list in `metrics.jsonl`. Arrays with more axes are
logged as nested lists, and not shown.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_FEW = 6  # metrics of a split that are all shown


def members(value: Any) -> np.ndarray | None:
  """Converts a logged value into an array.

  Returns:
    float64 `[]` or `[members]`, NaN for None; None if the value is empty, not numeric,
    or has more axes.
  """
  try:
    array = np.asarray(value, np.float64)
  except (TypeError, ValueError):  # text, or lists of different lengths
    return None
  numeric = not isinstance(value, str | bytes) and array.ndim < 2 and array.size
  return array if numeric else None


def mean(value: Any) -> float | None:
  """Returns the mean of a logged value over the members that have one.

  None if `members` returns it; NaN if none has a value.
  """
  array = members(value)
  if array is None:
    return None
  there = array[~np.isnan(array)]
  return float(there.mean()) if there.size else math.nan


def leading(names: Iterable[str], monitor: str | None, most: int = 2) -> list[str]:
  """Returns the most important metrics of each evaluated split.

  The monitored metric is first and the loss is last; the rest are in the order of the
  task. Metrics of single classes such as 'test/f1/3' are left out, unless monitored.

  Args:
    names: flat names of metrics, such as 'test/accuracy'.
    monitor: the monitored metric, such as 'validation/loss', or None.
    most: maximum number of a split.
  """
  splits: dict[str, list] = {}
  monitored = (monitor or '').partition('/')[2]
  for key in names:
    split, _, name = key.partition('/')
    if name and split != 'train' and ('/' not in name or name == monitored):
      splits.setdefault(split, []).append(((name == 'loss', name != monitored), key))
  return [key for keys in splits.values()
          for _, key in sorted(keys, key=lambda pair: pair[0])[:most]]


def line(metrics: Mapping[str, Any], monitor: str | None,
         spread: Mapping[str, float] | None = None) -> str:
  """Returns the metrics of each split for people: all of a few, else the leading ones.

  Args:
    metrics: flat name -> logged value; of a list, the mean is shown.
    monitor: the monitored metric, or None.
    spread: flat name -> what is shown after ±, such as half of an interval.
  """
  means = {name: mean(value) for name, value in metrics.items()}
  means = {name: value for name, value in means.items() if value is not None}
  shown = {name.partition('/')[0]: [] for name in means}
  whole = [n for n in means if n.count('/') == 1 and not n.startswith('train/')]
  few = [n for n in whole if sum(
    n.partition('/')[0] == other.partition('/')[0] for other in whole) <= _FEW]
  for name in [*leading(means, monitor), *few, *(
    n for n in whole if n.endswith('/loss'))]:
    names = shown[name.partition('/')[0]]
    if name not in names:
      names.append(name)
  beside = {name: f' ± {value:.4f}' for name, value in (spread or {}).items()}
  return ', '.join(f'{name} {means[name]:.4f}{beside.get(name, "")}'
                   for names in shown.values() for name in names)


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
  """Flattens a record for viewers: member 0 of the list `name` is `name/0`.

  Args:
    record: flat name -> logged value. None, text, and arrays of several axes are
      skipped.
  """
  found = {}
  for name, value in record.items():
    array = None if value is None else members(value)
    if array is not None:
      found |= {name: float(array)} if not array.ndim else {
        f'{name}/{i}': float(v) for i, v in enumerate(array)}
  return found
