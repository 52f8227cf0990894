"""The process that sends the log of a run to one tracker.

    python -m bigmodels.logs.sender NAME WORKDIR

It reads `metrics.jsonl` while the run appends to it. Training waits for nothing here:
this process has no JAX, a session of its own and a low priority, and what fails or
hangs in a tracker's library ends with it. `trackers/` in the workdir has a copy of what
was sent, so that a resumed run sends only what is new, and a tracker that is ahead of
the log, or has other numbers, is given a new run.
"""

import collections
import contextlib
import fcntl
import importlib
import importlib.util
import json
import os
import pathlib
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from bigmodels.core import config_text, digests, files
from bigmodels.core.errors import UserError, one_line
from bigmodels.logs.trackers import About, Opened
from bigmodels.logs.values import scalars

_POLL = 1.0  # seconds between reads
_BATCH = 500  # records
_LONGEST = 200  # characters of an error


class Log:
  """The complete lines of a file that grows."""

  def __init__(self, path: pathlib.Path):
    self._path, self._position = path, 0

  def read(self) -> list[bytes]:
    """The lines since the last call."""
    try:
      with open(self._path, 'rb') as file:
        file.seek(self._position)
        text = file.read()
    except FileNotFoundError:
      return []
    whole = text[:text.rfind(b'\n') + 1]
    self._position += len(whole)
    return whole.splitlines(keepends=True)

  def rewind(self) -> None:
    """Makes the next call read from the beginning."""
    self._position = 0


class Sender:
  """Keeps a run of a tracker equal to the log of a run."""

  def __init__(self, module: ModuleType, about: About, name: str,
               say: Callable[..., None]):
    """Reads what was sent before.

    Args:
      module: the tracker; see `logs.trackers`.
      about: the run.
      name: of the tracker.
      say: takes messages for the process that trains.
    """
    self._module, self._about, self._say = module, about, say
    folder = about.workdir / 'trackers'
    self._state_file, self._copy = folder / f'{name}.json', folder / f'{name}.jsonl'
    self._log = Log(about.workdir / 'metrics.jsonl')
    self._state = _read_json(self._state_file)
    self._sent = Log(self._copy).read()
    self._same = 0  # lines of the log that the tracker has
    self._opened: Opened | None = None
    self._known = -1

  def _open(self) -> None:
    """Opens the run in the tracker, and reads the log from the beginning again."""
    before = self._state.get('id')
    opened = self._module.start(self._about, before)
    if not before or opened.id != before:
      self._forget()
    elif opened.step is not None:  # what was lost on the way is sent again
      self._sent = [line for line in self._sent if _step(line) <= opened.step]
      self._known = opened.step
    self._opened = opened
    self._save(id=opened.id, where=opened.where)
    self._say(where=opened.where)
    self._same = 0
    self._log.rewind()

  def _save(self, **fields) -> None:
    self._state |= fields
    files.write(self._state_file, json.dumps(self._state))

  def _forget(self) -> None:
    self._sent, self._known = [], -1
    self._state = {}
    self._copy.write_bytes(b'')

  def _restart(self) -> None:
    """Begins a new run in the tracker, in place of one that has other lines."""
    if self._opened is None:
      self._opened = self._module.start(self._about, self._state['id'])
    self._module.discard(self._opened)
    self._state = {}
    self._open()

  def advance(self) -> None:
    """Sends the new lines of the log that the tracker does not have."""
    fresh: list[bytes] = []
    lines = collections.deque(self._log.read())
    while lines:
      line = lines.popleft()
      if self._same < len(self._sent) and line == self._sent[self._same]:
        self._same += 1
      elif self._same < len(self._sent):
        self._restart()
        lines = collections.deque(self._log.read())
      elif self._opened is None:
        self._open()
        lines = collections.deque(self._log.read())
      else:
        fresh.append(line)
    for first in range(0, len(fresh), _BATCH):
      self._send(fresh[first:first + _BATCH])

  def _send(self, lines: list[bytes]) -> None:
    records = []
    for line in lines:
      record = json.loads(line)
      step = record.pop('step')
      # Of the last step that the tracker has, a part may be missing.
      if step >= self._known and (values := scalars(record)):
        records.append((step, values))
    if records:
      self._module.log(self._opened, records)
    with open(self._copy, 'ab') as file:
      file.writelines(lines)
    self._sent += lines
    self._same = len(self._sent)

  def finish(self, status: str) -> None:
    """Ends the run in the tracker, as the run has ended.

    Args:
      status: 'finished', 'stopped', 'failed' or 'killed'.
    """
    self.advance()
    if status == 'finished' and self._same < len(self._sent):
      self._restart()  # the tracker has lines that are no longer in the log
      self.advance()
    result = _flat(_read_json(self._about.workdir / 'result.json'))
    ended = digests.of_json([status, result])
    if status == 'finished' and self._state.get('result') == ended:
      self._say(where=self._state['where'])
      return  # it has everything
    if self._opened is None:
      self._open()
      self.advance()
    report = self._about.workdir / 'report.html'
    current = status in ('finished', 'stopped')
    self._module.finish(self._opened, status, result if current else {},
                        report if current and report.is_file() else None)
    self._save(result=ended)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_bytes())
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def _step(line: bytes) -> int:
  return json.loads(line)['step']


