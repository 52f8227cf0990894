"""`--track`: sends the log of a run to experiment trackers, beside training.

Each tracker has a process of its own, see `logs.sender`. A tracker that fails, hangs or
dies is reported in a line, and changes nothing else.
"""

import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bigmodels.core import console, plugin_files
from bigmodels.core.errors import UserError
from bigmodels.storage.workdir import Workdir

TRACKERS = plugin_files.names(pathlib.Path(__file__).resolve().parent / 'trackers')
FUNCTIONS = ('start', 'log', 'discard', 'finish')
PATIENCE = 30.0  # seconds to wait at the end of a run


def parse(text: str | None) -> tuple[str, ...]:
  """Checks the value of `--track`, without executing or importing anything.

  Args:
    text: names of files in `logs/trackers/`, or paths of `.py` files, with commas.

  Returns:
    names, and absolute paths.

  Raises:
    UserError: for an unknown tracker, a file without its functions, or a library that
      is not installed.
  """
  found: dict[str, str] = {}
  for name in (text or '').split(','):
    name = name.strip()
    if not name and not text:
      continue
    path = plugin_files.file_of(name, TRACKERS, flag='--track', what='tracker')
    _check(path)
    if path.stem in found:
      raise UserError(f'--track: {path.stem} is given twice')
    found[path.stem] = name if name in TRACKERS else str(path)
  return tuple(found.values())


def _check(path: pathlib.Path) -> None:
  body = plugin_files.body_of(path)
  defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
  if missing := [name for name in FUNCTIONS if name not in defined]:
    raise UserError(f'--track: {path}: a tracker defines {", ".join(FUNCTIONS)}; '
                    f'{missing[0]} is missing')
  for node in body:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'PACKAGE':
      package = ast.literal_eval(node.value)
      if not _installed(package):
        raise UserError(f'--track={path.stem}: {package} is not installed; pip install '
                        f'{package}, or all trackers: pip install -r '
                        'requirements-trackers.txt')


def _installed(package: str) -> bool:
  spec = importlib.util.find_spec(package)
  # A folder of that name, such as those that trackers write, is no library.
  return spec is not None and spec.origin is not None


class Tracking:
  """The trackers of a run.

  Attributes:
    status: how the run ends, 'failed' until it is set.
  """

  def __init__(self, trackers: Sequence[str], workdir: Workdir,
               versions: Mapping[str, str], say: Callable[[str], None]):
    """Starts a process for each tracker.

    Args:
      trackers: what `parse` returns.
      workdir: of the run; its log is as long as the run is.
      versions: of what results depend on.
      say: prints a line.

    Raises:
      UserError: for a disk that cannot be written.
    """
    self.status = 'failed'
    first = json.dumps({'name': workdir.path.resolve().name, 'versions': dict(versions),
                        'patience': PATIENCE}) + '\n'
    with workdir.writing():
      if trackers:
        (workdir.path / 'trackers').mkdir(exist_ok=True)
      self._senders = [_Sender(name, workdir, first, say) for name in trackers]

  def close(self, patience: float) -> None:
    """Sends the rest and ends.

    Args:
      patience: seconds to wait for all trackers together; what was not sent by then is
        reported, with the command that sends it.
    """
    for sender in self._senders:
      sender.end(self.status)
    until = time.monotonic() + patience
    for sender in self._senders:
      sender.wait(until - time.monotonic(), patience)


class _Sender:
  """The process of a tracker."""

  def __init__(self, name, workdir, first, say):
    self._name, self._workdir, self._say = name, workdir, say
    self._tracker, self._problem, self._done = pathlib.Path(name).stem, None, False
    root = str(pathlib.Path(__file__).resolve().parents[2])
    self._log = workdir.path / 'trackers' / f'{self._tracker}.log'
    # -P: the folders that trackers write here have the names of their libraries.
    with open(self._log, 'ab') as output:
      self._process = subprocess.Popen(
        [sys.executable, '-P', '-m', 'bigmodels.logs.sender', name,
         str(workdir.path.resolve())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True,
        start_new_session=True, env=os.environ | {'PYTHONPATH': os.pathsep.join(
          filter(None, [root, os.environ.get('PYTHONPATH')]))})
    self._tell(first)
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _tell(self, line):
    with contextlib.suppress(OSError):  # it has ended, which `wait` reports
      self._process.stdin.write(line)
      self._process.stdin.flush()

  def _read(self):
    for line in self._process.stdout:
      message = json.loads(line)
      if 'where' in message:
        self._say(f'{self._tracker}: {message["where"]}')
      elif 'error' in message:
        self._problem = message['error']
        self._fail(self._problem)
      self._done |= 'done' in message

  def _fail(self, problem):
    self._say(f'warning: {self._tracker}: {problem} (more in {self._log}); the run is '
              f'not affected. To send it later: {console.COMMAND} '
              f'--workdir={self._workdir.path} --track={self._name}')

  def end(self, status):
    self._tell(f'{status}\n')

  def wait(self, seconds, patience):
    try:
      self._process.wait(max(seconds, 0.1))
    except subprocess.TimeoutExpired:
      self._problem = self._problem or 'timeout'
      self._fail(f'still sending after {patience:.0f} s, ended')
    with contextlib.suppress(ProcessLookupError):  # with what it has started
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    self._reader.join(1)
    if not self._done and not self._problem:
      self._fail(f'its process ended with exit code {self._process.returncode}')


@contextlib.contextmanager
def tracked(trackers: Sequence[str], workdir: Workdir, versions: Mapping[str, str],
            say: Callable[[str], None]) -> Iterator[Tracking]:
  """Tracks a run inside the context.

  Args:
    trackers, workdir, versions, say: see `Tracking`.

  Raises:
    UserError: see `Tracking`.
  """
  tracking = Tracking(trackers, workdir, versions, say)
  try:
    yield tracking
  finally:
    tracking.close(PATIENCE)
