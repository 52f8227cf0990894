"""Functional deep learning research in JAX: one small file an experiment.

    import bigmodels
    run = bigmodels.load('runs/digits')
"""

from typing import Any

__version__ = '0.1.0'


def load(path: str, **settings: Any):
  """Opens a finished run: its model, parameters, predictions, metrics and texts.

  Args:
    path: of its workdir.
    **settings: see `training.opening.load`: `data_dir`, `cache_dir`, `trust`, `say`.

  Returns:
    a `training.runs.Run`.

  Raises:
    UserError: if there is no run with a sound checkpoint.
  """
  from bigmodels.training import opening  # JAX, which `import bigmodels` does not need

  return opening.load(path, **settings)
