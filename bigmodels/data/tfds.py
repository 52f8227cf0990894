"""Any TFDS dataset, read without TensorFlow, decoded once and cached on disk."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from bigmodels.data import builders, descriptions
from bigmodels.data.builders import import_tfds, quiet
from bigmodels.data.sources import Columns, Dataset, Opening
from bigmodels.errors import UserError

_CHUNK = 1000  # examples decoded at a time: enough to report, little to hold
_DIGESTED = 64 << 20  # bytes of a split that tell it from another: read at every start
_Pair = tuple[np.ndarray, np.ndarray]  # an input and a label


@dataclasses.dataclass(frozen=True)
class Tfds:
  """A dataset of tensorflow-datasets in the `array_record` format.

  An example is corrupt if its record cannot be read, or its picture not be decoded or
  of another shape than the dataset declares; see `Batches.corrupt`.

  Attributes:
    name: as TFDS names it; a version may be asked for, `spoken_digit:1.0.9`.
    selected: a split as TFDS writes it: 'train', 'test', 'train[:90%]'.
    inputs: the feature that becomes `inputs`.
    labels: the feature that becomes `labels`.
    fit: (input, numpy.random.Generator) -> input of one shape, applied where examples
      are read, for inputs that differ in shape: see `data.pictures`. What it draws it
      draws for each example and epoch, so that such a split is never resident.
  """

  name: str
  selected: str = 'train'
  inputs: str = 'image'
  labels: str = 'label'
  fit: Callable | None = None

  def split(self, name: str) -> 'Tfds':
    return dataclasses.replace(self, selected=name)

  def open(self, opening: Opening) -> Dataset:
    if opening.shapes_only:
      return descriptions.dataset(self, opening)
    info = builders.prepared(self.name, opening).info
    features = descriptions.features(self, info)
    base, first, last = descriptions.rows(self, info.splits)
    length = last - first
    inputs = features[self.inputs]
    names = getattr(features[self.labels], 'names', None)
    read = functools.partial(_read, self, opening.data_dir, base, first)
    folder = _cache_folder(self, info, base, opening)
    return Dataset(
      length=length,
      nbytes=descriptions.nbytes(self, length, inputs.np_dtype, inputs.shape),
      load=lambda: _load(self, folder, base, info.splits[base].num_examples,
                         slice(first, last), opening),
      read=read,
      classes=None if names is None else tuple(names),
      identity=f'{info.full_name} {self.selected} {_digest(self, info, base)}',
      describe=functools.partial(_describe, self, opening.data_dir, base, first),
      labels=self.fit and (lambda: _labels(
        self, folder, base, info.splits[base].num_examples, opening)[first:last]),
    )

  def download(self, opening: Opening) -> str:
    """Downloads and prepares the dataset; returns the folder it is in."""
    builder = builders.of_class(self.name, opening, file_format='array_record')
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
  tfds = import_tfds()
  with quiet():
    builder = builders.from_files(name, data_dir)
    by_pillow = tfds.decode.make_decoder()(_by_pillow)()
    pictures = {key: by_pillow for key, feature in builder.info.features.items()
                if isinstance(feature, tfds.features.Image)
                and feature.np_dtype == np.uint8}
    return builder.as_data_source(split=base, decoders=pictures)


def _by_pillow(encoded: bytes, feature) -> np.ndarray:
  """A picture with the channels that a feature declares.

  TFDS decodes with OpenCV where that happens to be installed, which takes half a file
  for a whole one: what is read would depend on other packages.
  """
  from PIL import Image

  with Image.open(io.BytesIO(encoded)) as image:
    channels = feature.shape[-1]
    mode = {1: 'L', 3: 'RGB', 4: 'RGBA'}.get(channels, image.mode)
    picture = np.asarray(image.convert(mode))
    return picture.reshape(*picture.shape[:2], -1)


def _read(source: Tfds, data_dir: str | None, base: str, first: int,
          rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
  """Decodes some rows. A plain function of plain values, so workers can call it."""
  found = _found(source, data_dir, base)
  keys = [int(first + row) for row in rows]
  try:
    pairs = _decoded(source, found, keys)
  except _Corrupt:
    pairs = [_decoded_or_none(source, found, key) for key in keys]
  if seeds is None:
    seeds = np.zeros((len(rows), 2), np.uint64)
  pairs = [pair and (descriptions.fit_input(source, pair[0], seed), pair[1])
           for pair, seed in zip(pairs, seeds, strict=True)]
  corrupt = np.array([pair is None for pair in pairs])
  if corrupt.any():
    good = next((pair for pair in pairs if pair), None)
    if good is None:
      value, label = _first(source, found, base)
      good = descriptions.fit_input(source, value, seeds[0]), label
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
      'be batched: give Tfds a fit, such as data.pictures.middle') from error
  labels = np.stack(labels)
  whole = np.issubdtype(labels.dtype, np.integer)
  return {'inputs': inputs, 'corrupt': corrupt,
          'labels': labels.astype(np.int32 if whole else np.float32)}


def _found(source: Tfds, data_dir: str | None, base: str):
  return data_source(source.name, str(builders.root(data_dir)), base)


class _Corrupt(Exception):
  """An example cannot be decoded, and why."""


def _decoded(source: Tfds, found, keys: list[int]) -> list[_Pair]:
  try:
    with quiet():
      examples = found.__getitems__(keys)
    pairs = [(np.asarray(e[source.inputs]), np.asarray(e[source.labels]))
             for e in examples]
  except Exception as error:
    if _of_the_machine(error):
      raise
    text = re.sub(' <.* at 0x.*>', '', str(error))
    raise _Corrupt(f'{type(error).__name__}: {text}') from error
  wanted = found.dataset_info.features[source.inputs].shape
  for value, _ in pairs:
    if value.ndim != len(wanted) or any(
      n not in (None, m) for n, m in zip(wanted, value.shape, strict=True)):
      raise _Corrupt(f'{source.inputs} of shape {value.shape}, the dataset has '
                     f'{wanted}')
  return pairs


def _of_the_machine(error: Exception) -> bool:
  """Whether this machine is at fault, not the data."""
  return isinstance(error, ImportError | MemoryError) or bool(
    getattr(error, 'errno', None))


def _decoded_or_none(source: Tfds, found, key: int) -> _Pair | None:
  try:
    return _decoded(source, found, [key])[0]
  except _Corrupt:
    return None


def _first(source: Tfds, found, base: str) -> _Pair:
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


def _digest(source: Tfds, info, base: str) -> str:
  """Of what is read: the same wherever the dataset is copied to, and prepared again.

  Of files that together exceed `_DIGESTED` bytes, their sizes and some parts.
  """
  root = pathlib.Path(info.data_dir)
  paths = sorted(root.glob(f'*-{base}.*'))
  digest = hashlib.sha256((root / 'features.json').read_bytes())
  try:
    whole = sum(path.stat().st_size for path in paths) <= _DIGESTED
    for path in paths:
      size = path.stat().st_size
      told = [source.inputs, source.labels, path.name, size]
      digest.update(json.dumps(told).encode())
      part = size if whole else _DIGESTED // (4 * len(paths))
      starts = (0,) if whole else np.linspace(0, max(size - part, 0), 4, dtype=int)
      with path.open('rb') as file:
        for start in starts:
          file.seek(start)
          digest.update(file.read(part))
  except OSError as error:
    raise UserError(f'--data_dir: {source.name} {base!r} cannot be read: {error}'
                    ) from error
  return digest.hexdigest()[:12]


def _cache_folder(source: Tfds, info, base: str, opening: Opening) -> pathlib.Path:
  """Named by what the decoded arrays depend on, the files' sizes and times included."""
  root = pathlib.Path(info.data_dir)
  files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns)
           for p in sorted(root.glob(f'*-{base}.*'))]
  features = (root / 'features.json').read_bytes()
  key = json.dumps([files, hashlib.sha256(features).hexdigest(), source.inputs,
                    source.labels])
  digest = hashlib.sha256(key.encode()).hexdigest()[:12]
  name = info.full_name.replace('/', '-')
  return opening.cache_dir / 'decoded' / f'{name}-{base}-{digest}'


