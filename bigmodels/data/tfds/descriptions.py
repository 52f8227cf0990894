"""The description of a split of a TFDS dataset, before an example is read.

In every function `source` is a `tfds.Tfds` and `info` a `tfds.core.DatasetInfo`.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, zeros
from bigmodels.data.tfds import builders

# Published numbers of examples, which the package does not have.
_LENGTHS = {
  'cifar10': {'train': 50_000, 'test': 10_000},
  'cifar100': {'train': 50_000, 'test': 10_000},
  'fashion_mnist': {'train': 60_000, 'test': 10_000},
  'imagenet2012': {'train': 1_281_167, 'validation': 50_000, 'test': 100_000},
  'kmnist': {'train': 60_000, 'test': 10_000},
  'mnist': {'train': 60_000, 'test': 10_000},
}
LENGTH = 50_000  # assumed for other datasets
_SIZES = (384, 512), (512, 384)  # assumed for images of any size
_FIT = (': give Tfds a fit to one shape, for images such as '
        'fit=partial(images.random_resized_crop, size=224)')


def columns_of(source) -> dict[str, str]:
  """Returns column -> the feature from which it is read."""
  return {'inputs': source.inputs} | (
    {'labels': source.labels} if source.labels else {})


def features(source, info) -> Mapping[str, Any]:
  """Returns the features of a dataset.

  Raises:
    UserError: if a feature that becomes a column is missing, or not numeric.
  """
  for feature in columns_of(source).values():
    if feature not in info.features:
      raise UserError(
        f'{source.name} has no feature {feature!r}{nearest(feature, info.features)}')
    dtype = info.features[feature].np_dtype
    if isinstance(dtype, dict) or np.dtype(dtype).kind not in 'biuf':
      raise UserError(
        f'{source.name}: the feature {feature!r} must be numbers or classes, got '
        f'{type(info.features[feature]).__name__}')
  return info.features


def rows(source, splits: Mapping[str, Any]) -> tuple[str, int, int]:
  """Returns the name of the whole split, the first row, and one past the last.

  Args:
    source: a source whose `selected` is one slice of a split.
    splits: name -> its `SplitInfo`.

  Raises:
    UserError: if there is no such split, it is empty, or several are joined.
  """
  tfds = builders.import_tfds()
  lengths = {name: split.num_examples for name, split in splits.items()}
  try:
    instruction = tfds.core.ReadInstruction.from_spec(source.selected)
    parts = instruction.to_absolute(splits)
  except Exception as error:
    base = source.selected.partition('[')[0]
    raise UserError(
      f'{source.name} has no split {source.selected!r}{nearest(base, lengths)}'
    ) from error
  if len(parts) != 1:
    raise UserError(f'{source.name}: {source.selected!r} joins several splits; '
                    'one slice of one split can be read')
  part = parts[0]
  first, last = part.from_ or 0, part.to
  last = lengths[part.splitname] if last is None else last
  if last <= first:
    raise UserError(f'{source.name}: the split {source.selected!r} is empty')
  return part.splitname, first, last


def fit_input(source, value: np.ndarray, seed: np.ndarray) -> np.ndarray:
  """Applies `fit` to an input; returns the input if there is none.

  Args:
    source: has the `fit`.
    value: the input, of any shape.
    seed: seed of the random generator, uint64 `[2]`.

  Raises:
    UserError: if `fit` fails.
  """
  if source.fit is None:
    return value
  rng = np.random.Generator(np.random.Philox(key=seed))
  try:
    return np.asarray(source.fit(value, rng))
  except Exception as error:
    raise UserError(
      f'{source.name}: `fit` fails for {source.inputs!r} of {value.dtype} '
      f'{value.shape}: {type(error).__name__}: {error}') from error


def nbytes(source, length: int, dtype: Any, shape: tuple[int | None, ...]
           ) -> int | None:
  """Returns the size of the columns in memory, or None if examples differ in shape.

  Args:
    source: the split.
    length: its number of examples.
    dtype, shape: dtype and shape of an input.
  """
  if None in shape or source.fit:
    return None
  each = int(np.prod(shape)) * np.dtype(dtype).itemsize
  return length * (each + (4 if source.labels else 0))


def dataset(source, context: DataContext) -> Dataset:
  """Returns the split with zeros for its examples; prints what is assumed.

  Shapes are those of `features.json` if the dataset is prepared, otherwise those of its
  class in tensorflow-datasets.

  Raises:
    UserError: if the dataset is not known, or the shape of an example is not.
  """
  info, there = builders.described(source.name, context)
  known = features(source, info)
  labels = known[source.labels] if source.labels else None
  names = getattr(labels, 'names', None)
  dtype, shape, assumed = _input(source, known[source.inputs])
  columns = {'inputs': (dtype, shape)}
  if labels is not None:
    integral = np.issubdtype(labels.np_dtype, np.integer)
    columns['labels'] = 'int32' if integral else 'float32', labels.shape
  for column, (_, each) in columns.items():
    if None in each:
      raise UserError(f'{source.name}: the shape of {columns_of(source)[column]!r} is '
                      f'not described, only {each}{_FIT if column == "inputs" else ""}')
  lengths = {name: split.num_examples for name, split in info.splits.items()}
  published = _LENGTHS.get(info.name, {})
  base = source.selected.partition('[')[0]
  base, first, last = rows(
    source, _splits(lengths or published or {base: LENGTH}))
  length, identity = last - first, f'{info.full_name} {source.selected}'
  named = there or names is None or [*names] != [str(n) for n in range(len(names))]
  if not there:
    counted = ('' if lengths else ' as published' if published else
               ' (neither their number nor the splits are described)')
    classes = '' if names is None else f', {len(names):,} classes' + (
      '' if named else ' (their names are not described)')
    context.say(
      f'assumed: {identity} is not prepared in {builders.root(context.data_dir)}; '
      f'shapes are from its description in tensorflow-datasets: {length:,} examples'
      f'{counted}, {source.inputs} {dtype} {shape}{assumed}{classes}')
  elif assumed:
    context.say(f'assumed: {identity}: {source.inputs} {dtype} {shape}{assumed}')
  return zeros(
    columns, length, names, identity, named=named,
    origin=Origin({f'{info.full_name} {base}': range(first, last)}),
    nbytes=nbytes(source, length, dtype, shape))


def _input(source, feature) -> tuple[str, tuple[int | None, ...], str]:
  """Data type and shape of an input, and what is assumed about it."""
  dtype = np.dtype(feature.np_dtype)
  if source.fit is None:
    return dtype.name, feature.shape, ''
  sizes = [_filled(feature.shape, size) for size in _SIZES]
  one, other = (fit_input(source, np.zeros(size, dtype), np.zeros(2, np.uint64))
                for size in sizes)
  if one.dtype.kind not in 'biuf':
    raise UserError(f'{source.name}: what `fit` makes of {source.inputs!r} must be '
                    f'numbers, got {one.dtype}')
  if one.shape != other.shape:
    raise UserError(
      f'{source.name}: what `fit` makes of {source.inputs!r} differs in shape: '
      f'{one.shape} of {sizes[0]}, {other.shape} of {sizes[1]}')
  return one.dtype.name, one.shape, f' that `fit` makes of {sizes[0]}'


def _filled(shape: tuple[int | None, ...], size: tuple[int, int]) -> tuple[int, ...]:
  """A shape with sizes in place of None."""
  sizes = itertools.cycle(size)
  return tuple(next(sizes) if n is None else n for n in shape)


def _splits(lengths: Mapping[str, int]) -> dict[str, Any]:
  """`SplitInfo`s with only the numbers of examples."""
  split = builders.import_tfds().core.SplitInfo
  return {name: split(name=name, shard_lengths=[length], num_bytes=0)
          for name, length in lengths.items()}
