"""Any TFDS dataset, read without TensorFlow, decoded once and cached on disk."""

import dataclasses
import functools
from collections.abc import Callable

from bigmodels.core.errors import UserError
from bigmodels.data.cached import scratch
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset
from bigmodels.data.tfds import builders, descriptions, tfds_cache, tfds_examples


@dataclasses.dataclass(frozen=True)
class Tfds:
  """A dataset of tensorflow-datasets in the `array_record` format.

  An example is corrupt if its record cannot be read, its image cannot be decoded, or
  its shape differs from the declaration of the dataset; see `Batches.corrupt`.

  Attributes:
    name: name of the dataset in TFDS; a version may be given, as in
      `spoken_digit:1.0.9`.
    selected: a split in the notation of TFDS: 'train', 'test', 'train[:90%]'.
    inputs: the feature that becomes `inputs`.
    labels: the feature that becomes `labels`; None for no labels.
    fit: (input, numpy.random.Generator) -> input of a fixed shape, applied while
      examples are read, for inputs of different shapes; see `data.images`. It is random
      for each example and epoch, so such a split is never resident.
  """

  name: str
  selected: str = 'train'
  inputs: str = 'image'
  labels: str | None = 'label'
  fit: Callable | None = None

  def split(self, name: str) -> 'Tfds':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Opens the prepared dataset; decodes nothing until it is loaded or read.

    Raises:
      UserError: if it is not prepared, its files cannot be read, or it has no such
        split or feature.
    """
    if context.shapes_only:
      return descriptions.dataset(self, context)
    info = builders.prepared(self.name, context).info
    features = descriptions.features(self, info)
    base, first, last = descriptions.rows(self, info.splits)
    length, whole = last - first, info.splits[base].num_examples
    inputs = features[self.inputs]
    names = getattr(features[self.labels], 'names', None) if self.labels else None
    scratch.sweep(context.cache_dir / 'decoded', context.say)
    entry = tfds_cache.entry_of(self, info, base, context)
    load = tfds_cache.Load(self, entry, base, whole, slice(first, last), context)
    return Dataset(
      length=length,
      nbytes=descriptions.nbytes(self, length, inputs.np_dtype, inputs.shape),
      load=load,
      read=functools.partial(tfds_examples.read, self, context.data_dir, base, first),
      classes=None if names is None else tuple(names),
      identity=f'{info.full_name} {self.selected} {entry.digest}',
      describe=functools.partial(
        tfds_examples.describe, self, context.data_dir, base, first),
      labels=load.labels if self.fit and self.labels else None,
      origin=Origin({f'{info.full_name} {base}': range(first, last)}),
    )

  def download(self, context: DataContext) -> str:
    """Downloads and prepares the dataset; returns its folder.

    Raises:
      UserError: if there is no such dataset, or it cannot be downloaded.
    """
    builder = builders.of_class(self.name, context, file_format='array_record')
    try:
      builder.download_and_prepare()
    except Exception as error:
      raise UserError(
        f'could not download {self.name!r} to {builder.data_dir}: '
        f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""} '
        '(is there a network?)') from error
    return str(builder.data_dir)
