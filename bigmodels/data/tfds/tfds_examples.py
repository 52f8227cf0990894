"""Examples of a TFDS dataset: read, decoded, and described where they are damaged.

In every function `source` is a `tfds.Tfds`, `base` the name of a whole split, `first`
the row at which the selected split begins, and `keys` are rows of the whole split.
"""

import contextlib
import functools
import re
from typing import NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, is_of_machine
from bigmodels.data import image_decoding
from bigmodels.data.sources import Columns
from bigmodels.data.tfds import builders, descriptions
from bigmodels.data.tfds.builders import import_tfds, quiet

CHUNK = 1000  # examples decoded at a time, which must fit in memory


class Example(NamedTuple):
  """An example, and what was converted in it; see `image_decoding.decode`.

  Attributes:
    columns: name -> array, without an axis of examples.
    notes: what was converted, to print.
  """

  columns: Columns
  notes: tuple[str, ...]


class Corrupt(Exception):
  """An example cannot be decoded, and why."""


@functools.cache
def data_source(name: str, data_dir: str | None, base: str):
  """Returns the examples of a split, with encoded images.

  If OpenCV is installed, TFDS decodes with it, which accepts truncated files. The data
  would then depend on other packages.

  Args:
    name: name of the dataset.
    data_dir: folder of datasets; TFDS's own default for None.
    base: name of a whole split.
  """
  tfds = import_tfds()
  with quiet():
    builder = builders.from_files(name, data_dir)
    images = {key: tfds.decode.SkipDecoding()
              for key, feature in builder.info.features.items()
              if _is_encoded(feature)}
    return builder.as_data_source(split=base, decoders=images)


def opened(source, data_dir: str | None, base: str):
  """Returns the `data_source` of a split.

  Args:
    source, data_dir, base: see `data_source`; `source` is a `tfds.Tfds`.
  """
  return data_source(source.name, str(builders.root(data_dir)), base)


def _is_encoded(feature) -> bool:
  return isinstance(feature, import_tfds().features.Image) and (
    feature.np_dtype in (np.uint8, np.uint16))


# --- columns --------------------------------------------------------------------


def read(source, data_dir: str | None, base: str, first: int, rows: np.ndarray,
         seeds: np.ndarray | None = None) -> Columns:
  """Decodes some rows: the `Dataset.read` of a split.

  Args:
    source, data_dir, base, first: plain values, so that this can run in workers.
    rows: int `[n]`.
    seeds: seeds for `fit`, uint64 `[n, 2]`.

  Raises:
    UserError: if examples differ in shape, or none of the first can be decoded.
  """
  keys = [int(first + row) for row in rows]
  found, examples = columns(source, data_dir, base, keys, seeds)
  if seeds is not None:  # in training, possibly in a process without `DataContext.say`
    for key, example in zip(keys, examples, strict=True):
      for note in example.notes if example else ():
        _print_once(f'{source.name} {base}: images {note}', key)
  return found


@functools.cache
def _printed(text: str) -> list[int]:
  """The first example that a text was printed for."""
  return []


def _print_once(text: str, key: int) -> None:
  """Prints a text once in each process."""
  if not _printed(text):
    _printed(text).append(key)
    print(f'{text} (such as example {key})', flush=True)


def columns(source, data_dir: str | None, base: str, keys: list[int],
            seeds: np.ndarray | None = None) -> tuple[Columns, list[Example | None]]:
  """Returns examples as columns, including `corrupt`, and as a list.

  Args:
    source, data_dir, base: the split.
    keys: `n` rows of it.
    seeds: uint64 `[n, 2]`; None for zeros.

  Returns:
    Columns `[n, ...]`; and the examples, None for corrupt ones.

  Raises:
    UserError: if examples differ in shape, or none of the first can be decoded.
  """
  found = opened(source, data_dir, base)
  try:
    examples = _decoded(source, found, keys)
  except Corrupt:
    examples = [_decoded_or_none(source, found, key) for key in keys]
  if seeds is None:
    seeds = np.zeros((len(keys), 2), np.uint64)
  fitted = [each and _fitted(source, each, seed)
            for each, seed in zip(examples, seeds, strict=True)]
  corrupt = np.array([each is None for each in fitted])
  if corrupt.any():
    good = next((each for each in fitted if each), None)
    if good is None:
      good = _fitted(source, _first(source, found, base), seeds[0])
    zeros = {name: np.zeros_like(x) for name, x in good.items()}
    fitted = [each or zeros for each in fitted]
  try:
    inputs = np.stack([each['inputs'] for each in fitted])
  except ValueError as error:
    raise UserError(
      f'{source.name}: what `fit` makes of {source.inputs!r} differs in shape'
      if source.fit else
      f'{source.name}: examples of {source.inputs!r} differ in shape, so they cannot '
      'be batched: give Tfds a fit, such as data.images.centre_crop') from error
  batch = {'inputs': inputs, 'corrupt': corrupt}
  if source.labels:
    labels = np.stack([each['labels'] for each in fitted])
    integral = np.issubdtype(labels.dtype, np.integer)
    batch['labels'] = labels.astype(np.int32 if integral else np.float32)
  return batch, examples


