"""Any TFDS dataset, read without TensorFlow, decoded once and cached on disk."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.data import builders, decoded, descriptions, encoded, scratch
from bigmodels.data.builders import import_tfds, quiet
from bigmodels.data.origins import Origin
from bigmodels.data.sources import Columns, DataContext, Dataset

_CHUNK = 1000  # examples decoded at a time: enough to report, little to hold
_DIGESTED = 64 << 20  # bytes of a split that tell it from another: read at every start
_RULES = '16 bits by their upper 8'  # of decoding: what other ones gave is not used


@dataclasses.dataclass(frozen=True)
class _Example:
  """An example, and what was converted in it; see `encoded.decode`."""

  input: np.ndarray
  label: np.ndarray
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Tfds:
  """A dataset of tensorflow-datasets in the `array_record` format.

  An example is corrupt if its record cannot be read, or its image not be decoded or
  of another shape than the dataset declares; see `Batches.corrupt`.

  Attributes:
    name: as TFDS names it; a version may be asked for, `spoken_digit:1.0.9`.
    selected: a split as TFDS writes it: 'train', 'test', 'train[:90%]'.
    inputs: the feature that becomes `inputs`.
    labels: the feature that becomes `labels`.
    fit: (input, numpy.random.Generator) -> input of one shape, applied where examples
      are read, for inputs that differ in shape: see `data.images`. What it draws it
      draws for each example and epoch, so that such a split is never resident.
  """

  name: str
  selected: str = 'train'
  inputs: str = 'image'
  labels: str = 'label'
  fit: Callable | None = None

  def split(self, name: str) -> 'Tfds':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    if context.shapes_only:
      return descriptions.dataset(self, context)
    info = builders.prepared(self.name, context).info
    features = descriptions.features(self, info)
    base, first, last = descriptions.rows(self, info.splits)
    length, whole = last - first, info.splits[base].num_examples
    inputs = features[self.inputs]
    names = getattr(features[self.labels], 'names', None)
    read = functools.partial(_read, self, context.data_dir, base, first)
    scratch.sweep(context.cache_dir / 'decoded', context.say)
    place = _place(self, info, base, context)
    return Dataset(
      length=length,
      nbytes=descriptions.nbytes(self, length, inputs.np_dtype, inputs.shape),
      load=_Load(self, place, base, whole, slice(first, last), context),
      read=read,
      classes=None if names is None else tuple(names),
      identity=f'{info.full_name} {self.selected} {place.digest}',
      describe=functools.partial(_describe, self, context.data_dir, base, first),
      labels=self.fit and (lambda: _labels(
        self, place, base, whole, context)[first:last]),
      origin=Origin({f'{info.full_name} {base}': range(first, last)}),
    )

  def download(self, context: DataContext) -> str:
    """Downloads and prepares the dataset; returns the folder it is in."""
    builder = builders.of_class(self.name, context, file_format='array_record')
    try:
      builder.download_and_prepare()
    except Exception as error:
      raise UserError(
        f'could not download {self.name!r} to {builder.data_dir}: '
        f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""} '
        '(is there a network?)') from error
    return str(builder.data_dir)


@functools.cache
def data_source(name: str, data_dir: str | None, base: str):
  """The examples of a split, images as they are encoded: see `encoded.decode`.

  TFDS decodes with OpenCV where that happens to be installed, which takes half a file
  for a whole one: what is read would depend on other packages.
  """
  tfds = import_tfds()
  with quiet():
    builder = builders.from_files(name, data_dir)
    images = {key: tfds.decode.SkipDecoding()
              for key, feature in builder.info.features.items()
              if _is_encoded(feature)}
    return builder.as_data_source(split=base, decoders=images)


def _is_encoded(feature) -> bool:
  return isinstance(feature, import_tfds().features.Image) and (
    feature.np_dtype in (np.uint8, np.uint16))


def _read(source: Tfds, data_dir: str | None, base: str, first: int,
          rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
  """Decodes some rows. A plain function of plain values, so workers can call it."""
  keys = [int(first + row) for row in rows]
  columns, examples = _columns(source, data_dir, base, keys, seeds)
  if seeds is not None:  # while it trains, maybe in a process without `DataContext.say`
    for key, example in zip(keys, examples, strict=True):
      for note in example.notes if example else ():
        _say_once(f'{source.name} {base}: images {note}', key)
  return columns


@functools.cache
def _said(text: str) -> list[int]:
  """The first example that a text was said of."""
  return []


def _say_once(text: str, key: int) -> None:
  """Prints it once in a process, wherever it is."""
  if not _said(text):
    _said(text).append(key)
    print(f'{text} (such as example {key})', flush=True)


def _columns(source: Tfds, data_dir: str | None, base: str, keys: list[int],
             seeds: np.ndarray | None = None
             ) -> tuple[Columns, list[_Example | None]]:
  """Some examples as columns, and as they were decoded, None for what is corrupt."""
  found = _found(source, data_dir, base)
  try:
    examples = _decoded(source, found, keys)
  except _Corrupt:
    examples = [_decoded_or_none(source, found, key) for key in keys]
  if seeds is None:
    seeds = np.zeros((len(keys), 2), np.uint64)
  pairs = [each and (descriptions.fit_input(source, each.input, seed), each.label)
           for each, seed in zip(examples, seeds, strict=True)]
  corrupt = np.array([pair is None for pair in pairs])
  if corrupt.any():
    good = next((pair for pair in pairs if pair), None)
    if good is None:
      one = _first(source, found, base)
      good = descriptions.fit_input(source, one.input, seeds[0]), one.label
    zeros = tuple(map(np.zeros_like, good))
    pairs = [pair or zeros for pair in pairs]
  inputs, labels = zip(*pairs, strict=True)
  try:
    inputs = np.stack(inputs)
  except ValueError as error:
    raise UserError(
      f'{source.name}: what `fit` makes of {source.inputs!r} differs in shape'
      if source.fit else
      f'{source.name}: examples of {source.inputs!r} differ in shape, so they cannot '
      'be batched: give Tfds a fit, such as data.images.centre_crop') from error
  labels = np.stack(labels)
  whole = np.issubdtype(labels.dtype, np.integer)
  labels = labels.astype(np.int32 if whole else np.float32)
  return {'inputs': inputs, 'corrupt': corrupt, 'labels': labels}, examples


def _found(source: Tfds, data_dir: str | None, base: str):
  return data_source(source.name, str(builders.root(data_dir)), base)


class _Corrupt(Exception):
  """An example cannot be decoded, and why."""


def _decoded(source: Tfds, found, keys: list[int]) -> list[_Example]:
  features = found.dataset_info.features
  try:
    with quiet():
      examples = [_example(source, features, example)
                  for example in found.__getitems__(keys)]
  except Exception as error:
    if _of_the_machine(error):
      raise
    text = re.sub(' <.* at 0x.*>', '', str(error))
    raise _Corrupt(f'{type(error).__name__}: {text}') from error
  wanted = features[source.inputs].shape
  for shape in (example.input.shape for example in examples):
    if len(shape) != len(wanted) or any(
      n not in (None, m) for n, m in zip(wanted, shape, strict=True)):
      raise _Corrupt(f'{source.inputs} of shape {shape}, the dataset has {wanted}')
  return examples


def _example(source: Tfds, features, found) -> _Example:
  """An example from what `data_source` has of it."""
  arrays, notes = [], ()
  for name in (source.inputs, source.labels):
    array, feature = found[name], features[name]
    if _is_encoded(feature):
      array, done = encoded.decode(array, feature.shape[-1], feature.np_dtype)
      notes += done
    arrays.append(np.asarray(array))
  return _Example(*arrays, notes)


def _of_the_machine(error: Exception) -> bool:
  """Whether this machine is at fault, not the data."""
  return isinstance(error, ImportError | MemoryError) or bool(
    getattr(error, 'errno', None))


def _decoded_or_none(source: Tfds, found, key: int) -> _Example | None:
  try:
    return _decoded(source, found, [key])[0]
  except _Corrupt:
    return None


def _first(source: Tfds, found, base: str) -> _Example:
  """The first example that can be decoded: it tells shapes and types."""
  count, reason = min(len(found), _CHUNK), ''
  for key in range(count):
    try:
      return _decoded(source, found, [key])[0]
    except _Corrupt as error:
      reason = reason or str(error)
  raise UserError(f'{source.name}: of the first {count:,} examples of {base!r} none '
                  f'can be decoded: {reason}')


def _describe(source: Tfds, data_dir: str | None, base: str, first: int,
              row: int) -> str:
  """Where an example is, what it is called, and why it cannot be decoded."""
  found, key = _found(source, data_dir, base), int(first + row)
  features, split = found.dataset_info.features, found.dataset_info.splits[base]
  ends = np.cumsum(split.shard_lengths)
  shard = int(np.searchsorted(ends, key, side='right'))
  place = key - int(ends[shard]) + int(split.shard_lengths[shard])
  parts = [f'example {key} of {source.name} {base}',
           f'record {place} of {split.filenames[shard]}']
  tfds = import_tfds()
  with contextlib.suppress(Exception), quiet():  # the record itself may be damaged
    example = features.deserialize_example_np(
      found.data_source[key], decoders={source.inputs: tfds.decode.SkipDecoding()})
    parts += [f'{name} {example[name].decode(errors="replace").strip()[:80]!r}'
              for name, feature in features.items()
              if isinstance(feature, tfds.features.Text)]
  try:
    _decoded(source, found, [key])
  except _Corrupt as error:
    return f'{", ".join(parts)}: {error}'
  return ', '.join(parts)


def _digest(source: Tfds, info, base: str, *, sampled: bool) -> str:
  """Of what is read: the same wherever the dataset is copied to, and prepared again.

  Args:
    source, info, base: the split.
    sampled: whether only the sizes and some parts of its files are read.
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


