"""The folder of a run: what is in it, and how it is written."""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

from bigmodels import config
from bigmodels.checkpoint import out_of_room
from bigmodels.errors import UserError


class Workdir:
  """A run's folder, by file."""

  def __init__(self, path: str | os.PathLike):
    self.path = pathlib.Path(path)
    self.config = self.path / 'config.txt'
    self.data = self.path / 'data.json'
    self.metrics = self.path / 'metrics.jsonl'
    self.utilization = self.path / 'utilization.jsonl'
    self.result = self.path / 'result.json'
    self.report = self.path / 'report.html'
    self.checkpoints = self.path / 'checkpoints'
    self.tensorboard = self.path / 'tensorboard'

  @classmethod
  def fresh(cls, name: str) -> 'Workdir':
    """A folder under `runs/` that nobody has used."""
    stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
    stem = pathlib.Path(name).stem
    for count in range(1, 1000):
      path = pathlib.Path('runs') / f'{stem}-{stamp}{f"-{count}" * (count > 1)}'
      try:
        path.mkdir(parents=True)
        return cls(path)
      except FileExistsError:
        continue
      except OSError as error:
        raise UserError(f'--workdir: cannot make {path}: {error.strerror}') from error
    raise UserError(f'--workdir: too many runs named {stem}-{stamp}')

  @contextlib.contextmanager
  def lock(self) -> Iterator[str]:
    """Makes the folder if need be, and keeps other runs from writing there.

    Yields:
      what `lock_text` gives now to whoever sees this folder.
    """
    with self.blame():
      self.path.mkdir(parents=True, exist_ok=True)
      file = open(self.path / '.lock', 'a+')  # noqa: SIM115 (closed below)
    with file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        raise UserError(
          f'--workdir={self.path}: another run is writing there') from None
      with self.blame():
        file.truncate(0)
        file.write(uuid.uuid4().hex)
        file.flush()
        os.fsync(file.fileno())
      yield self.lock_text()

  def lock_text(self) -> str:
    """What the run that holds the lock has written there."""
    path = self.path / '.lock'
    return path.read_text() if path.is_file() else f'nothing in {self.path}'

  @contextlib.contextmanager
  def blame(self) -> Iterator[None]:
    """Says what a full or read-only disk means for the run."""
    try:
      yield
    except OSError as error:
      if not out_of_room(error) and not isinstance(
        error, FileExistsError | NotADirectoryError):
        raise
      raise UserError(
        f'--workdir={self.path}: cannot write there: {error.strerror or error}; what '
        'is saved stays; the same command goes on from there') from error

  def write(self, path: pathlib.Path, text: str) -> None:
    """Writes a file as a whole, or not at all."""
    with self.blame():
      scratch = path.with_name(f'.{path.name}.tmp')
      with open(scratch, 'w', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
      os.replace(scratch, path)

  def write_json(self, path: pathlib.Path, value: Any) -> None:
    self.write(path, json.dumps(value, indent=2) + '\n')

  def read_json(self, path: pathlib.Path, default: Any = None) -> Any:
    """What a file holds, or the default where there is none."""
    if not path.is_file():
      return default
    try:
      return json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, OSError) as error:
      raise UserError(f'{path} cannot be read: {error}') from error

  def fitted(self) -> dict[str, Any] | None:
    """What `data.json` holds: `data_dir`, and `kept` by name; None if it is not there.

    Raises:
      UserError: if it holds something else.
    """
    found = self.read_json(self.data)
    if found is None and not self.data.is_file():
      return None
    if not isinstance(found, dict) or found.keys() != {'data_dir', 'kept'} or (
      not isinstance(found['kept'], dict)):
      raise UserError(f'{self.data} is not as a run writes it')
    return found

  def recorded(self, overrides: dict[str, str]) -> config.Resolved:
    """The experiment that `config.txt` tells, with overrides applied.

    Raises:
      UserError: if there is no run here.
    """
    if not self.config.is_file():
      there = 'is empty' if self.path.is_dir() else 'does not exist'
      if self.path.is_dir() and any(self.path.iterdir()):
        there = 'holds no config.txt'
      raise UserError(
        f'--workdir={self.path} {there}: nothing to resume; name an --experiment')
    return config.from_text(config.read(self.config), str(self.config), overrides)

  def claim(self, resolved: config.Resolved) -> None:
    """Checks that nothing else is here.

    Raises:
      UserError: with the differences, if the folder holds another.
    """
    if not self.config.is_file():
      if self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
        raise UserError(f'--workdir={self.path} holds checkpoints but no config.txt; '
                        'use another --workdir')
      return
    try:
      before = config.read_values(config.read(self.config))
    except UserError as error:
      raise UserError(f'{self.config}: {error}') from error
    now = resolved.values()
    for values in (before, now):  # over which devices is no part of what a run is
      for name in [n for n in values if n.partition('.')[0] == 'mesh']:
        del values[name]
    if before != now:
      raise UserError(
        f'--workdir={self.path} holds another run:\n'
        f'{config.differences(before, now)}\n'
        f'to go on with that one: python run.py --workdir={self.path}\n'
        'to run this one: use another --workdir (with '
        f'--init_from={self.path} it starts from the parameters there)')

  def keep(self, resolved: config.Resolved, data: dict) -> None:
    """Writes `config.txt` and `data.json` of a run that is ready to start."""
    if not self.config.is_file():
      self.write(self.config, config.to_text(resolved))
    if self.read_json(self.data) != data:
      self.write_json(self.data, data)


def _is_record(line: str) -> bool:
  try:
    return isinstance(json.loads(line)['step'], int)
  except (ValueError, KeyError, TypeError):
    return False


class RecordsFile:
  """`metrics.jsonl` and its like: one record a line, appended; cut back on resume."""

  def __init__(self, workdir: Workdir, path: pathlib.Path, step: int):
    """Opens the file and drops every record after `step`, and a torn last line.

    Raises:
      UserError: for a line that is no record, or a disk that cannot be written.
    """
    self._workdir = workdir
    with workdir.blame():
      self._file = open(path, 'a+', encoding='utf-8')  # noqa: SIM115
      self._file.seek(0)
      end = self.records = 0
      for line in iter(self._file.readline, ''):
        if not line.endswith('\n'):
          break
        if not _is_record(line):
          raise UserError(f'{path}, line {self.records + 1} is no record: '
                          f'{line[:80]!r}; mend or remove the file')
        if json.loads(line)['step'] > step:
          break
        end = self._file.tell()
        self.records += 1
      self._file.truncate(end)
      self._file.seek(end)

  def write(self, record: dict[str, Any]) -> None:
    """Appends a record; it is in the file when this returns."""
    with self._workdir.blame():
      self._file.write(json.dumps(record) + '\n')
      self._file.flush()
    self.records += 1

  def sync(self) -> None:
    """Returns when all records would outlive a power failure."""
    with self._workdir.blame():
      os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()


def read_metrics(workdir: Workdir) -> list[dict[str, Any]]:
  """Every record of `metrics.jsonl`."""
  if not workdir.metrics.is_file():
    return []
  lines = workdir.metrics.read_text(encoding='utf-8').splitlines()
  return [json.loads(line) for line in lines]
