"""NumPy arrays as a source of examples."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bigmodels.core.errors import listed
from bigmodels.data import columns as checks
from bigmodels.data import origins
from bigmodels.data.origins import Origin
from bigmodels.data.sources import (
  RESERVED,
  DataContext,
  Dataset,
  held_out,
  in_memory,
  length_of,
)

_RESERVED = ('corrupt', *RESERVED)  # sources add 'corrupt'


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
  """NumPy arrays as a source, one for each column.

    Arrays(inputs=images, labels=labels)
    Arrays(columns={'user': users, 'item': items, 'rating': ratings})

  A column may be anything that `numpy.asarray` converts to real numbers. Values that
  float32 cannot represent are refused, with their position. Large rounding errors are
  printed; see `columns`.

  Attributes:
    inputs: `[length, ...]`, the column that models with one input read; None for no
      such column.
    labels: `[length, ...]`; integers and bools are classes, floats are targets. None
      for data without labels.
    splits: name -> fraction.
    selected: the split that `open` returns, or None for all.
    classes: names of the classes 0, 1, ...; None numbers them up to the largest label,
      unless hardly any of these has an example.
    columns: name -> `[length, ...]`, instead of `inputs` or in addition.
  """

  inputs: Any = None
  labels: Any = None
  splits: Mapping[str, float] = dataclasses.field(
    default_factory=lambda: {'train': 0.8, 'test': 0.2})
  selected: str | None = None
  classes: tuple[str, ...] | None = None
  columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for name in self.columns:
      if name in _RESERVED:
        raise ValueError(f'columns: {name!r} is reserved, as are {listed(_RESERVED)}')
      if getattr(self, name, None) is not None and name in ('inputs', 'labels'):
        raise ValueError(f'columns: {name!r} is given twice, as {name}= too')
    arrays = self._arrays()
    for name, array in arrays.items():
      try:
        length = len(array)
      except TypeError:
        raise ValueError(f'{name}: must be an array of rows, got '
                         f'{type(array).__name__}') from None
      if not length:
        raise ValueError(f'{name}: must have at least one row, got 0')
    length_of(arrays)
    if self.classes is None:
      return
    if not are_names(self.classes):
      raise ValueError('classes: must be distinct names, got '
                       f'{self.classes!r}')
    if 'labels' not in arrays:
      raise ValueError('classes: names the classes of labels, which are not given')

  def split(self, name: str) -> 'Arrays':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Checks every array, and selects the split.

    Raises:
      UserError: for values that are not numbers, not in the range of float32, or not
        classes.
    """
    say = context.say if self.selected in (None, 'train') else None  # print once
    columns, classes = {}, None
    for name, array in self._arrays().items():
      if name == 'labels':
        columns[name], classes = checks.labels(array, self.classes, say)
      else:
        columns[name] = checks.numeric(name, array, say)
    if not self.selected:
      return in_memory(columns, classes)._replace(origin=self._origin(slice(None)))
    rows = held_out(length_of(columns), self.selected, self.splits)
    dataset = in_memory({name: array[rows] for name, array in columns.items()}, classes)
    return dataset._replace(origin=self._origin(rows),
                            describe=lambda row: f'row {rows[row]} of the arrays')

  def _arrays(self) -> dict[str, Any]:
    given = {'inputs': self.inputs, 'labels': self.labels}
    return {name: x for name, x in given.items() if x is not None} | {**self.columns}

  def _origin(self, rows: Any) -> Origin:
    arrays = self._arrays()
    # Two splits may have equal labels, so the other columns identify examples.
    keys = [name for name in sorted(arrays) if name != 'labels'] or ['labels']
    whole = origins.of_arrays(*(arrays[name] for name in keys))
    return Origin({name: origins.some(found, rows) for name, found in whole.items()},
                  {f'splits of {name}': dict(self.splits) for name in whole}
                  if self.selected else {})


def are_names(names: Any) -> bool:
  """Returns whether these are distinct names."""
  return not isinstance(names, str) and bool(names) and (
    all(isinstance(name, str) for name in names) and len(set(names)) == len(names))