def _flat(result: dict[str, Any]) -> dict[str, Any]:
  """The numbers and texts of a result, without those of each class."""
  metrics = {name: value for name, value in (result.get('metrics') or {}).items()
             if name.count('/') < 2}
  texts = {name: value for name, value in result.items()
           if isinstance(value, str) and name != 'digest'}
  rest = {name: value for name, value in result.items() if name != 'metrics'}
  return texts | scalars(rest) | scalars(metrics)


# --- the process ----------------------------------------------------------------


def load(name: str) -> ModuleType:
  """Imports a tracker.

  Args:
    name: of a file in `logs/trackers/`, or the path of a `.py` file.

  Raises:
    ImportError: if it cannot be imported.
  """
  if not name.endswith('.py'):
    return importlib.import_module(f'bigmodels.logs.trackers.{name}')
  path = pathlib.Path(name).resolve()
  sys.path.insert(0, str(path.parent))
  spec = importlib.util.spec_from_file_location(f'trackers.{path.stem}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def main(name: str, folder: str) -> None:
  """Sends until the process that trains says how it ended, or has died.

  Args:
    name: of the tracker.
    folder: the workdir.
  """
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # the process that trains decides
  os.nice(10)
  messages = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # the output of libraries

  def say(**message):
    with contextlib.suppress(OSError):  # the reader has died
      print(json.dumps(message), file=messages, flush=True)

  try:
    commands = open(0, 'rb', buffering=0)  # noqa: SIM115 (select sees all of it)
    first = json.loads(commands.readline())
    workdir = pathlib.Path(folder)
    stem = pathlib.Path(name).stem
    with open(workdir / 'trackers' / f'.{stem}.lock', 'w') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)  # one before may still be sending
      config = config_text.read(files.read_text(workdir / 'config.txt'))
      about = About(workdir, 'bigmodels', first['name'], {
        path: config_text.plain(text) for path, text in config.items()},
        first['versions'])
      sender = Sender(load(name), about, stem, say)
      status = None
      while status is None:
        sender.advance()
        if select.select([commands], [], [], _POLL)[0]:
          status = commands.readline().decode().strip() or 'killed'
          # Nobody waits for a process whose parent has died.
          timer = threading.Timer(first['patience'] + 5, os._exit, [1])
          timer.daemon = True
          timer.start()
      sender.finish(status)
    say(done=True)
  except BaseException as error:  # reported to the process that trains
    text = str(error) if isinstance(error, UserError) else (
      f'{type(error).__name__}: {error}')
    say(error=one_line(text.strip().partition('\n')[0], _LONGEST))
    raise


if __name__ == '__main__':
  main(*sys.argv[1:])