def _unreadable(source: Tfds, base: str, error: OSError) -> UserError:
  return UserError(f'--data_dir: {source.name} {base!r} cannot be read: {error}')


def _root_and_files(info, base: str) -> list[pathlib.Path]:
  """The folder of a dataset, and the files of a split."""
  return [pathlib.Path(info.data_dir),
          *sorted(map(pathlib.Path, info.splits[base].filepaths))]


def _place(source: Tfds, info, base: str, context: DataContext) -> decoded.Place:
  """Where a split is kept once it is decoded.

  The folder is named by what the arrays depend on, the files' sizes and times included.
  """
  root, *paths = _root_and_files(info, base)
  try:
    stamps = {path: decoded.stamp(path) for path in paths}
    features = (root / 'features.json').read_bytes()
    sources = {**stamps, root / 'features.json': decoded.stamp(root / 'features.json')}
  except OSError as error:
    raise _unreadable(source, base, error) from error
  files = [(path.name, size, time) for path, (_, size, time, _) in stamps.items()]
  key = json.dumps([files, digests.of_bytes(features), source.inputs,
                    source.labels])
  name = info.full_name.replace('/', '-')
  folder = context.cache_dir / 'decoded' / (
    f'{name}-{base}-{digests.of_bytes(key.encode())}')
  sampled = sum(size for _, size, _, _ in stamps.values()) > _DIGESTED
  digest = decoded.known_digest(folder, sources) or _digest(
    source, info, base, sampled=sampled)
  return decoded.Place(folder, f'{_RULES}, {info.splits[base].num_examples} examples',
                       digest, sources, sampled)


