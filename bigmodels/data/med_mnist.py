"""The files of MedMNIST: small medical images with official splits."""

import dataclasses
import pathlib
import zipfile
import zlib

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.arrays import are_names
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext, Dataset, canonical, in_memory

_SPLITS = {'train': 'train', 'validation': 'val', 'test': 'test'}  # as in the file


@dataclasses.dataclass(frozen=True)
class MedMnist:
  """A set of MedMNIST with one label for each image, in its official splits.

  Yang et al., *MedMNIST v2*, 2023: `pneumoniamnist.npz`, `bloodmnist.npz` and others.
  The arrays of a file are `train_images`, `train_labels`, `val_images`, ....

  Opened: `inputs` uint8 `[n, height, width, 1 or 3]`; `labels` int32 `[n]`.

  Attributes:
    path: the file; a relative path is looked up under `--data_dir` too.
    classes: names of the classes 0, 1, ..., which the file does not have; None for
      their numbers.
    selected: the split that `open` gives: 'train', 'validation' or 'test'.
  """

  path: str
  classes: tuple[str, ...] | None = None
  selected: str = 'train'

  def __post_init__(self):
    object.__setattr__(self, 'path', files.absolute(self.path, 'path'))
    if self.classes is not None and not are_names(self.classes):
      raise ValueError(f'classes: must be distinct names, got {self.classes!r}')

  def split(self, name: str) -> 'MedMnist':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the arrays of the split.

    Raises:
      UserError: if the file is missing or none of MedMNIST, or its labels are not one
        class for each image.
    """
    name = canonical(self.selected)
    if name not in _SPLITS:
      raise UserError(f'no split {self.selected!r}{nearest(self.selected, _SPLITS)}')
    path = files.find(self.path, context.data_dir)
    files.require_file(path)
    arrays, highest = _read(path, _SPLITS[name])
    images, labels = arrays
    if images.dtype != np.uint8 or not images.size or not (
      images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
      raise UserError(f'{path}: the images of {name} must be uint8 [n, height, width], '
                      f'perhaps with 3 channels, are {images.dtype} {images.shape}')
    if labels.dtype.kind not in 'iu' or labels.size != len(images):
      raise UserError(f'{path}: the labels of {name} must be one class for each of '
                      f'{len(images):,} images, are {labels.dtype} {labels.shape}')
    labels = labels.reshape(-1).astype(np.int32)
    classes = self.classes or tuple(map(str, range(highest + 1)))
    if labels.min() < 0 or labels.max() >= len(classes):
      raise UserError(f'{path}: the labels of {name} are {labels.min()} to '
                      f'{labels.max()}, classes= names {len(classes)}: '
                      f'{listed(classes)}')
    images = images if images.ndim == 4 else images[..., None]
    dataset = in_memory({'inputs': images, 'labels': labels}, classes)
    whole = f'{_SPLITS[name]}_images of {path.resolve()}'
    return dataset._replace(describe=lambda row: f'{_SPLITS[name]}_images[{row}]',
                            origin=Origin({whole: range(len(images))}))


def _read(path: pathlib.Path, split: str) -> tuple[list[np.ndarray], int]:
  """Images and labels of a split, and the highest label of all splits.

  Raises:
    UserError: if the file has no such arrays.
  """
  try:
    if not zipfile.is_zipfile(path):
      raise ValueError('it is no zip file')
    with np.load(path, allow_pickle=False) as found:
      names = [f'{split}_images', f'{split}_labels']
      missing = [name for name in names if name not in found.files]
      if missing:
        raise UserError(f'{path}: has no array {missing[0]!r}, as files of MedMNIST '
                        f'have; has {listed(found.files)}')
      labels = [found[f'{each}_labels'] for each in _SPLITS.values()
                if f'{each}_labels' in found.files]
      highest = max((int(x.max()) for x in labels if x.size and x.dtype.kind in 'iu'),
                    default=0)
      return [found[name] for name in names], highest
  except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile,
          zlib.error) as error:
    raise UserError(f'{path} is no .npz file of arrays: {error}') from None