def _fitted(source, example: Example, seed: np.ndarray) -> Columns:
  """The columns of an example, with `fit` applied to its input."""
  fitted = descriptions.fit_input(source, example.columns['inputs'], seed)
  return {**example.columns, 'inputs': fitted}


# --- decoding -------------------------------------------------------------------


def _decoded(source, found, keys: list[int]) -> list[Example]:
  features = found.dataset_info.features
  try:
    with quiet():
      examples = [_example(source, features, example)
                  for example in found.__getitems__(keys)]
  except Exception as error:
    if is_of_machine(error):
      raise
    text = re.sub(' <.* at 0x.*>', '', str(error))
    raise Corrupt(f'{type(error).__name__}: {text}') from error
  declared = features[source.inputs].shape
  for shape in (example.columns['inputs'].shape for example in examples):
    if len(shape) != len(declared) or any(
      n not in (None, m) for n, m in zip(declared, shape, strict=True)):
      raise Corrupt(f'{source.inputs} of shape {shape}, the dataset has {declared}')
  return examples


def _example(source, features, found) -> Example:
  """Decodes an example of `data_source`."""
  arrays, notes = {}, ()
  for column, name in descriptions.columns_of(source).items():
    array, feature = found[name], features[name]
    if _is_encoded(feature):
      array, converted = image_decoding.decode(
        array, feature.shape[-1], feature.np_dtype)
      notes += converted
    arrays[column] = np.asarray(array)
  return Example(arrays, notes)


def _decoded_or_none(source, found, key: int) -> Example | None:
  try:
    return _decoded(source, found, [key])[0]
  except Corrupt:
    return None


def _first(source, found, base: str) -> Example:
  """The first example that can be decoded, for shapes and types."""
  count, reason = min(len(found), CHUNK), ''
  for key in range(count):
    try:
      return _decoded(source, found, [key])[0]
    except Corrupt as error:
      reason = reason or str(error)
  raise UserError(f'{source.name}: none of the first {count:,} examples of {base!r} '
                  f'can be decoded: {reason}')


def describe(source, data_dir: str | None, base: str, first: int, row: int) -> str:
  """Returns where an example is, its text features, and why it cannot be decoded.

  Args:
    source, data_dir, base, first: as in `read`.
    row: row of the selected split.
  """
  found, key = opened(source, data_dir, base), int(first + row)
  features, split = found.dataset_info.features, found.dataset_info.splits[base]
  ends = np.cumsum(split.shard_lengths)
  shard = int(np.searchsorted(ends, key, side='right'))
  index = key - int(ends[shard]) + int(split.shard_lengths[shard])
  parts = [f'example {key} of {source.name} {base}',
           f'record {index} of {split.filenames[shard]}']
  tfds = import_tfds()
  with contextlib.suppress(Exception), quiet():  # the record itself may be damaged
    example = features.deserialize_example_np(
      found.data_source[key], decoders={source.inputs: tfds.decode.SkipDecoding()})
    parts += [f'{name} {example[name].decode(errors="replace").strip()[:80]!r}'
              for name, feature in features.items()
              if isinstance(feature, tfds.features.Text)]
  try:
    _decoded(source, found, [key])
  except Corrupt as error:
    return f'{", ".join(parts)}: {error}'
  return ', '.join(parts)
