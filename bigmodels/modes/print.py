"""--mode=print: prints the resolved experiment in the format of config.txt."""

import sys

from bigmodels.cli.request import Request
from bigmodels.config import config_file

USES_CACHE = False


def run(request: Request) -> None:
  """Prints the experiment without running it.

  Raises:
    UserError: if it cannot be resolved.
  """
  resolved = request.resolve()
  for note in resolved.notes:
    print(note, file=sys.stderr)
  print(config_file.to_text(resolved), end='')
