"""Functional deep learning research in JAX: one small file an experiment.

    import bigmodels
    run = bigmodels.train('digits_cnn', epochs=3, workdir='runs/digits')
    run = bigmodels.load('runs/digits')
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from bigmodels.core.paths import CACHE, CODE
from bigmodels.core.version import VERSION

__version__ = VERSION


def load(path: str | os.PathLike, *, data_dir: Any = None, cache_dir: Any = CACHE,
         trust: bool = False, say: Callable[[str], None] = print):
  """Opens a finished run: its model, parameters, predictions, metrics and texts.

  Args:
    path: of its workdir.
    data_dir, cache_dir, trust: the flags of the command line of these names.
    say: prints a line.

  Returns:
    a `training.runs.Run`.

  Raises:
    UserError: if there is no run with a sound checkpoint.
  """
  from bigmodels.training import opening  # JAX, which `import bigmodels` does not need

  return opening.load(
    path, data_dir=data_dir, cache_dir=cache_dir, trust=trust, say=say)


def train(experiment: Any = None, *, config: Mapping[str, Any] = {},
          say: Callable[[str], None] = print, workdir: Any = None,
          data_dir: Any = None, cache_dir: Any = CACHE,
          require_backend: str | None = None, mesh: str | None = None,
          trust: bool = False, **knobs: Any):
  """Trains an experiment, or resumes it, as `--mode=train` does.

  A first Ctrl-C saves the run and stops it; so does SIGTERM. In a thread other than the
  main one no signal is caught.

  Args:
    experiment: a name in `experiments/`, the path of a `.py` file or of a `config.txt`,
      or an `Experiment`; None resumes the run of the workdir.
    config: dotted path -> value, such as `{'model.dropout': 0.1}`; knobs may be here,
      too.
    say: prints a line. With any other function than `print` there is no progress bar.
    workdir: folder of the run; a new one under `runs/` if None.
    data_dir: folder of TFDS datasets; None for that of `$TFDS_DATA_DIR`, or its own.
    cache_dir: folder of decoded data.
    require_backend: 'cpu', 'gpu' or 'tpu', to stop if JAX uses another.
    mesh: devices along each axis, such as 'data:4'; None for that of the experiment.
    trust: whether to import and execute anything that a stored run names.
    **knobs: arguments of the experiment's `config()`.

  Returns:
    a `training.runs.Run` at the best checkpoint.

  Raises:
    UserError: for whatever the command line refuses, with the same message.
  """
  from bigmodels.cli import calls
  from bigmodels.core.errors import UserError, of_callback, of_machine
  from bigmodels.modes import train as mode
  from bigmodels.training import opening

  if not isinstance(config, Mapping) or not all(isinstance(x, str) for x in config):
    raise UserError('config: must be a map {path: value}, such as '
                    f"{{'model.dropout': 0.1}}, got {config!r}")
  twice = sorted({*config} & {*knobs})
  if twice:
    raise UserError(f'{twice[0]}: given twice, as a keyword and in config')
  try:
    request = calls.request(
      experiment, {**config, **knobs}, workdir=workdir, data_dir=data_dir,
      cache_dir=cache_dir, require_backend=require_backend, mesh=mesh, trust=trust,
      say=say)
    path = mode.run(request)
  except Exception as error:
    found = None if isinstance(error, UserError) else (
      of_callback(error) or of_machine(error, CODE))
    if found is None:
      raise
    raise found from error
  return opening.load(path, data_dir=data_dir, cache_dir=cache_dir, trust=trust,
                      say=say)
