"""The first steps of run.py, before it imports any package.

An unsupported Python must be able to import this file, so it is limited to the syntax
of Python 3.7, and imports only `releases` and the standard library.
"""

import atexit
import gc
import os
import re
import sys

from bigmodels.hardware import releases


def prepare() -> None:
  """Checks the versions of Python and JAX, and sets up the console."""
  problem = releases.unsupported()
  if problem:  # imports would fail with other errors
    print(f'error: {problem}', file=sys.stderr)
    sys.exit(2)
  # Imports and tracing make millions of objects that stay. Looking for cycles among
  # them after every 700 takes a tenth of the start.
  gc.set_threshold(100_000)
  # Last at exit: what is left is not searched for cycles, which would take 0.5 s.
  atexit.register(gc.freeze)
  # jaxlib reads it when it is imported. '1' is set by JAX, and inherited by processes.
  if releases.logs_false_errors() and (
    os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1'):
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

  from bigmodels.core import console
  from bigmodels.core.import_times import ImportTimes

  if re.search('-profile[= ]startup', ' '.join(sys.argv)):
    ImportTimes.install()

  console.install()  # before a package keeps a reference to a stream


def main() -> None:
  """The command `bigmodels` of an installation, which is run.py of a checkout."""
  prepare()
  from bigmodels.cli import command

  command.start(sys.argv)
