"""Builders of tensorflow-datasets, without TensorFlow.

A dataset is read from what is prepared on disk. Its shapes are also known where it is
not: its class in the package describes them, and no download is needed.
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

from bigmodels.core import paths
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.sources import DataContext


def import_tfds():
  import tensorflow_datasets as tfds

  return tfds


@contextlib.contextmanager
def quiet():
  """TFDS and its readers print hints about TensorFlow to stderr.

  Which is one for all threads: those that read leave it as it is.
  """
  if threading.current_thread() is threading.main_thread():
    with contextlib.redirect_stderr(io.StringIO()):
      yield
  else:
    yield


def root(data_dir: str | None) -> pathlib.Path:
  """The folder of datasets; TFDS's own default for None."""
  try:
    return paths.expanded(
      data_dir or import_tfds().core.constants.DATA_DIR, strict=True)
  except UserError as error:
    raise UserError(f'--data_dir={error}') from None


@functools.cache
def from_files(name: str, data_dir: str | None):
  """The builder of a prepared dataset.

  Without the class of the dataset, only from what is on disk: a dataset's own code may
  require TensorFlow, and would offer to download.

  Raises:
    UserError: if what is on disk names code that is not of TFDS.
  """
  tfds = import_tfds()
  check_features(root(data_dir) / name.partition(':')[0])
  with quiet():
    return tfds.core.read_only_builder.builder_from_files(
      name, **({'data_dir': data_dir} if data_dir else {}))


def check_features(folder: pathlib.Path) -> None:
  """Refuses prepared data that would run code: TFDS imports what its features name.

  Args:
    folder: of a dataset, with its versions, and its configurations if it has any.

  Raises:
    UserError: naming the file and the class.
  """
  for path in sorted({*folder.glob('*/features.json'),
                      *folder.glob('*/*/features.json')}):
    try:
      features = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
      continue  # TFDS says why, should it be this one that is read
    for name in _classes(features):
      if not name.startswith('tensorflow_datasets.'):
        raise UserError(
          f'{path}: names the class {name!r}, whose module would be imported; data may '
          'only name classes of tensorflow_datasets. Prepare it with features of '
          'tfds.features')


def _classes(features: Any) -> Iterator[str]:
  """The Python classes that a `features.json` names, at any depth."""
  left = [features]
  while left:
    each = left.pop()
    if isinstance(each, dict):
      # As protocol buffers have it in JSON, by its other name, and before TFDS 4.4.
      for key in ('pythonClassName', 'python_class_name', 'type'):
        name = each.get(key)
        if isinstance(name, str) and '.' in name:
          yield name
      left += each.values()
    elif isinstance(each, list):
      left += each


def prepared(name: str, context: DataContext):
  """The builder of a dataset that is on disk.

  Raises:
    UserError: naming what is there, if it is not.
  """
  folder = root(context.data_dir)
  looked = f'--data_dir: looked for {name!r} in {folder}'
  if lack := _lack(name, folder):
    raise UserError(
      f'{looked}{lack}; python run.py --experiment=... --mode=download '
      f'--data_dir={folder} downloads what an experiment needs')
  try:
    return from_files(name, str(folder))
  except UserError:
    raise
  except Exception as error:
    raise UserError(f'{looked}, but what is prepared there cannot be read: '
                    f'{type(error).__name__}: {_first_line(error)}') from error


def _lack(name: str, folder: pathlib.Path) -> str:
  """What is there instead of a prepared dataset; '' if it is there."""
  if not folder.is_dir():
    return ', which is not a folder'
  name, _, version = name.partition(':')
  names = _names(folder)
  if name not in names:
    return f'; prepared there: {", ".join(names) or "nothing"}'
  versions = [p.name for p in prepared_in(folder) if p.parent.name == name]
  if version and version not in versions:
    return f'; prepared there: versions {", ".join(versions)}'
  return ''


def prepared_in(folder: pathlib.Path) -> list[pathlib.Path]:
  """The folders NAME/VERSION of the datasets that are prepared in a folder, sorted.

  TFDS writes to another name until it is done.
  """
  return sorted(
    path.parent for path in folder.glob('*/*/dataset_info.json')
    if re.fullmatch(r'\d+\.\d+\.\d+', path.parent.name)
    and path.is_file() and (path.parent / 'features.json').is_file())


def _names(folder: pathlib.Path) -> list[str]:
  return sorted({path.parent.name for path in prepared_in(folder)})


def _first_line(error: Exception) -> str:
  return (str(error).strip().splitlines() or [''])[0].removesuffix('.')


def _in_package(base: str) -> bool:
  """Whether the package has such a dataset, if only with TensorFlow."""
  package = pathlib.Path(import_tfds().__file__).parent
  return any(any(package.glob(f'*/{base}{end}')) for end in ('.py', '/__init__.py'))


def of_class(name: str, context: DataContext, **options: Any):
  """The builder that the package has for a dataset; nothing is downloaded.

  Raises:
    UserError: if it has none, it cannot be made here, or its name is one for which TFDS
      would download code and run it, as it does for `huggingface:` and communities.
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
    # Without TensorFlow what requires it prints that to stdout.
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
  """The info of a dataset, and whether it is that of one on disk."""
  folder = root(context.data_dir)
  if not _lack(name, folder):
    return prepared(name, context).info, True
  info = of_class(name, context).info
  if not _lack(f'{info.name}:{info.version}', folder):
    raise UserError(f'{name!r} is prepared in {folder} as {info.name!r}')
  return info, False
