"""Exported runs: the record beside the weights, and weights by parameter path.

The names of such weights are paths in the run's state: `params/head/kernel`,
`model_state/batch_stats/stem/norm/mean`.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from bigmodels.core.tree_paths import name_of
from bigmodels.storage.compatibility import IncompatibleWeights, check

FILE = 'bigmodels.json'
PARAMS, MODEL_STATE = 'params', 'model_state'


def by_path(state: Any) -> dict[str, Any]:
  """The name of an array in the file -> the parameter or other variable of a state."""
  return {name_of(path): x for path, x in jax.tree.leaves_with_path(
    {PARAMS: state.params, MODEL_STATE: state.model_state})}


def our_name(name: str) -> str | None:
  """The name of a parameter or batch statistic; None for any other variable.

  Batch statistics are named like the parameters of their module, see
  `training.initialize`.

  Args:
    name: of an array in the file.
  """
  kind, *parts = name.split('/')
  if kind == MODEL_STATE:
    if 'batch_stats' not in parts:  # Linen's name for them
      return None
    parts.remove('batch_stats')
  return '/'.join(parts)


def are_by_path(names: Iterable[str]) -> bool:
  """Whether arrays of these names are weights by parameter path."""
  names = [*names]
  return bool(names) and all(
    name.startswith((f'{PARAMS}/', f'{MODEL_STATE}/')) for name in names)


def record(path: pathlib.Path) -> dict[str, Any] | None:
  """The record beside exported weights; None if there is none.

  Args:
    path: of the folder, or of a file in it.

  Raises:
    IncompatibleWeights: if it cannot be read, or is of another format.
  """
  from bigmodels.storage.weight_files import beside, read_json

  file = beside(path, FILE) if path.exists() else None
  if file is None:
    return None
  found = read_json(file)
  if found.get('format') != 1 or not isinstance(found.get('kept'), dict):
    raise IncompatibleWeights(
      f'{file.name}: format must be 1, with what the run keeps of its data; got '
      f'{str(found.get("format"))[:40]}')
  return found


def parameters(path: pathlib.Path, expected: Mapping[str, jax.Array],
               selects: Callable[[str], Any]
               ) -> tuple[dict[str, jax.Array], int] | None:
  """Reads weights by parameter path.

  Args:
    path: of a `.safetensors` file, or of a folder.
    expected: name -> a parameter or batch statistic of any shape, or its shape and
      sharding.
    selects: our name -> whether it is to be taken, so that it must be expected.

  Returns:
    name -> parameter, of the shapes and shardings that are expected, and how many there
    are not taken; None if the files are not of this kind.

  Raises:
    IncompatibleWeights: for files that cannot be read or do not fit.
  """
  from bigmodels.storage import weight_files

  files = weight_files.find(path)
  with contextlib.ExitStack() as stack:
    arrays = weight_files.open_arrays(files, lambda name: name, stack,
                                      lambda line: None)
    if not are_by_path(arrays):
      return None
    named = {our_name(name): array for name, array in arrays.items()}
    named.pop(None, None)
    check({name: x.shape for name, x in expected.items()},
          {name: named[name].shape for name in expected if name in named},
          {name: name for name in expected if name not in named},
          [name for name in named if name not in expected and selects(name)],
          [name for name in named if name not in expected and not selects(name)])
    found = {}
    for name, x in expected.items():
      array = named[name].read().astype(x.dtype)
      found[name] = jax.make_array_from_callback(
        x.shape, x.sharding, lambda index, array=array: array[index])
  return found, len(named) - len(expected)
