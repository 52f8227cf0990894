"""Files of published weights: found at a path, opened, and read as float32."""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import listed
from bigmodels.storage.compatibility import IncompatibleWeights

_FLOATS = ('F64', 'F32', 'F16', 'BF16')


def find(path: pathlib.Path) -> dict[pathlib.Path, set[str] | None]:
  """The safetensors files at a path.

  Args:
    path: of a file, or of a folder with `model.safetensors` or an index of shards.

  Returns:
    file -> names of the arrays that the index says are in it, None without an index.

  Raises:
    IncompatibleWeights: if there is none, or the index is wrong.
  """
  if path.is_file():
    if path.suffix == '.json':
      raise IncompatibleWeights(
        'must be a folder or a .safetensors file; did you mean its folder, '
        f'{path.parent}?')
    return {path: None}
  if not path.is_dir():
    raise IncompatibleWeights(
      f'a link to {os.readlink(path)}, which is not there'
      if path.is_symlink() else 'there is no such file or folder')
  index = path / 'model.safetensors.index.json'
  if (path / 'model.safetensors').is_file():
    return {path / 'model.safetensors': None}
  if not index.is_file():
    raise IncompatibleWeights(
      'must be the workdir of a run, a .safetensors file, or a folder with '
      f'{index.name.removesuffix(".index.json")} or {index.name}' + _hint(path))
  shards = read_json(index).get('weight_map')
  if not isinstance(shards, dict) or not all(
    isinstance(name, str) for name in shards.values()):
    raise IncompatibleWeights(f'{index.name} has no weight_map of names of files')
  outside = [name for name in shards.values() if _is_outside(name)]
  if outside:
    raise IncompatibleWeights(
      f'{index.name} names {outside[0]!r}, which is outside of the folder')
  files = {path / name: set() for name in shards.values()}
  gone = [file.name for file in files if not file.is_file()]
  if gone:
    raise IncompatibleWeights(
      f'{len(gone)} of {len(files)} files that {index.name} names are not '
      f'there: {listed(gone)}')
  for array, name in shards.items():
    files[path / name].add(array)
  return files


def _is_outside(name: str) -> bool:
  """Whether a file that an index names is not in its folder."""
  given = pathlib.PurePosixPath(name)
  return given.is_absolute() or not given.parts or '..' in given.parts or '\0' in name


def _hint(folder: pathlib.Path) -> str:
  """What to use in place of a folder without weights that can be read."""
  if (folder / 'pytorch_model.bin').is_file():
    return ('; pytorch_model.bin, which can run any program when it is read, is not '
            "read: convert it with transformers' save_pretrained")
  snapshots = sorted(folder.glob('snapshots/*/*.safetensors'))
  if snapshots:
    return f'; did you mean {snapshots[0].parent}?'
  others = sorted(file.name for file in folder.glob('*.safetensors'))
  return f'; did you mean one of its files: {listed(others)}?' if others else ''


def beside(path: pathlib.Path, name: str) -> pathlib.Path | None:
  """Finds a file in a folder, or beside a file, or beside the file that it links to.

  Args:
    path: of the folder or file.
    name: of the file that is looked for.

  Returns:
    its path; None if there is none.

  Raises:
    IncompatibleWeights: if something else than a file has that name.
  """
  folders = [path] if path.is_dir() else [file.parent for file in _links(path)]
  for folder in folders:
    if os.path.lexists(folder / name):
      if not (folder / name).is_file():
        raise IncompatibleWeights(f'{folder / name} is not a file, or links to none')
      return folder / name
  return None


def _links(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A file, then what it links to if it is a link, and so on."""
  yield path
  while path.is_symlink():
    path = path.parent / os.readlink(path)
    yield path


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads a JSON object.

  Raises:
    IncompatibleWeights: if the file cannot be read, or holds something else.
  """
  try:
    found = json.loads(path.read_text(encoding='utf-8-sig'))
  except (OSError, ValueError, RecursionError) as error:
    raise IncompatibleWeights(f'{path.name} cannot be read: {error}') from None
  if not isinstance(found, dict):
    raise IncompatibleWeights(
      f'{path.name} must be a JSON object, got a {type(found).__name__}')
  return found


class StoredArray(NamedTuple):
  """An array in an open file.

  Attributes:
    file: as `safetensors.safe_open` gives it.
    name: of the array there.
  """

  file: Any
  name: str

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(self.file.get_slice(self.name).get_shape())

  def read(self) -> np.ndarray:
    """The array `[...]` as float32.

    Raises:
      IncompatibleWeights: for other types, and values that are not finite in float32.
    """
    kind = self.file.get_slice(self.name).get_dtype()
    if kind not in _FLOATS:
      raise IncompatibleWeights(
        f'{self.name} is of the type {kind}, must be one of '
        f'{", ".join(_FLOATS)}')
    there = self.file.get_tensor(self.name)
    with np.errstate(over='ignore'):
      found = there.astype(np.float32)
    wrong = int((~np.isfinite(found)).sum())
    if wrong:
      beyond = wrong - int((~np.isfinite(there.astype(np.float64))).sum())
      why = 'beyond the range of float32' if beyond == wrong else 'not finite'
      raise IncompatibleWeights(
        f'{self.name} is {why}: {wrong:,} of {found.size:,} values')
    return found


# What `torch.nn.DataParallel`, `torch.compile` and trainers put before every name.
_WRAPPERS = ('module.', '_orig_mod.', 'model.', '_forward_module.')


def open_arrays(files: Mapping[pathlib.Path, set[str] | None],
                rename: Callable[[str], str], stack: contextlib.ExitStack,
                say: Callable[[str], None]) -> dict[str, StoredArray]:
  """Opens files; returns their arrays by the names that a model gives them.

  Prefixes that wrappers of PyTorch put before all names are taken off.

  Args:
    files: see `find`.
    rename: name in a file, without such a prefix -> name of the model.
    stack: closes the files.
    say: prints a line about a prefix.

  Raises:
    IncompatibleWeights: for a file that cannot be read, an array that the index has
      elsewhere, and two arrays of one name.
  """
  from safetensors import SafetensorError, safe_open

  opened, arrays, origins = [], {}, {}
  for path, indexed in files.items():
    try:
      file = stack.enter_context(safe_open(path, 'numpy'))
      names = list(file.keys())
    except (SafetensorError, OSError) as error:
      raise IncompatibleWeights(
        f'{path.name} cannot be read as safetensors: {error}') from None
    gone = sorted((indexed or set()) - set(names))
    if gone:
      raise IncompatibleWeights(
        f'{path.name} lacks what the index says is there: {listed(gone)}')
    opened += [(name, file, path) for name in names]
  wrapper = _wrapper([name for name, *_ in opened])
  if wrapper:
    say(f'the prefix {wrapper} is taken off the names there')
  for name, file, path in opened:
    ours = rename(name.removeprefix(wrapper).replace('._orig_mod.', '.'))
    if ours in arrays:
      raise IncompatibleWeights(
        f'{ours} is there twice: as {origins[ours]}, and as {name} in '
        f'{path.name}')
    arrays[ours], origins[ours] = StoredArray(file, name), f'{name} in {path.name}'
  return arrays


def _wrapper(names: list[str]) -> str:
  """The prefixes of wrappers that all names share."""
  found = ''
  while names:
    more = next((prefix for prefix in _WRAPPERS if all(
      name.startswith(found + prefix) for name in names)), '')
    if not more:
      break
    found += more
  return found