class _Load:
  """The decoded columns, memory-mapped from the cache; decoded into it if missing."""

  def __init__(self, source: Tfds, place: decoded.Place, base: str, length: int,
               rows: slice, context: DataContext):
    self._source, self._place, self._base = source, place, base
    self._length, self._rows, self._context = length, rows, context
    self._said = False

  def __call__(self) -> Columns:
    source = self._source
    if source.fit:
      raise UserError(
        f'{source.name}: what `fit` draws changes from epoch to epoch, so it cannot be '
        'held in memory, as resident=True requires')
    columns, notes = decoded.kept(
      self._place, self._decode, say=self._context.say,
      what=f'decoding {self._length:,} examples of {source.name} {self._base}')
    for note in () if self._said else notes:
      self._context.say(f'{source.name} {self._base}: {note}')
    self._said = True
    return {name: column[self._rows] for name, column in columns.items()}

  def _decode(self, writer: decoded.Writer) -> None:
    source, found = self._source, {}  # note -> examples
    try:
      for start in range(0, self._length, _CHUNK):
        keys = [*range(start, min(start + _CHUNK, self._length))]
        columns, examples = _columns(
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


def _labels(source: Tfds, place: decoded.Place, base: str, length: int,
            context: DataContext) -> np.ndarray:
  """The labels alone of a split, inputs left undecoded; kept in the cache."""
  def read(writer: decoded.Writer) -> None:
    found = _found(source, context.data_dir, base)
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
          raise _unreadable(source, base, error) from error
        if _of_the_machine(error):
          raise
    writer.write({'labels': labels}, length)

  folder = place.folder.with_name(f'{place.folder.name}-labels')
  older = folder.with_name(f'{folder.name}.npy')
  columns, _ = decoded.kept(
    dataclasses.replace(place, folder=folder), read, say=context.say,
    what=f'reading {length:,} labels of {source.name} {base}')
  with contextlib.suppress(OSError):  # it has no checksum
    older.unlink(missing_ok=True)
  return columns['labels']
