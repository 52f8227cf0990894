"""A request made by Python, as the command line makes one of its flags."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from bigmodels.cli.request import Request
from bigmodels.config import Experiment, code
from bigmodels.config.literals import is_function, literal, write
from bigmodels.core import paths
from bigmodels.core.errors import UserError
from bigmodels.hardware import devices
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.workdir import Workdir


def request(experiment: str | os.PathLike | Experiment | None,
            overrides: Mapping[str, Any], *, workdir: str | os.PathLike | None = None,
            data_dir: str | os.PathLike | None = None,
            cache_dir: str | os.PathLike = paths.CACHE,
            require_backend: str | None = None, mesh: str | None = None,
            trust: bool = False, say: Callable[[str], None] = print) -> Request:
  """A request for a mode.

  Args:
    experiment: a name, the path of a `.py` file or of a `config.txt`, a record, or None
      for that of the workdir.
    overrides: knob or dotted path -> value.
    workdir: a path, or None for a new one under `runs/`.
    data_dir: folder of TFDS datasets, or None.
    cache_dir: folder of decoded data.
    require_backend: 'cpu', 'gpu' or 'tpu', or None.
    mesh: such as 'data:4', or None for that of the experiment.
    trust: see `Request`.
    say: prints a line.

  Raises:
    UserError: for a value of a wrong type, or a record of which no code can be kept.
  """
  devices.skip_absent_tpu()
  named = {'experiment': experiment, 'workdir': workdir, 'data_dir': data_dir,
           'cache_dir': cache_dir, 'mesh': mesh}
  for name, value in named.items():
    legal = (str, os.PathLike, *[Experiment] * (name == 'experiment'))
    if value is not None and not isinstance(value, legal):
      raise UserError(f'{name}: must be a str or a Path, got {value!r}')
  if require_backend not in (None, 'cpu', 'gpu', 'tpu'):
    raise UserError(f"require_backend: must be 'cpu', 'gpu' or 'tpu', got "
                    f'{require_backend!r}')
  texts = {path: _text(path, value) for path, value in overrides.items()}
  for name in ('workdir', 'data_dir'):
    if named[name] is not None:
      paths.folder(os.fspath(named[name]), name)
  if isinstance(experiment, Experiment):
    if workdir is None:
      workdir = Workdir.fresh('experiment').path
    found = code.resolved(experiment, paths.resolved(workdir) / 'source')
  else:
    found = None if experiment is None else os.fspath(experiment)
  return Request(
    experiment=found, overrides=texts,
    workdir=None if workdir is None else os.fspath(workdir),
    data_dir=os.environ.get('TFDS_DATA_DIR') if data_dir is None else os.fspath(
      data_dir),
    cache_dir=paths.checked(os.fspath(cache_dir), 'cache_dir'),
    require_backend=require_backend, mesh=None if mesh is None else MeshShape.parse(
      mesh), trust=trust, say=None if say is print else say)


def _text(path: str, value: Any) -> str:
  """A value as it would be typed after `--config.PATH=`."""
  if literal(value) is None and (
    not is_function(value) or isinstance(value, functools.partial)):
    raise UserError(f'{path}: must be a number, a text, None, a tuple or dict of '
                    f'these, or a function, got a {type(value).__name__}; for others '
                    'change the Experiment and pass that')
  return write(value)
