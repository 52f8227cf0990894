"""Builders of tensorflow-datasets, without TensorFlow.

A dataset is read from the prepared files on disk. If there are none, its shapes are
known from its class in the package, without a download.
"""

import contextlib
import functools
import io
import json
import pathlib
import re
import threading
from collections.abc import Iterator
from typing import Any

from bigmodels.core import console, paths
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.sources import DataContext


def import_tfds():
  """Returns the package, which is slow to import."""
  import tensorflow_datasets as tfds

  return tfds


@contextlib.contextmanager
def quiet():
  """Drops the hints about TensorFlow that TFDS and its readers print to stderr.

  All threads share stderr, so threads that read examples do not use this.
  """
  if threading.current_thread() is threading.main_thread():
    with contextlib.redirect_stderr(io.StringIO()):
      yield
  else:
    yield


def root(data_dir: str | None) -> pathlib.Path:
  """Returns the folder of datasets; TFDS's own default for None.

  Raises:
    UserError: if the path is not valid.
  """
  try:
    return paths.expanded(
      data_dir or import_tfds().core.constants.DATA_DIR, strict=True)
  except UserError as error:
    raise UserError(f'--data_dir={error}') from None


@functools.cache
def from_files(name: str, data_dir: str | None):
  """Returns the builder of a prepared dataset.

  It is built from the files on disk, without the class of the dataset, whose code may
  require TensorFlow, or download data.

  Raises:
    UserError: if the files name code that is not part of TFDS.
  """
  tfds = import_tfds()
  check_features(root(data_dir) / name.partition(':')[0])
  with quiet():
    return tfds.core.read_only_builder.builder_from_files(
      name, **({'data_dir': data_dir} if data_dir else {}))


def check_features(folder: pathlib.Path) -> None:
  """Refuses prepared data that would execute code, as TFDS imports named classes.

  Args:
    folder: folder of a dataset, with its versions, and its configurations if any.

  Raises:
    UserError: naming the file and the class.
  """
  for path in sorted({*folder.glob('*/features.json'),
                      *folder.glob('*/*/features.json')}):
    try:
      features = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
      continue  # TFDS reports it if this file is read
    for name in _classes(features):
      if not name.startswith('tensorflow_datasets.'):
        raise UserError(
          f'{path}: names the class {name!r}, whose module would be imported; data may '
          'only name classes of tensorflow_datasets. Prepare it with features of '
          'tfds.features')


def _classes(features: Any) -> Iterator[str]:
  """Yields the Python classes that a `features.json` names, at any depth."""
  left = [features]
  while left:
    each = left.pop()
    if isinstance(each, dict):
      # The JSON name of protocol buffers, the original name, and the one before TFDS
      # 4.4.
      for key in ('pythonClassName', 'python_class_name', 'type'):
        name = each.get(key)
        if isinstance(name, str) and '.' in name:
          yield name
      left += each.values()
    elif isinstance(each, list):
      left += each


def prepared(name: str, context: DataContext):
  """Returns the builder of a dataset that is on disk.

  Args:
    name: name of the dataset, with or without a version.
    context: has the folder of datasets.

  Raises:
    UserError: if it is missing, with a list of what there is, or it cannot be read.
  """
  folder = root(context.data_dir)
  looked = f'--data_dir: looked for {name!r} in {folder}'
  if reason := _missing(name, folder):
    raise UserError(
      f'{looked}{reason}; {console.COMMAND} --experiment=... --mode=download '
      f'--data_dir={folder} downloads what an experiment needs')
  try:
    return from_files(name, str(folder))
  except UserError:
    raise
  except Exception as error:
    raise UserError(f'{looked}, but what is prepared there cannot be read: '
                    f'{type(error).__name__}: {_first_line(error)}') from error


