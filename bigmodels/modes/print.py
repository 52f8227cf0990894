"""--mode=print: the resolved experiment as plain text; nothing is run."""

from bigmodels import config
from bigmodels.request import Request


def run(request: Request) -> None:
  print(config.to_text(request.resolve()), end='')
