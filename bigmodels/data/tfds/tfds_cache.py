"""The cache of a decoded TFDS split: its entry, and the code that fills it.

In every function `source` is a `tfds.Tfds`, `info` a `tfds.core.DatasetInfo`, and
`base` the name of a whole split.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError, is_of_machine
from bigmodels.data.cached import array_cache, manifests
from bigmodels.data.sources import Columns, DataContext
from bigmodels.data.tfds import tfds_examples
from bigmodels.data.tfds.builders import import_tfds, quiet
from bigmodels.data.tfds.tfds_examples import CHUNK

_DIGESTED = 64 << 20  # bytes that identify a split, read at every start
_RULES = '16 bits by their upper 8'  # of decoding; arrays with other rules are not used


def entry_of(source, info, base: str, context: DataContext) -> array_cache.Entry:
  """Returns the cache entry of a whole split.

  The name of its folder depends on everything that determines the arrays, including the
  sizes and times of the files.

  Args:
    source, info, base: the split.
    context: has the cache.

  Raises:
    UserError: if a file of the split cannot be read.
  """
  root, *paths = _root_and_files(info, base)
  try:
    stamps = {path: manifests.stamp(path) for path in paths}
    declared = root / 'features.json'
    features, sources = declared.read_bytes(), {
      **stamps, declared: manifests.stamp(declared)}
  except OSError as error:
    raise _unreadable(source, base, error) from error
  files = [(path.name, size, time) for path, (_, size, time, _) in stamps.items()]
  key = json.dumps([files, digests.of_bytes(features), source.inputs,
                    source.labels])
  name = info.full_name.replace('/', '-')
  folder = context.cache_dir / 'decoded' / (
    f'{name}-{base}-{digests.of_bytes(key.encode())}')
  sampled = sum(size for _, size, _, _ in stamps.values()) > _DIGESTED
  digest = array_cache.known_digest(folder, sources) or _digest(
    source, info, base, sampled=sampled)
  return array_cache.Entry(
    folder, f'{_RULES}, {info.splits[base].num_examples} examples', digest, sources,
    sampled)


def _digest(source, info, base: str, *, sampled: bool) -> str:
  """A digest of the data, the same for every copy and preparation of the dataset.

  Args:
    source, info, base: the split.
    sampled: whether to read only the sizes and some parts of its files.
  """
  root, *paths = _root_and_files(info, base)
  try:
    digest = hashlib.sha256((root / 'features.json').read_bytes())
    for path in paths:
      size = path.stat().st_size
      what = [source.inputs, source.labels, path.relative_to(root).as_posix(), size]
      digest.update(json.dumps(what).encode())
      part = _DIGESTED // (4 * len(paths)) if sampled else size
      starts = np.linspace(0, max(size - part, 0), 4, dtype=int) if sampled else (0,)
      with path.open('rb') as file:
        for start in starts:
          file.seek(start)
          digest.update(file.read(part))
  except OSError as error:
    raise _unreadable(source, base, error) from error
  return digests.of_hash(digest)


def _root_and_files(info, base: str) -> list[pathlib.Path]:
  """The folder of a dataset, and the files of a split."""
  return [pathlib.Path(info.data_dir),
          *sorted(map(pathlib.Path, info.splits[base].filepaths))]


def _unreadable(source, base: str, error: OSError) -> UserError:
  return UserError(f'--data_dir: {source.name} {base!r} cannot be read: {error}')


class Load:
  """The `Dataset.load` of a split: memory-mapped columns, decoded if not cached."""

  def __init__(self, source, entry: array_cache.Entry, base: str, length: int,
               rows: slice, context: DataContext):
    """Only stores the arguments.

    Args:
      source, base: the whole split.
      entry: its entry in the cache.
      length: its number of examples.
      rows: rows of the selected split.
      context: prints lines.
    """
    self._source, self._entry, self._base = source, entry, base
    self._length, self._rows, self._context = length, rows, context
    self._noted = False

  def __call__(self) -> Columns:
    """Returns column -> `[length, ...]`, of the selected split.

    Raises:
      UserError: for a source with `fit`, or data that cannot be read or decoded.
    """
    source = self._source
    if source.fit:
      raise UserError(
        f'{source.name}: the result of `fit` changes from epoch to epoch, so it '
        'cannot be kept in memory, as resident=True requires')
    columns, notes = array_cache.cached(
      self._entry, self._decode, say=self._context.say,
      what=f'decoding {self._length:,} examples of {source.name} {self._base}')
    for note in () if self._noted else notes:
      self._context.say(f'{source.name} {self._base}: {note}')
    self._noted = True
    return {name: column[self._rows] for name, column in columns.items()}

  def _decode(self, writer: array_cache.Writer) -> None:
    source, found = self._source, {}  # note -> examples
    try:
      for start in range(0, self._length, CHUNK):
        keys = [*range(start, min(start + CHUNK, self._length))]
        columns, examples = tfds_examples.columns(
          source, self._context.data_dir, self._base, keys)
        for key, example in zip(keys, examples, strict=True):
          for note in example.notes if example else ():
            found.setdefault(note, []).append(key)
        writer.write(columns, self._length)
    except OSError as error:
      raise _unreadable(source, self._base, error) from error
    for note, keys in found.items():
      writer.note(f'{len(keys):,} images {note} (such as example {keys[0]})'
                  if len(keys) > 1 else f'1 image {note} (example {keys[0]})')

  def labels(self) -> np.ndarray:
    """Returns the labels of the split, int32 `[length]`, without decoding inputs.

    They are -1 where they cannot be read, and are cached as well.
    """
    source, length, entry = self._source, self._length, self._entry

    def read(writer: array_cache.Writer) -> None:
      found = tfds_examples.opened(source, self._context.data_dir, self._base)
      features, tfds = found.dataset_info.features, import_tfds()
      skip = {source.inputs: tfds.decode.SkipDecoding()}
      labels = np.full(length, -1, np.int32)
      for key in range(length):
        try:
          with quiet():
            labels[key] = features.deserialize_example_np(
              found.data_source[key], decoders=skip)[source.labels]
        except Exception as error:
          if isinstance(error, OSError) and error.errno:
            raise _unreadable(source, self._base, error) from error
          if is_of_machine(error):
            raise
      writer.write({'labels': labels}, length)

    folder = entry.folder.with_name(f'{entry.folder.name}-labels')
    columns, _ = array_cache.cached(
      dataclasses.replace(entry, folder=folder), read, say=self._context.say,
      what=f'reading {length:,} labels of {source.name} {self._base}')
    older = folder.with_name(f'{folder.name}.npy')
    with contextlib.suppress(OSError):  # it has no checksum
      older.unlink(missing_ok=True)
    return columns['labels'][self._rows]