def _missing(name: str, folder: pathlib.Path) -> str:
  """What there is instead of a prepared dataset; '' if it is prepared."""
  if not folder.is_dir():
    return ', which is not a folder'
  name, _, version = name.partition(':')
  names = _names(folder)
  if name not in names:
    return f'; prepared there: {", ".join(names) or "nothing"}'
  versions = [p.name for p in prepared_in(folder) if name_of(p, folder) == name]
  if version and version not in versions:
    return f'; prepared there: versions {", ".join(versions)}'
  return ''


def prepared_in(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders NAME/VERSION and NAME/CONFIG/VERSION in a folder, sorted.

  TFDS writes to another folder until a dataset is complete.
  """
  return sorted(
    path.parent for pattern in ('*/*', '*/*/*')
    for path in folder.glob(f'{pattern}/dataset_info.json')
    if re.fullmatch(r'\d+\.\d+\.\d+', path.parent.name)
    and path.is_file() and (path.parent / 'features.json').is_file())


def _names(folder: pathlib.Path) -> list[str]:
  return sorted({name_of(path, folder) for path in prepared_in(folder)})


def name_of(path: pathlib.Path, folder: pathlib.Path) -> str:
  """Returns NAME or NAME/CONFIG of the folder of a version among datasets."""
  return path.parent.relative_to(folder).as_posix()


def _first_line(error: Exception) -> str:
  return (str(error).strip().splitlines() or [''])[0].removesuffix('.')


def _in_package(base: str) -> bool:
  """Whether the package has such a dataset, possibly only with TensorFlow."""
  package = pathlib.Path(import_tfds().__file__).parent
  return any(any(package.glob(f'*/{base}{end}')) for end in ('.py', '/__init__.py'))


def of_class(name: str, context: DataContext, **options: Any):
  """Returns the builder of a dataset in the package; downloads nothing.

  Args:
    name: name of the dataset.
    context: has the folder of datasets.
    **options: options of `tfds.builder`.

  Raises:
    UserError: if there is none, it cannot be made here, or TFDS would download and
      execute code for it, as for `huggingface:` and communities.
  """
  tfds, folder = import_tfds(), root(context.data_dir)
  namespace = re.match(r'([\w.-]+):[a-z]', name, re.IGNORECASE)
  if namespace:
    raise UserError(
      f'{name} is not prepared in {folder}, and must be: its description is not in '
      f'tensorflow-datasets, and code of {namespace[1]!r} is not downloaded and run')
  if not re.fullmatch(r'\w+(/[\w.+-]+)?(:[\d.*]+)?', name):
    raise UserError(f'the name of a dataset must be NAME, NAME/CONFIG or NAME:1.2.3, '
                    f'got {name!r}')
  check_features(folder / re.split('[:/]', name)[0])
  try:
    # Datasets that require TensorFlow print this on stdout.
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
      return tfds.builder(name, data_dir=str(folder), **options)
  except tfds.core.DatasetNotFoundError:
    base = re.split('[:/]', name)[0]
    if _in_package(base):
      raise UserError(f'{name} is not prepared in {folder}, and must be: its '
                      'description requires TensorFlow') from None
    close = nearest(
      base, {*tfds.list_builders(with_community_datasets=False), *_names(folder)})
    raise UserError(
      f'there is no dataset {base!r}, neither in tensorflow-datasets nor prepared in '
      f'{folder}{close if "mean" in close else ""}') from None
  except Exception as error:
    reason = re.sub('Failed to construct dataset .*?}": ', '', _first_line(error))
    raise UserError(
      f'{name}: its description in tensorflow-datasets cannot be read: '
      f'{type(error).__name__}: {reason}; none is needed where it is prepared: '
      f'--data_dir={folder}') from error


def described(name: str, context: DataContext) -> tuple[Any, bool]:
  """Returns the info of a dataset, and whether the dataset is on disk.

  Raises:
    UserError: if there is no description.
  """
  folder = root(context.data_dir)
  if not _missing(name, folder):
    return prepared(name, context).info, True
  info = of_class(name, context).info
  if not _missing(f'{info.name}:{info.version}', folder):
    raise UserError(f'{name!r} is prepared in {folder} as {info.name!r}')
  return info, False
