"""--mode=print: prints the resolved experiment in the format of config.txt.

  python run.py --experiment=cifar_cnn --mode=print --config.model.dropout=0.1
  python run.py --experiment=cifar_cnn --mode=print --diff=runs/a
"""

import os
import sys

from bigmodels.cli.request import Request
from bigmodels.config import config_file
from bigmodels.core import config_text, files, paths
from bigmodels.core.errors import UserError, one_line

USES_CACHE = False
_LONGEST = 60  # characters of a value in a column


def run(request: Request, *, diff: str | None = None) -> None:
  """Prints the experiment without running it.

  Args:
    request: the flags of every mode.
    diff: an experiment, the path of a .py file, of a workdir or of a config.txt; prints
      only the paths that differ, with the values of both.

  Raises:
    UserError: if it cannot be resolved.
  """
  resolved = request.resolve()
  for note in resolved.notes:
    print(note, file=sys.stderr)
  if diff is None:
    print(config_file.to_text(resolved), end='')
    return
  here, there = resolved.values(), _values(request, diff)
  rows = [('path', request.experiment or request.workdir, diff)]
  for path in config_text.differing(here, there):
    rows.append((path, *(one_line(values.get(path, '(absent)'), _LONGEST)
                         for values in (here, there))))
  if len(rows) == 1:
    print(f'no differences between {rows[0][1]} and {diff}')
    return
  first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
  for row in rows:
    print(f'{row[0]:{first}}  {row[1]:{second}}  {row[2]}')


def _values(request: Request, other: str) -> dict[str, str]:
  """Path -> text of another experiment; a stored one is read, and not executed."""
  path = paths.expanded(other)
  if os.path.isdir(path):
    path = path / 'config.txt'
    if not path.is_file():
      raise UserError(f'--diff={other}: holds no config.txt')
  if path.suffix != '.txt':
    return request._replace(experiment=other, overrides={}).resolve().values()
  try:
    return config_text.read(files.read_text(path))
  except UserError as error:
    raise UserError(f'--diff={other}: {error}') from None
