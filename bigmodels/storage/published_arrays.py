"""Arrays of published weights <-> our parameters, by `models.hugging_face.Location`.

`assemble` reads a parameter, `parts` is its inverse.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.storage.compatibility import IncompatibleWeights
from bigmodels.storage.weight_files import StoredArray


def names_of(location, shape: tuple[int, ...]) -> list[str]:
  """The arrays that a parameter of a shape is made of."""
  if '{}' not in location.name:
    return [location.name]
  return [location.name.format(block) for block in range(shape[0])]


def _axes(location, number: int) -> tuple[int, ...]:
  """The order of axes that turns `[out, in, ...]` into `[..., in, out]`."""
  axes = tuple(range(number))
  return (*axes[2:], *axes[1::-1]) if location.transposed else axes


def shape_of(location, names: list[str], arrays: Mapping[str, StoredArray]
             ) -> tuple[int, ...]:
  """The shape that a parameter would have.

  Args:
    location: its `models.hugging_face.Location`.
    names: what `names_of` gives.
    arrays: name -> array of the file.

  Raises:
    IncompatibleWeights: if the blocks differ in shape.
  """
  shapes = []
  for name in names:
    shape = arrays[name].shape
    shape = tuple(shape[axis] for axis in _axes(location, len(shape)))
    first, rest = shape[: len(location.merged)], shape[len(location.merged) :]
    # Other sides of the same product stay as they are, which fits nothing.
    if location.merged and (first == location.merged or math.prod(first) != math.prod(
      location.merged)):
      shape = (math.prod(first), *rest)
    shapes.append((*shape[:-1], shape[-1] / location.parts) if shape else shape)
  first = tuple(int(n) if n == int(n) else n for n in shapes[0])
  if any(shape != shapes[0] for shape in shapes):
    raise IncompatibleWeights(f'{names[0]} to {names[-1]} differ in shape')
  return (len(names), *first) if '{}' in location.name else first


def assemble(location, names: list[str], arrays: Mapping[str, StoredArray]
             ) -> np.ndarray:
  """A parameter `[...]`: transposed, cut and stacked.

  Args:
    location, names, arrays: see `shape_of`.
  """
  found = []
  for name in names:
    array = arrays[name].read()
    array = array.transpose(_axes(location, array.ndim))
    if location.merged:
      array = array.reshape(-1, *array.shape[len(location.merged) :])
    size = array.shape[-1] // location.parts
    found.append(array[..., location.part * size : (location.part + 1) * size])
  return np.stack(found) if '{}' in location.name else found[0]


class Part(NamedTuple):
  """An array of a file, which is not made before it is needed.

  Attributes:
    shape: of it.
    make: () -> it, C-contiguous.
  """

  shape: tuple[int, ...]
  make: Callable[[], np.ndarray]


def parts(published, ours: Mapping[str, Any]) -> dict[str, Part]:
  """The arrays of a file that hold our parameters and batch statistics.

  Args:
    published: the model's `models.hugging_face.Published`.
    ours: name -> array of any shape, on any device; all have a location.

  Returns:
    name in the file -> array, in the order of `ours`.

  Raises:
    ValueError: if a part of an array is not among ours.
  """
  pieces: dict[str, list[tuple[int, Any, Any]]] = {}
  for name, x in ours.items():
    location = published.locations[name]
    stacked = '{}' in location.name
    for block, file_name in enumerate(names_of(location, x.shape)):
      pieces.setdefault(published.with_prefix(file_name), []).append(
        (location.part, location, (x, block if stacked else None)))
  found = {}
  for name, each in pieces.items():
    each.sort(key=lambda piece: piece[0])
    location = each[0][1]
    arrays = [source for _, _, source in each]
    if [part for part, *_ in each] != [*range(location.parts)]:
      raise ValueError(f'{name}: needs {location.parts} parameters, got {len(each)}')
    found[name] = Part(_stored_shape(location, arrays),
                       lambda location=location, arrays=arrays: _stored(
                         location, [_block(*source) for source in arrays]))
  # PyTorch's counter of batches, which matters only if statistics have no momentum.
  counter = Part((), lambda: np.zeros((), np.int64))
  return found | {name.replace('running_mean', 'num_batches_tracked'): counter
                  for name in found if name.endswith('.running_mean')}


def _block(x: Any, block: int | None) -> np.ndarray:
  return np.asarray(x if block is None else x[block])


def _stored_shape(location, arrays: list[tuple[Any, int | None]]) -> tuple[int, ...]:
  shapes = [x.shape if block is None else x.shape[1:] for x, block in arrays]
  whole = (*shapes[0][:-1], sum(shape[-1] for shape in shapes)) if shapes[0] else ()
  whole = (*location.merged, *whole[1:]) if location.merged else whole
  inverse = np.argsort(_axes(location, len(whole)))
  return tuple(whole[axis] for axis in inverse)


def _stored(location, arrays: list[np.ndarray]) -> np.ndarray:
  """Inverts what `assemble` does with the array of one block."""
  array = np.concatenate(arrays, -1) if len(arrays) > 1 else arrays[0]
  if location.merged:
    array = array.reshape(*location.merged, *array.shape[1:])
  array = array.transpose(np.argsort(_axes(location, array.ndim)))
  return array.copy('C')