def _load(source: Tfds, folder: pathlib.Path, base: str, length: int, rows: slice,
          opening: Opening) -> Columns:
  """The decoded columns, memory-mapped from the cache; decoded into it if missing."""
  if source.fit:
    raise UserError(f'{source.name}: what `fit` draws changes from epoch to epoch, so '
                    'it cannot be held in memory, as resident=True wants')
  if not folder.is_dir():
    _decode(source, folder, base, length, opening)
  # One from before damage was put up with has no `corrupt`, and no damage.
  return {path.stem: np.load(path, mmap_mode='r')[rows]
          for path in sorted(folder.glob('*.npy'))}


def _labels(source: Tfds, folder: pathlib.Path, base: str, length: int,
            opening: Opening) -> np.ndarray:
  """The labels alone of a split, inputs left undecoded; kept in the cache."""
  path = folder.with_name(f'{folder.name}-labels.npy')
  if not path.is_file():
    opening.say(f'reading {length:,} labels of {source.name} {base} (once; kept in '
                f'{path})')
    found = _found(source, opening.data_dir, base)
    features, tfds = found.dataset_info.features, import_tfds()
    skip = {source.inputs: tfds.decode.SkipDecoding()}
    labels = np.full(length, -1, np.int32)
    for key in range(length):
      try:
        with quiet():
          labels[key] = features.deserialize_example_np(
            found.data_source[key], decoders=skip)[source.labels]
      except Exception as error:
        if _of_the_machine(error):
          raise
    with _scratch(path) as scratch:
      np.save(scratch / path.name, labels)
      os.replace(scratch / path.name, path)
  return np.load(path)


def _decode(source: Tfds, folder: pathlib.Path, base: str, length: int,
            opening: Opening) -> None:
  opening.say(f'decoding {length:,} examples of {source.name} {base} '
              f'(once; kept in {folder})')
  with _scratch(folder) as scratch:
    outputs: Columns = {}
    for start in range(0, length, _CHUNK):
      stop = min(start + _CHUNK, length)
      part = _read(source, opening.data_dir, base, 0, np.arange(start, stop))
      for name, array in part.items():
        if name not in outputs:
          outputs[name] = np.lib.format.open_memmap(
            scratch / f'{name}.npy', 'w+', array.dtype, (length, *array.shape[1:]))
        outputs[name][start:stop] = array
    for array in outputs.values():
      array.flush()
    os.rename(scratch, folder)  # whole or not at all


@contextlib.contextmanager
def _scratch(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder to make something in that is then moved to a path of the cache.

  Raises:
    UserError: where nothing can be written.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}-', dir=path.parent))
  except OSError as error:
    raise UserError(f'--cache_dir: cannot write decoded data: {error}') from error
  try:
    yield scratch
  except OSError as error:
    if not path.exists():  # another run may have been quicker
      raise UserError(f'--cache_dir: cannot write decoded data: {error}') from error
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
