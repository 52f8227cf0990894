"""Any Python sequence of examples as a source, read while training."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed, message_of
from bigmodels.data.arrays import are_names
from bigmodels.data.origins import Origin
from bigmodels.data.sources import RESERVED, Columns, DataContext, Dataset, held_out

_SAMPLE = 8  # examples that identify the data


@dataclasses.dataclass(frozen=True)
class Sequence:
  """Examples that a Python object gives one by one.

    Sequence(partial(Photos, folder='photos'), classes=('cat', 'dog'))

  The object has `len(object)` and `object[i]`, which gives a dictionary of arrays, or a
  pair of `inputs` and `labels`, as a map-style dataset of PyTorch does. Examples have
  equal shapes. They are streamed: `data.Batches(workers=4)` reads them in processes. A
  function that gives a generator is read once, into memory.

  Attributes:
    make: () -> the object, a generator, or any iterable of examples.
    classes: names of the classes, if `labels` are integers from 0.
    splits: name -> fraction.
    selected: the split that `open` returns, or None for all.
  """

  make: Callable[[], Any]
  classes: tuple[str, ...] | None = None
  splits: Mapping[str, float] = dataclasses.field(
    default_factory=lambda: {'train': 0.8, 'test': 0.2})
  selected: str | None = None

  def __post_init__(self):
    if not callable(self.make):
      raise ValueError('make: must be a function that gives the examples, got '
                       f'{type(self.make).__name__}; partial(CLASS, ...) is one')
    if self.classes is not None and not are_names(self.classes):
      raise ValueError(f'classes: must be distinct names, got {self.classes!r}')

  def split(self, name: str) -> 'Sequence':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Makes the object and reads a few examples, which identify the data.

    Raises:
      UserError: if it has no examples, or they are not of the kind that is described
        above.
    """
    name = getattr(getattr(self.make, 'func', self.make), '__name__', 'Sequence')
    try:
      items = self.make()
      if not (hasattr(items, '__getitem__') and hasattr(items, '__len__')):
        items = list(items)
        if self.selected in (None, 'train'):
          context.say(f'{name}: {len(items):,} examples are read into memory')
      length = len(items)
    except Exception as error:  # code of a user
      raise UserError(f'{name}: {message_of(error)}') from error
    if not length:
      raise UserError(f'{name}: has no examples')
    rows = np.arange(length) if self.selected is None else held_out(
      length, self.selected, self.splits)
    first = _example(items, 0, name)
    _check(first, self.classes, name)
    kinds = {key: (value.dtype, value.shape) for key, value in first.items()}
    read = functools.partial(_read, items, name, kinds, len(self.classes or ()), rows)
    crc, random = 0, False
    for row in np.unique(np.linspace(0, length - 1, _SAMPLE).astype(int)).tolist():
      one, again = (_example(items, row, name) for _ in range(2))
      random = random or any(not np.array_equal(one[k], again[k]) for k in one)
      for key, value in sorted(one.items()):
        crc = zlib.crc32(np.ascontiguousarray(value).tobytes(), zlib.crc32(
          f'{key} {value.dtype} {value.shape}'.encode(), crc))
    if random:
      context.note(f'{name}: gives other values when it is read again, so that runs '
                   'differ, and only its length identifies it')
    identity = f'{length:,} examples of {name}' + f', crc32 {crc:08x}' * (not random)
    named = identity if not random else f'{name} of {length}'
    return Dataset(
      length=len(rows), nbytes=None, load=lambda: read(np.arange(len(rows))), read=read,
      classes=self.classes, identity=f'{identity}, {self.selected or "all"}: '
                                     f'{len(rows):,}',
      describe=lambda row: f'example {int(rows[row])} of {name}',
      origin=Origin({named: rows}, {} if self.selected is None else {
        f'splits of {named}': dict(self.splits)}))


def _example(items: Any, row: int, name: str) -> dict[str, np.ndarray]:
  """The columns of an example, in the types of devices."""
  try:
    found = items[row]
  except Exception as error:  # code of a user
    raise UserError(f'{name}: example {row}: {message_of(error)}') from error
  if isinstance(found, tuple | list) and len(found) == 2:
    found = dict(zip(('inputs', 'labels'), found, strict=True))
  if not isinstance(found, Mapping) or not found:
    raise UserError(f'{name}: example {row}: must be a dictionary of arrays, or inputs '
                    f'and labels, got {type(found).__name__}')
  columns = {}
  for key, value in found.items():
    try:
      array = np.asarray(value)
    except Exception as error:
      raise UserError(f'{name}: example {row}: {key}: {message_of(error)}') from error
    if array.dtype.kind not in 'biuf':
      raise UserError(f'{name}: example {row}: {key} must be numbers, got '
                      f'{array.dtype}')
    columns[key] = _native(array, f'{name}: example {row}: {key}')
  return columns


def _native(array: np.ndarray, what: str) -> np.ndarray:
  """A copy in a type that devices have: bool as uint8, 64 bits as 32."""
  if array.dtype.kind == 'b':
    return array.astype(np.uint8)
  if array.dtype.itemsize < 8:
    return array
  kept = np.float32 if array.dtype.kind == 'f' else np.int32
  with np.errstate(over='ignore'):
    found = array.astype(kept)
  lost = np.isinf(found) & np.isfinite(array) if kept is np.float32 else found != array
  if lost.any():
    raise UserError(f'{what} has {array[lost].flat[0]}, beyond {np.dtype(kept)}')
  return found


def _check(first: Mapping[str, np.ndarray], classes: tuple[str, ...] | None, name: str
           ) -> None:
  for key in first:
    if key in RESERVED:
      raise UserError(f'{name}: {key!r} is reserved, as are {listed(RESERVED)}')
  labels = first.get('labels')
  whole = labels is not None and labels.dtype.kind in 'iu'
  if classes is not None and not whole:
    raise UserError(f'{name}: classes= is given, and labels are '
                    f'{"absent" if labels is None else labels.dtype}')
  if whole and classes is None:
    raise UserError(f'{name}: labels are {labels.dtype}: classes= must name their '
                    'classes; floats are targets')


def _read(items: Any, name: str, kinds: Mapping[str, tuple], classes: int,
          rows: np.ndarray, index: np.ndarray, seeds: np.ndarray | None = None
          ) -> Columns:
  """The columns `[n, ...]` of some examples."""
  del seeds
  found = {key: np.empty((len(index), *shape), np.int32 if (
    key == 'labels' and classes) else dtype) for key, (dtype, shape) in kinds.items()}
  for place, row in enumerate(rows[index].tolist()):
    example = _example(items, row, name)
    for key, (dtype, shape) in kinds.items():
      value = example.get(key)
      if value is None or (value.dtype, value.shape) != (dtype, shape):
        what = 'absent' if value is None else f'{value.dtype} {value.shape}'
        raise UserError(f'{name}: example {row}: {key} is {what}, that of example 0 is '
                        f'{dtype} {shape}')
      if key == 'labels' and classes and ((value < 0) | (value >= classes)).any():
        raise UserError(f'{name}: example {row}: the label {value} is none of 0 to '
                        f'{classes - 1}')
      found[key][place] = value
  return found
