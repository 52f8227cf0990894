"""--mode=print: the resolved experiment as plain text; nothing is run."""

import sys

from bigmodels import config
from bigmodels.request import Request


def run(request: Request) -> None:
  resolved = request.resolve()
  for note in resolved.notes:
    print(note, file=sys.stderr)
  print(config.to_text(resolved), end='')
