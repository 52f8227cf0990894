"""--mode=print: the resolved experiment as plain text; nothing is run."""

import sys

from bigmodels.cli.request import Request
from bigmodels.config import resolving


def run(request: Request) -> None:
  resolved = request.resolve()
  for note in resolved.notes:
    print(note, file=sys.stderr)
  print(resolving.to_text(resolved), end='')
